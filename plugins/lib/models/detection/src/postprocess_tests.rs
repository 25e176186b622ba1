use crate::forms::{BOXES, CLASS_LABELS};
use crate::postprocess::{DetectionOptions, detections};
use cvhost_plugin_api::data::Meta;
use serde_json::{Value, json};
use tch::Tensor;

#[test]
fn detections_are_in_original_pixels_above_the_threshold_in_query_order() {
    // Two queries: class 1 with 0.7, and class 0 with 0.2 where "no object" has 0.7.
    let probabilities: [f32; 6] = [0.1, 0.7, 0.2, 0.2, 0.1, 0.7];
    let logits = Tensor::from_slice(&probabilities).log().reshape([1, 2, 3]);
    let boxes = Tensor::from_slice(&[0.5f32, 0.5, 0.5, 0.5, 0.25, 0.25, 0.5, 0.5]).reshape([1, 2, 4]);
    let metas = [Meta {
        width: 200,
        height: 100,
        ..Default::default()
    }];
    let run = |options: Value| {
        let options = DetectionOptions::from_json(&options).unwrap();
        let fields = detections(&logits, &boxes, &metas, &options).unwrap().remove(0);
        let labels = fields
            .require(CLASS_LABELS)
            .unwrap()
            .values::<i64>()
            .unwrap()
            .to_vec();
        (labels, fields.require(BOXES).unwrap().to_rows::<4>().unwrap())
    };
    let (labels, found) = run(json!({}));
    assert_eq!(labels, [1, 0]);
    assert_eq!(found, [[50.0, 25.0, 150.0, 75.0], [0.0, 0.0, 100.0, 50.0]]);
    assert_eq!(run(json!({"threshold": 0.5})).0, [1]);
    assert!(run(json!({"threshold": 0.99})).0.is_empty());
    assert_eq!(run(json!({"max_detections": 1})).0, [1]);
    assert_eq!(run(json!({"max_detections": null, "threshold": null})).0, [1, 0]);
    assert!(DetectionOptions::from_json(&json!({"threshold": "high"})).is_err());
    assert!(detections(&logits, &boxes, &[], &DetectionOptions::default()).is_err());
}
