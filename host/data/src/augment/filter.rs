//! Decides which instances remain in an image after a transformation.

use super::Augmentations;

/// How much of an instance must remain.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Filter {
    /// Minimum area in square pixels of the image; applies to instances that a transformation made
    /// smaller.
    pub min_area: f64,
    /// Minimum visible fraction, from 0 to 1.
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

/// The remainder of an instance, according to one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Remainder {
    /// Areas before and after the transformation, in square pixels.
    pub before: f64,
    pub after: f64,
    /// The fraction inside the image, from 0 to 1.
    pub fraction: f64,
}

impl Remainder {
    /// The whole instance remains, as far as known.
    pub const ALL: Remainder = Remainder {
        before: 1.0,
        after: 1.0,
        fraction: 1.0,
    };
    pub const NOTHING: Remainder = Remainder {
        before: 1.0,
        after: 0.0,
        fraction: 0.0,
    };

    /// Computed from the areas before the transformation, after it without clipping (`whole`), and
    /// after it inside the image. Instances without area before count as remaining.
    pub fn of_areas(before: f64, whole: f64, after: f64) -> Self {
        if before <= 0.0 {
            return Remainder::ALL;
        }
        Remainder {
            before,
            after,
            fraction: if whole > 0.0 { after / whole } else { 0.0 },
        }
    }

    /// Like [`Remainder::of_areas`], but instances without area before count as gone.
    pub fn of_areas_or_gone(before: f64, whole: f64, after: f64) -> Self {
        if before <= 0.0 {
            Remainder::NOTHING
        } else {
            Remainder::of_areas(before, whole, after)
        }
    }

    /// Gone if it was visible before, but isn't any more.
    pub fn by_sight(before: bool, after: bool) -> Self {
        if before && !after {
            Remainder::NOTHING
        } else {
            Remainder::ALL
        }
    }
}

/// Whether enough of an instance remains.
pub fn passes(remainder: &Remainder, filter: &Filter) -> bool {
    // The tolerance keeps rounding of coordinates from counting as shrinking or clipping.
    let shrunk = remainder.after < remainder.before * (1.0 - 1e-9);
    let enough = remainder.fraction >= filter.min_visibility * (1.0 - 1e-9);
    remainder.after > 0.0 && enough && !(shrunk && remainder.after < filter.min_area * (1.0 - 1e-9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_instances_are_removed_only_if_they_were_made_smaller() {
        let filter = Filter {
            min_area: 25.0,
            min_visibility: 0.1,
        };
        let stays = |before, whole, after| passes(&Remainder::of_areas(before, whole, after), &filter);
        assert!(stays(9.0, 9.0, 9.0));
        assert!(!stays(36.0, 24.0, 24.0));
        assert!(stays(36.0, 25.0, 25.0));
        assert!(stays(1000.0, 1000.0, 100.0));
        assert!(!stays(1000.0, 1000.0, 99.0));
        assert!(!stays(1000.0, 1000.0, 0.0));
        assert!(stays(0.0, 0.0, 0.0), "lines and points aren't judged");
        let lax = Filter {
            min_area: 0.0,
            min_visibility: 0.0,
        };
        assert!(passes(&Remainder::of_areas(1000.0, 1000.0, 1e-3), &lax));
        assert!(!passes(&Remainder::of_areas(1000.0, 1000.0, 0.0), &lax));
    }
}
