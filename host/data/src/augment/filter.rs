//! Which instances stay in an image after a change.

use super::Augmentations;

/// How much of an instance must be left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filter {
    /// Square pixels of the image; holds for what a change made smaller.
    pub min_area: f64,
    /// From 0 to 1.
    pub min_visibility: f64,
}

impl Filter {
    pub fn of(augmentations: &Augmentations) -> Self {
        Filter {
            min_area: augmentations.min_area,
            min_visibility: augmentations.min_visibility,
        }
    }
}

/// What is left of an instance, as far as one field shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    /// Square pixels before and after.
    pub before: f64,
    pub after: f64,
    /// The part that is in the image, from 0 to 1.
    pub share: f64,
}

impl Left {
    /// Nothing is known against it.
    pub const ALL: Left = Left {
        before: 1.0,
        after: 1.0,
        share: 1.0,
    };
    pub const NOTHING: Left = Left {
        before: 1.0,
        after: 0.0,
        share: 0.0,
    };

    /// From the areas before the change, after it without the image's edge, and inside the image. What had no area before
    /// isn't judged.
    pub fn of_areas(before: f64, whole: f64, after: f64) -> Self {
        if before <= 0.0 {
            return Left::ALL;
        }
        Left {
            before,
            after,
            share: if whole > 0.0 { after / whole } else { 0.0 },
        }
    }

    /// As [`Left::of_areas`], but what had no area before counts as gone.
    pub fn of_areas_or_gone(before: f64, whole: f64, after: f64) -> Self {
        if before <= 0.0 {
            Left::NOTHING
        } else {
            Left::of_areas(before, whole, after)
        }
    }

    /// Gone where it could be seen before and can't be any more.
    pub fn by_sight(before: bool, after: bool) -> Self {
        if before && !after {
            Left::NOTHING
        } else {
            Left::ALL
        }
    }
}

/// Whether enough of an instance is left.
pub fn judge(left: &Left, filter: &Filter) -> bool {
    // Rounding of coordinates is neither shrinking nor cutting.
    let shrunk = left.after < left.before * (1.0 - 1e-9);
    let enough = left.share >= filter.min_visibility * (1.0 - 1e-9);
    left.after > 0.0 && enough && !(shrunk && left.after < filter.min_area * (1.0 - 1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_things_leave_only_when_they_were_made_smaller() {
        let filter = Filter {
            min_area: 25.0,
            min_visibility: 0.1,
        };
        let stays = |before, whole, after| judge(&Left::of_areas(before, whole, after), &filter);
        assert!(stays(9.0, 9.0, 9.0));
        assert!(!stays(36.0, 24.0, 24.0));
        assert!(stays(36.0, 25.0, 25.0));
        assert!(stays(1000.0, 1000.0, 100.0));
        assert!(!stays(1000.0, 1000.0, 99.0));
        assert!(!stays(1000.0, 1000.0, 0.0));
        assert!(stays(0.0, 0.0, 0.0), "a line or a point says nothing");
        let lax = Filter {
            min_area: 0.0,
            min_visibility: 0.0,
        };
        assert!(judge(&Left::of_areas(1000.0, 1000.0, 1e-3), &lax));
        assert!(!judge(&Left::of_areas(1000.0, 1000.0, 0.0), &lax));
    }
}
