//! Predictions as JSON for the command line.

use crate::predictions;
use cvhost_plugin_api::Result;
use cvhost_plugin_api::data::{Fields, LabelSpec};
use serde_json::{Value, json};

/// `{"predictions": [{"label", "label_id", "score", "box_xyxy"}]}`, best first. Boxes are in
/// original pixels, rounded to a thousandth.
pub fn to_json(prediction: &Fields, spec: &LabelSpec) -> Result<Value> {
    let predictions: Vec<Value> = predictions::best_first(prediction)?
        .iter()
        .map(|p| {
            json!({
                "label": spec.name(p.label),
                "label_id": p.label,
                "score": shortest(p.score),
                "box_xyxy": p.xyxy.map(|v| (v * 1000.0).round() / 1000.0),
            })
        })
        .collect();
    Ok(json!({ "predictions": predictions }))
}

/// The f64 with the same decimal representation as the f32: 0.9, not 0.8999999761581421.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::{Array, Role};

    #[test]
    fn predictions_are_sorted_by_score_with_names_and_short_numbers() {
        let fields = Fields::new()
            .with(
                "boxes",
                Role::BOXES,
                Array::rows(&[[1.0f32, 2.0, 3.1, 4.0], [0.0, 0.0, 5.0, 5.0]]),
            )
            .with("class_labels", Role::COLUMN, Array::vector(&[1i64, 7]))
            .with("scores", Role::COLUMN, Array::vector(&[0.25f32, 0.9]));
        let spec = LabelSpec {
            names: vec!["a".into(), "b".into()].into(),
            ..Default::default()
        };
        let text = to_json(&fields, &spec).unwrap().to_string();
        assert_eq!(
            text,
            r#"{"predictions":[{"label":"label 7","label_id":7,"score":0.9,"box_xyxy":[0.0,0.0,5.0,5.0]},{"label":"b","label_id":1,"score":0.25,"box_xyxy":[1.0,2.0,3.1,4.0]}]}"#
        );
    }

    #[test]
    fn columns_of_different_length_are_an_error() {
        let fields = Fields::new()
            .with("boxes", Role::BOXES, Array::rows(&[[1.0f32, 2.0, 3.0, 4.0]]))
            .with("class_labels", Role::COLUMN, Array::vector::<i64>(&[]))
            .with("scores", Role::COLUMN, Array::vector(&[0.25f32]));
        assert!(
            to_json(&fields, &LabelSpec::default())
                .unwrap_err()
                .message
                .contains("1 boxes, 0 class_labels")
        );
    }
}
