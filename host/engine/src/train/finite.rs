//! `training.nan_policy`: what happens when a loss or its gradients are not finite numbers.

use super::step::StepValues;
use cvhost::config::NanPolicy;
use cvhost::error::{Error, Result};
use cvhost_data::HostBatch;

/// So many skipped steps in a row are no accident any more.
const MOST_IN_A_ROW: u32 = 10;

/// Judges each step.
#[derive(Debug)]
pub struct NonFinite {
    policy: NanPolicy,
    in_a_row: u32,
}

impl NonFinite {
    pub fn new(policy: NanPolicy) -> Self {
        NonFinite { policy, in_a_row: 0 }
    }

    /// Whether the step counts. One that doesn't is told with its pictures.
    ///
    /// # Errors
    /// The policy ends the run: pictures, parts of the loss and what to do are named.
    pub fn judge(&mut self, values: &StepValues, step: u64, window: &[HostBatch]) -> Result<bool> {
        let pictures = || window.iter().flat_map(|b| b.names.iter().cloned()).collect();
        self.judge_named(values, step, pictures)
    }

    fn judge_named(
        &mut self,
        values: &StepValues,
        step: u64,
        pictures: impl FnOnce() -> Vec<String>,
    ) -> Result<bool> {
        // A step without gradients has no norm: only the loss is judged then.
        let sound = match self.policy {
            NanPolicy::Stop => values.loss.is_finite(),
            NanPolicy::Skip => values.loss.is_finite() && !values.skipped,
        };
        if sound {
            self.in_a_row = 0;
            return Ok(true);
        }
        self.in_a_row += 1;
        let parts: Vec<String> = values
            .parts
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        let what = if values.loss.is_finite() {
            format!("the gradients' norm is {}", values.norm)
        } else {
            format!("the loss is {}", values.loss)
        };
        let message = format!("{what} in step {step}: {}", parts.join(", "));
        if self.policy == NanPolicy::Skip && self.in_a_row < MOST_IN_A_ROW {
            tracing::warn!(
                "{message}; the step is skipped. Pictures: {}",
                pictures().join(", ")
            );
            return Ok(false);
        }
        let error = Error::failed(message).with_details(pictures());
        Err(match self.policy {
            NanPolicy::Stop => error.with_help(
                "lower training.learning_rate, set training.gradient_clip, look at these pictures' annotations, or set \
                 training.nan_policy to skip",
            ),
            NanPolicy::Skip => error
                .with_expected(format!("fewer than {MOST_IN_A_ROW} such steps in a row"))
                .with_help("lower training.learning_rate or set training.gradient_clip; the last checkpoint is kept"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(loss: f64, skipped: bool) -> StepValues {
        StepValues {
            loss,
            parts: vec![("loss_ce".to_owned(), loss)],
            norm: if skipped { f64::NAN } else { 1.0 },
            skipped,
        }
    }

    fn names() -> Vec<String> {
        vec!["a.jpg".to_owned()]
    }

    #[test]
    fn stop_names_step_and_pictures() {
        let mut judge = NonFinite::new(NanPolicy::Stop);
        assert!(judge.judge_named(&values(1.0, false), 3, names).unwrap());
        let text = judge
            .judge_named(&values(f64::NAN, false), 4, names)
            .unwrap_err()
            .to_string();
        assert!(text.contains("step 4") && text.contains("a.jpg"), "{text}");
    }

    #[test]
    fn skip_gives_up_after_ten_in_a_row() {
        let mut judge = NonFinite::new(NanPolicy::Skip);
        for _ in 0..9 {
            assert!(!judge.judge_named(&values(f64::INFINITY, true), 1, names).unwrap());
        }
        assert!(judge.judge_named(&values(1.0, false), 1, names).unwrap());
        for _ in 0..9 {
            assert!(!judge.judge_named(&values(1.0, true), 1, names).unwrap());
        }
        assert!(judge.judge_named(&values(f64::NAN, true), 1, names).is_err());
    }
}
