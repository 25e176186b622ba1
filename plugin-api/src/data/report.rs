//! What an evaluator reports.

use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};

/// A metric's value; NaN where it has none (a class without examples).
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct Scalar {
    /// Without the split's prefix.
    pub name: RString,
    pub value: f64,
}

/// A table for the report.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Table {
    pub name: RString,
    pub columns: RVec<RString>,
    pub rows: RVec<RVec<RString>>,
}

/// A line in a plot.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Curve {
    pub name: RString,
    pub x_label: RString,
    pub y_label: RString,
    pub x: RVec<f64>,
    pub y: RVec<f64>,
}

/// A square table of counts with class names.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Matrix {
    pub name: RString,
    pub labels: RVec<RString>,
    /// `labels.len()` squared values, a row a true class.
    pub values: RVec<f64>,
}

/// A file for the run folder, such as predictions in the task's usual exchange format.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Artifact {
    pub file_name: RString,
    pub bytes: RVec<u8>,
}

/// The result of an evaluation.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct Report {
    pub scalars: RVec<Scalar>,
    pub tables: RVec<Table>,
    pub curves: RVec<Curve>,
    pub matrices: RVec<Matrix>,
    pub artifacts: RVec<Artifact>,
    /// Records by how badly they were predicted, worst first, as far as the task ranks them.
    pub worst: RVec<u64>,
}

impl Report {
    pub fn push(&mut self, name: impl Into<String>, value: f64) {
        self.scalars.push(Scalar {
            name: name.into().into(),
            value,
        });
    }

    pub fn get(&self, name: &str) -> Option<f64> {
        self.scalars.iter().find(|s| s.name == name).map(|s| s.value)
    }
}
