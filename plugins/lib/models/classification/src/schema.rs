//! The configuration keys that every classifier has.

use serde_json::{Value, json};

/// The schema of a classifier's keys, for the adapter's schema file. `dropout` describes what the family's `model.dropout`
/// does.
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
                        "description": "The part of each target that is spread over all classes, against overconfidence.",
                    },
                    "class_weights": {
                        "anyOf": [
                            {"enum": ["balanced"]},
                            {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}},
                            {"type": "object", "additionalProperties": {"type": "number", "exclusiveMinimum": 0}},
                            {"type": "null"},
                        ],
                        "description": "How much each class counts in the loss: `balanced` (the rarer the more), a number a class \
                                        in the order of the classes, or class names with numbers, where the others count 1.",
                    },
                },
            },
        },
    })
}
