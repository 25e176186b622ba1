//! The configuration keys common to all classifiers.

use serde_json::{Value, json};

/// The schema of a classifier's keys, for the adapter's schema file. `dropout` is the description
/// of the family's `model.dropout`.
pub fn schema(dropout: &str) -> Value {
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
                    "label_smoothing": {
                        "type": ["number", "null"],
                        "minimum": 0,
                        "maximum": 1,
                        "description": "Label smoothing: the fraction of each target spread over all classes, against overconfidence.",
                    },
                    "class_weights": {
                        "anyOf": [
                            {"enum": ["balanced"]},
                            {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}},
                            {"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": 0}},
                            {"type": "null"},
                        ],
                        "description": "The weight of each class in the loss: `balanced` (rarer classes weigh more), \
                                        one number per class in class order, or a map from class names to \
                                        numbers, in which omitted classes weigh 1.",
                    },
                },
            },
        },
    })
}
