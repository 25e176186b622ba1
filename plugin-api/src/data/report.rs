//! The results of an evaluation.

use super::containers::{List, Text};
use abi_stable::StableAbi;

/// A named value; NaN where there is none (a class without examples).
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct Scalar {
    /// The name without the split's prefix.
    pub name: Text,
    pub value: f64,
}

/// A table for the report.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Table {
    pub name: Text,
    pub columns: List<Text>,
    pub rows: List<List<Text>>,
    /// More, as JSON text; empty for none.
    pub extra: Text,
}

/// A line in a plot.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Curve {
    pub name: Text,
    pub x_label: Text,
    pub y_label: Text,
    pub x: List<f64>,
    pub y: List<f64>,
    /// More, as JSON text; empty for none.
    pub extra: Text,
}

/// A square matrix of counts with class names.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Matrix {
    pub name: Text,
    pub labels: List<Text>,
    /// `labels.len()` squared values, one row per true class.
    pub values: List<f64>,
    /// More, as JSON text; empty for none.
    pub extra: Text,
}

/// A file, such as predictions in the task's usual exchange format.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Artifact {
    pub file_name: Text,
    pub bytes: List<u8>,
    /// More, as JSON text; empty for none.
    pub extra: Text,
}

/// The result of an evaluation.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Report {
    pub scalars: List<Scalar>,
    pub tables: List<Table>,
    pub curves: List<Curve>,
    pub matrices: List<Matrix>,
    pub artifacts: List<Artifact>,
    /// Indices of the records with the worst predictions, worst first, as far as the task ranks them.
    pub worst: List<u64>,
    /// More, as JSON text; empty for none.
    pub extra: Text,
}

impl Scalar {
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Scalar {
            name: name.into().into(),
            value,
        }
    }
}

impl Artifact {
    pub fn new(file_name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Artifact {
            file_name: file_name.into().into(),
            bytes: bytes.into(),
            extra: Text::new(),
        }
    }
}

impl Report {
    /// Adds a metric's value.
    pub fn push(&mut self, name: impl Into<String>, value: f64) {
        self.scalars.push(Scalar::new(name, value));
    }

    /// The value of a metric.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.scalars.iter().find(|s| s.name == name).map(|s| s.value)
    }
}
