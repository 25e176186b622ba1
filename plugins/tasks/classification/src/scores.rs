//! Reads and validates predictions of the form `classification/1`.

use cvhost_plugin_api::data::{DType, Fields, LabelSpec};
use cvhost_plugin_api::{PluginError, Result};

/// Minimum score at which a class of a multi-label image counts as predicted.
pub const DECISION: f32 = 0.5;

/// The score of each class, and whether any was NaN (a diverged model produces such values); NaN
/// counts as 0.
pub fn read(fields: &Fields, spec: &LabelSpec) -> Result<(Vec<f32>, bool)> {
    let array = fields.require("class_scores")?;
    let mut scores: Vec<f32> = match array.dtype() {
        DType::F32 => array.values::<f32>()?.to_vec(),
        _ => array.to_f64()?.into_iter().map(|s| s as f32).collect(),
    };
    if scores.len() != spec.names.len() {
        return Err(PluginError::failed(format!(
            "a prediction has {} class_scores, but there are {} classes",
            scores.len(),
            spec.names.len()
        )));
    }
    let mut broken = false;
    for score in &mut scores {
        broken |= score.is_nan();
        // Negative zero would sort before zero in a total order.
        *score = if score.is_nan() { 0.0 } else { *score + 0.0 };
    }
    Ok((scores, broken))
}

/// The label with the highest score, the first one if several are equal, and that score.
pub fn best(scores: &[f32]) -> (usize, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for (label, &score) in scores.iter().enumerate() {
        if score > best.1 {
            best = (label, score);
        }
    }
    best
}

/// Labels and scores, best first; equal scores stay in label order.
pub fn best_first(fields: &Fields, spec: &LabelSpec) -> Result<Vec<(usize, f32)>> {
    let (scores, _) = read(fields, spec)?;
    let mut ranked: Vec<(usize, f32)> = scores.into_iter().enumerate().collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(ranked)
}

/// Restricts the result of [`best_first`] to scores of at least `threshold` and to the first
/// `limit` entries.
pub fn limited(
    mut ranked: Vec<(usize, f32)>,
    threshold: Option<f64>,
    limit: Option<u64>,
) -> Vec<(usize, f32)> {
    if let Some(threshold) = threshold {
        ranked.retain(|(_, score)| f64::from(*score) >= threshold);
    }
    if let Some(limit) = limit {
        ranked.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    }
    ranked
}

/// The f64 with the same decimal representation as the f32: 0.9, not 0.8999999761581421.
pub fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::{Array, Role};

    #[test]
    fn equal_scores_keep_their_order_and_nan_is_last() {
        let spec = LabelSpec {
            names: vec!["x".into(); 4].into(),
            ..Default::default()
        };
        let scores = [0.25f32, f32::NAN, 0.5, 0.25];
        let fields = Fields::new().with("class_scores", Role::DISTRIBUTION, Array::vector(&scores));
        assert_eq!(read(&fields, &spec).unwrap(), (vec![0.25, 0.0, 0.5, 0.25], true));
        let ranked = best_first(&fields, &spec).unwrap();
        assert_eq!(ranked, [(2, 0.5), (0, 0.25), (3, 0.25), (1, 0.0)]);
        assert_eq!(limited(ranked.clone(), Some(0.25), Some(2)), ranked[..2]);
        assert_eq!(limited(ranked.clone(), Some(0.3), None), ranked[..1]);
        assert_eq!(best(&[0.1, 0.7, 0.7]), (1, 0.7));
    }

    #[test]
    fn a_wrong_number_of_scores_is_an_error() {
        let fields = Fields::new().with("class_scores", Role::DISTRIBUTION, Array::vector(&[1.0f32]));
        let error = read(&fields, &LabelSpec::default()).unwrap_err();
        assert!(error.message.contains("1 class_scores"), "{error}");
        assert!(error.message.contains("0 classes"), "{error}");
    }
}
