//! `training.nan_policy`: what happens when a loss or its gradients are not finite numbers.

use super::values::StepValues;
use cvhost::config::NanPolicy;
use cvhost::error::{Error, Result};
use cvhost_data::HostBatch;

/// So many skipped steps in a row are no accident any more.
const MOST_IN_A_ROW: u32 = 10;
/// So many overflows in a row halve the loss scale from 65536 to 6e-8: what still overflows then, no scale makes fit.
const MOST_OVERFLOWS: u32 = 40;

/// Judges each step.
#[derive(Debug)]
pub struct NonFinite {
    policy: NanPolicy,
    in_a_row: u32,
    overflows: u32,
}

impl NonFinite {
    pub fn new(policy: NanPolicy) -> Self {
        NonFinite {
            policy,
            in_a_row: 0,
            overflows: 0,
        }
    }

    /// Whether the step's loss counts. A step that the policy skips doesn't, and is told with its pictures. One whose gradients
    /// overflowed float16 does: it is how the loss scale is found, and nobody's fault.
    ///
    /// # Errors
    /// The policy ends the run: pictures, parts of the loss and what to do are named. Or no loss scale helps against overflows.
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
        if values.overflow && values.loss.is_finite() {
            return self.overflowed(step).map(|()| true);
        }
        self.overflows = 0;
        if values.finite() {
            self.in_a_row = 0;
            return Ok(true);
        }
        self.in_a_row += 1;
        let message = what_is_wrong(values, step);
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

    fn overflowed(&mut self, step: u64) -> Result<()> {
        self.overflows += 1;
        if self.overflows < MOST_OVERFLOWS {
            return Ok(());
        }
        Err(Error::failed(format!(
            "the gradients of {MOST_OVERFLOWS} steps in a row, up to step {step}, are too large for float16, however small the loss \
             scale"
        ))
        .with_expected("gradients that fit after a few halvings of the loss scale")
        .with_help("set training.precision to bf16 or fp32, or lower training.learning_rate; the last checkpoint is kept"))
    }
}

fn what_is_wrong(values: &StepValues, step: u64) -> String {
    let parts: Vec<String> = values
        .parts
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    let what = match values.norm {
        Some(norm) if values.loss.is_finite() => format!("the gradients' norm is {norm}"),
        _ => format!("the loss is {}", values.loss),
    };
    format!("{what} in step {step}: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(loss: f64, norm: f64) -> StepValues {
        StepValues {
            loss,
            parts: vec![("loss_ce".to_owned(), loss)],
            norm: Some(norm),
            overflow: false,
        }
    }

    fn overflow(loss: f64) -> StepValues {
        StepValues {
            overflow: true,
            ..values(loss, f64::INFINITY)
        }
    }

    fn names() -> Vec<String> {
        vec!["a.jpg".to_owned()]
    }

    #[test]
    fn stop_names_step_and_pictures() {
        for bad in [values(f64::NAN, 1.0), values(1.0, f64::INFINITY)] {
            let mut judge = NonFinite::new(NanPolicy::Stop);
            assert!(judge.judge_named(&values(1.0, 1.0), 3, names).unwrap());
            let text = judge.judge_named(&bad, 4, names).unwrap_err().to_string();
            assert!(text.contains("step 4") && text.contains("a.jpg"), "{text}");
        }
    }

    #[test]
    fn a_step_without_gradients_is_judged_by_its_loss() {
        let mut judge = NonFinite::new(NanPolicy::Stop);
        let without = StepValues {
            norm: None,
            ..values(1.0, 1.0)
        };
        assert!(judge.judge_named(&without, 1, names).unwrap());
    }

    #[test]
    fn skip_gives_up_after_ten_in_a_row() {
        let mut judge = NonFinite::new(NanPolicy::Skip);
        for _ in 0..9 {
            assert!(!judge.judge_named(&values(f64::INFINITY, 1.0), 1, names).unwrap());
        }
        assert!(judge.judge_named(&values(1.0, 1.0), 1, names).unwrap());
        for _ in 0..9 {
            assert!(!judge.judge_named(&values(1.0, f64::NAN), 1, names).unwrap());
        }
        assert!(judge.judge_named(&values(f64::NAN, 1.0), 1, names).is_err());
    }

    #[test]
    fn overflows_are_the_loss_scales_business_until_none_helps() {
        for policy in [NanPolicy::Stop, NanPolicy::Skip] {
            let mut judge = NonFinite::new(policy);
            for _ in 0..2 {
                for step in 1..40 {
                    assert!(judge.judge_named(&overflow(1.0), step, names).unwrap(), "{step}");
                }
                assert!(judge.judge_named(&values(1.0, 1.0), 40, names).unwrap());
            }
            for step in 1..40 {
                judge.judge_named(&overflow(1.0), step, names).unwrap();
            }
            let text = judge
                .judge_named(&overflow(1.0), 40, names)
                .unwrap_err()
                .to_string();
            assert!(text.contains("step 40") && !text.contains("a.jpg"), "{text}");
        }
    }

    #[test]
    fn a_loss_that_is_no_number_is_the_policys_business_in_float16_too() {
        let mut judge = NonFinite::new(NanPolicy::Skip);
        assert!(!judge.judge_named(&overflow(f64::NAN), 1, names).unwrap());
        assert!(
            NonFinite::new(NanPolicy::Stop)
                .judge_named(&overflow(f64::NAN), 1, names)
                .is_err()
        );
    }
}
