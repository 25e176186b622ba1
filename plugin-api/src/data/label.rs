//! Classes and metrics: how a task describes itself.

use super::containers::{List, Text};
use abi_stable::StableAbi;
use std::fmt;

/// The classes of a data set or of a checkpoint, in the model's order: label 0 is the first.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Default, PartialEq)]
pub struct LabelSpec {
    /// The versioned form of targets and predictions, such as `name/1`.
    pub form: Text,
    pub names: List<Text>,
    /// The data set's own id for each class (ids may have gaps); -1 for a class that it lacks.
    pub ids: List<i64>,
    /// More that a form needs (keypoint names, stuff or thing), as JSON text; empty for none.
    pub extra: Text,
}

impl LabelSpec {
    /// The name of a label, or `label N` for one out of range.
    pub fn name(&self, label: i64) -> String {
        usize::try_from(label)
            .ok()
            .and_then(|i| self.names.get(i))
            .map_or_else(|| format!("label {label}"), ToString::to_string)
    }
}

/// Which values of a metric are better.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq)]
pub struct Direction(pub u32);

impl Direction {
    pub const HIGHER_IS_BETTER: Self = Self(1);
    pub const LOWER_IS_BETTER: Self = Self(2);
    /// Neither: a count, or a value to be read beside others. Such a metric can't be monitored.
    pub const NEITHER: Self = Self(3);
}

impl fmt::Debug for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match *self {
            Self::HIGHER_IS_BETTER => "higher is better",
            Self::LOWER_IS_BETTER => "lower is better",
            Self::NEITHER => "neither",
            Self(other) => return write!(f, "direction {other}"),
        })
    }
}

/// A metric that an evaluator reports.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, PartialEq)]
pub struct MetricInfo {
    /// The name without the split's prefix. `<class>` stands for every class name: `map_<class>`.
    pub name: Text,
    pub direction: Direction,
    pub description: Text,
    /// More about the metric, as JSON text; empty for none.
    pub extra: Text,
}

impl MetricInfo {
    pub fn new(name: &str, direction: Direction, description: &str) -> Self {
        MetricInfo {
            name: name.into(),
            direction,
            description: description.into(),
            extra: Text::new(),
        }
    }

    /// A metric of which higher values are better.
    pub fn higher(name: &str, description: &str) -> Self {
        Self::new(name, Direction::HIGHER_IS_BETTER, description)
    }

    /// A metric of which lower values are better.
    pub fn lower(name: &str, description: &str) -> Self {
        Self::new(name, Direction::LOWER_IS_BETTER, description)
    }
}
