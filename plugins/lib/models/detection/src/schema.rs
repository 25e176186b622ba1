//! The configuration keys of every detector.

use serde_json::{Value, json};

/// The JSON Schema of a detector's configuration keys, for the adapter's schema file. `dropout`
/// describes the family's `model.dropout`.
pub fn schema(dropout: &str) -> Value {
    let weight = json!({"type": "number", "exclusiveMinimum": 0});
    json!({
        "type": "object",
        "properties": {
            "model": {
                "type": "object",
                "properties": {
                    "dropout": {
                        "type": ["number", "null"],
                        "minimum": 0,
                        "exclusiveMaximum": 1,
                        "description": dropout,
                    },
                    "aux_loss_weight": {
                        "type": ["number", "null"],
                        "minimum": 0,
                        "description": "Weight of the auxiliary losses on the predictions of the earlier \
                                        layers; 0 disables them. By default the checkpoint's \
                                        `auxiliary_loss` decides.",
                    },
                    "class_weights": {
                        "anyOf": [
                            {"type": "array", "items": weight},
                            {"type": "object", "additionalProperties": weight},
                            {"type": "null"},
                        ],
                        "description": "Weight of each class in the cross entropy: a list of numbers in \
                                        class order, or a map from class names to numbers, where missing \
                                        classes have weight 1.",
                    },
                },
            },
        },
    })
}
