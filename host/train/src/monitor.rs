//! The monitored metric: it decides which epoch is best and when to stop early.

use cvhost::config::{Loaded, MonitorMode};
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::{Direction, LabelSpec, MetricInfo};
use serde_json::{Map, Value, json};

/// The monitored metric and its best value so far.
#[derive(Debug, Clone, PartialEq)]
pub struct Monitor {
    /// Its name with the split's prefix, such as `val_loss`.
    pub metric: String,
    higher_is_better: bool,
    patience: Option<u32>,
    best: Option<f64>,
    epochs_without: u32,
}

impl Monitor {
    /// Checks that the configured metric will be measured: it is the loss, or one of the task's
    /// metrics for these labels.
    ///
    /// # Errors
    /// It is neither; the error lists all names and the nearest one.
    pub fn new(loaded: &Loaded, metrics: &[MetricInfo], spec: &LabelSpec) -> Result<Self> {
        let training = &loaded.config.training;
        let metric = training.monitor_metric.clone();
        let known = known_metrics(metrics, spec);
        let Some((_, higher)) = known.iter().find(|(name, _)| *name == metric) else {
            let names: Vec<&str> = known.iter().map(|(n, _)| n.as_str()).collect();
            let with_prefix = format!("val_{}", metric.trim_start_matches("val_"));
            let likeness = |name: &&str| strsim::jaro_winkler(name, &with_prefix);
            let nearest = names.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
            let mut error = loaded
                .error_at(
                    "training.monitor_metric",
                    format!("`{metric}` is not a metric that this run measures"),
                )
                .with_expected(format!("one of: {}", names.join(", ")));
            if let Some(nearest) = nearest {
                error = error.with_help(format!("did you mean `{nearest}`?"));
            }
            return Err(error);
        };
        let higher_is_better = match training.monitor_mode {
            Some(MonitorMode::Max) => true,
            Some(MonitorMode::Min) => false,
            None => *higher,
        };
        Ok(Monitor {
            metric,
            higher_is_better,
            patience: training.early_stopping_patience,
            best: None,
            epochs_without: 0,
        })
    }

    /// The direction of the metric, for ranking checkpoints.
    pub fn mode(&self) -> MonitorMode {
        if self.higher_is_better {
            MonitorMode::Max
        } else {
            MonitorMode::Min
        }
    }

    /// The best value so far.
    pub fn best(&self) -> Option<f64> {
        self.best
    }

    /// The metric's value in an epoch.
    ///
    /// # Errors
    /// It has none (NaN), which would make every later decision wrong.
    pub fn value(&self, metrics: &Map<String, Value>) -> Result<f64> {
        metrics.get(&self.metric).and_then(Value::as_f64).ok_or_else(|| {
            Error::failed(format!(
                "the monitored metric `{}` has no value in this epoch",
                self.metric
            ))
            .with_help("monitor val_loss, or a metric whose class has examples in the validation data")
        })
    }

    /// Takes an epoch's value. Returns whether to stop after it.
    pub fn judge(&mut self, value: f64) -> bool {
        let better = self.best.is_none_or(|best| {
            if self.higher_is_better {
                value > best
            } else {
                value < best
            }
        });
        if better {
            self.best = Some(value);
            self.epochs_without = 0;
        } else {
            self.epochs_without += 1;
        }
        self.exhausted()
    }

    /// Whether the patience has run out.
    pub fn exhausted(&self) -> bool {
        self.patience.is_some_and(|p| self.epochs_without >= p)
    }

    pub fn state(&self) -> Value {
        json!({"metric": self.metric, "best": self.best, "epochs_without": self.epochs_without})
    }

    /// Restores what [`Monitor::state`] returned, unless it is for another metric.
    pub fn restore(&mut self, state: &Value) {
        if state["metric"].as_str() == Some(&self.metric) {
            self.best = state["best"].as_f64();
            self.epochs_without = state["epochs_without"].as_u64().unwrap_or(0) as u32;
        }
    }
}

/// All metrics of a validation, with their prefix and whether higher is better.
fn known_metrics(metrics: &[MetricInfo], spec: &LabelSpec) -> Vec<(String, bool)> {
    let mut known = vec![("val_loss".to_owned(), false)];
    for metric in metrics {
        let higher = match metric.direction {
            Direction::HIGHER_IS_BETTER => true,
            Direction::LOWER_IS_BETTER => false,
            _ => continue, // no value of it is better than another
        };
        if metric.name.contains("<class>") {
            let each = spec
                .names
                .iter()
                .map(|class| metric.name.replace("<class>", class));
            known.extend(each.map(|name| (format!("val_{name}"), higher)));
        } else {
            known.push((format!("val_{}", metric.name), higher));
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(higher_is_better: bool, patience: Option<u32>) -> Monitor {
        Monitor {
            metric: "val_map".into(),
            higher_is_better,
            patience,
            best: None,
            epochs_without: 0,
        }
    }

    #[test]
    fn patience_counts_epochs_without_a_better_value() {
        let mut m = monitor(true, Some(2));
        let stops: Vec<bool> = [0.1, 0.3, 0.2, 0.3].iter().map(|v| m.judge(*v)).collect();
        assert_eq!(stops, [false, false, false, true]);
        assert_eq!(m.best(), Some(0.3));
    }

    #[test]
    fn a_restored_monitor_continues_to_count() {
        let mut m = monitor(false, Some(2));
        m.judge(1.0);
        m.judge(2.0);
        let mut resumed = monitor(false, Some(2));
        resumed.restore(&m.state());
        assert_eq!(resumed.best(), Some(1.0));
        assert!(resumed.judge(1.5));
    }

    #[test]
    fn class_patterns_become_names() {
        let spec = LabelSpec {
            names: vec!["RBC".into(), "WBC".into()].into(),
            ..Default::default()
        };
        let known = known_metrics(&[MetricInfo::higher("map_<class>", "")], &spec);
        let names: Vec<&str> = known.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["val_loss", "val_map_RBC", "val_map_WBC"]);
        let count = MetricInfo::new("images", Direction::NEITHER, "");
        assert_eq!(known_metrics(&[count], &spec).len(), 1, "nothing to monitor");
    }
}
