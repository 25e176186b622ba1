//! Predictions as JSON for the command line.

use crate::scores::{best_first, limited, shortest};
use cvhost_plugin_api::Result;
use cvhost_plugin_api::data::{Fields, LabelSpec};
use serde_json::{Value, json};

/// `{"predictions": [{"label", "label_id", "score"}]}`, best first. `options`: `threshold`, the
/// minimum score; without it all classes are returned.
pub fn to_json(prediction: &Fields, spec: &LabelSpec, options: &Value) -> Result<Value> {
    let ranked = limited(best_first(prediction, spec)?, options["threshold"].as_f64(), None);
    let predictions: Vec<Value> = ranked
        .iter()
        .map(|&(label, score)| {
            json!({
                "label": spec.name(label as i64),
                "label_id": label,
                "score": shortest(score),
            })
        })
        .collect();
    Ok(json!({ "predictions": predictions }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::{Array, Role};

    #[test]
    fn classes_are_sorted_by_score_and_limited_by_the_threshold() {
        let scores = [0.25f32, 0.7, 0.05];
        let fields = Fields::new().with("class_scores", Role::DISTRIBUTION, Array::vector(&scores));
        let spec = LabelSpec {
            names: vec!["a".into(), "b".into(), "c".into()].into(),
            ..Default::default()
        };
        let text = |options: Value| to_json(&fields, &spec, &options).unwrap().to_string();
        let all = r#"{"predictions":[{"label":"b","label_id":1,"score":0.7},{"label":"a","label_id":0,"score":0.25},{"label":"c","label_id":2,"score":0.05}]}"#;
        assert_eq!(text(json!({})), all);
        assert_eq!(text(json!({"threshold": 0})), all);
        assert_eq!(
            text(json!({"threshold": 0.5})),
            r#"{"predictions":[{"label":"b","label_id":1,"score":0.7}]}"#
        );
        assert_eq!(text(json!({"threshold": 0.9})), r#"{"predictions":[]}"#);
    }
}
