//! The edit distance of two texts.

/// Minimum number of characters to insert, delete or substitute to turn one text into the other
/// (Levenshtein 1966).
pub fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // The distances from the prefix of `a` so far to each prefix of `b`.
    let mut distances: Vec<usize> = (0..=b.len()).collect();
    for (i, character) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (other, above) in b.iter().zip(distances.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(character != *other))
                .min(left + 1)
                .min(*above + 1);
            diagonal = std::mem::replace(above, best);
            left = best;
        }
        if let Some(first) = distances.first_mut() {
            *first = i + 1;
        }
    }
    distances.last().copied().unwrap_or(0)
}
