//! The policies of a run: what ends it, what is saved when, what becomes of steps that are not
//! finite.

use crate::cadence::Cadence;
use crate::finite::NonFinite;
use crate::monitor::Monitor;
use cvhost::config::TrainingConfig;

/// The policies of a run.
pub struct Policies<'a> {
    pub(crate) training: &'a TrainingConfig,
    pub(crate) monitor: Monitor,
    pub(crate) cadence: Cadence,
    pub(crate) non_finite: NonFinite,
    /// See [`Policies::headline`].
    headline: Option<String>,
    /// Whether this is a `--fast-dev-run`.
    pub(crate) trial: bool,
}

impl<'a> Policies<'a> {
    /// The policies of the configuration.
    pub fn new(training: &'a TrainingConfig, monitor: Monitor) -> Self {
        Policies {
            training,
            cadence: Cadence::new(training),
            non_finite: NonFinite::new(training.nan_policy),
            monitor,
            headline: None,
            trial: false,
        }
    }

    /// Adds the metric that the task is known by to those that summarise an epoch.
    #[must_use]
    pub fn with_headline(mut self, metric: Option<String>) -> Self {
        self.headline = metric;
        self
    }

    /// For a `--fast-dev-run`, which is too short for some warnings to make sense.
    #[must_use]
    pub fn for_trial(mut self, trial: bool) -> Self {
        self.trial = trial;
        self
    }

    /// The metrics that summarise an epoch.
    pub(crate) fn headline(&self) -> Vec<String> {
        let mut names = vec!["train_loss".to_owned(), "val_loss".to_owned()];
        for name in self.headline.iter().chain([&self.monitor.metric]) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}
