//! Classes and metrics: what a task says of itself.

use abi_stable::StableAbi;
use abi_stable::std_types::{RString, RVec};

/// The classes of a data set or of a checkpoint, in the model's order: label 0 is the first.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct LabelSpec {
    /// The versioned form of targets and predictions, such as `name/1`.
    pub form: RString,
    pub names: RVec<RString>,
    /// The data set's own id of each class (they may have gaps); -1 for a class that it lacks.
    pub ids: RVec<i64>,
    /// More that a form needs (keypoint names, stuff or thing), as JSON text; empty for none.
    pub extra: RString,
}

impl LabelSpec {
    /// The name of a label, or `label N` for one outside.
    pub fn name(&self, label: i64) -> String {
        usize::try_from(label)
            .ok()
            .and_then(|i| self.names.get(i))
            .map_or_else(|| format!("label {label}"), ToString::to_string)
    }
}

/// A metric that an evaluator reports.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct MetricInfo {
    /// Without the split's prefix. `<class>` in it stands for every class name: `map_<class>`.
    pub name: RString,
    pub higher_is_better: bool,
    pub description: RString,
}

impl MetricInfo {
    pub fn new(name: &str, higher_is_better: bool, description: &str) -> Self {
        MetricInfo {
            name: name.into(),
            higher_is_better,
            description: description.into(),
        }
    }
}
