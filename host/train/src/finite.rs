//! `training.nan_policy`: what happens when a loss or its gradients are not finite.

use super::pending::StepRecord;
use super::values::StepValues;
use cvhost::config::NanPolicy;
use cvhost::error::{Error, Result};

/// This many skipped steps in a row end the run.
const MAX_IN_A_ROW: u32 = 10;
/// This many overflows in a row halve the loss scale from 65536 to 6e-8. If the gradients still
/// overflow then, no scale makes them fit.
const MAX_OVERFLOWS: u32 = 40;

/// Judges each step.
#[derive(Debug)]
pub struct NonFinite {
    policy: NanPolicy,
    in_a_row: u32,
    overflows: u32,
}

/// What becomes of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its loss counts.
    Counts,
    /// The policy skips it; with a warning that names its images.
    Skipped(String),
}

impl NonFinite {
    pub fn new(policy: NanPolicy) -> Self {
        NonFinite {
            policy,
            in_a_row: 0,
            overflows: 0,
        }
    }

    /// Judges a step. A step whose gradients overflowed float16 counts if its loss is finite: that
    /// is how the loss scale is found, and no fault of the data.
    ///
    /// # Errors
    /// The policy ends the run; the error names images, parts of the loss and what to do. Or no
    /// loss scale helps against overflows.
    pub fn judge(&mut self, record: &StepRecord) -> Result<Verdict> {
        let (values, step) = (&record.values, record.step);
        if values.overflow && values.loss.is_finite() {
            return self.overflowed(step).map(|()| Verdict::Counts);
        }
        self.overflows = 0;
        if values.is_finite() {
            self.in_a_row = 0;
            return Ok(Verdict::Counts);
        }
        self.in_a_row += 1;
        let message = describe(values, step);
        if self.policy == NanPolicy::Skip && self.in_a_row < MAX_IN_A_ROW {
            let images = record.images.join(", ");
            return Ok(Verdict::Skipped(format!(
                "{message}; the step is skipped. Images: {images}"
            )));
        }
        let error = Error::failed(message).with_details(record.images.clone());
        Err(match self.policy {
            NanPolicy::Stop => error.with_help(
                "lower training.learning_rate, set training.gradient_clip, check the annotations of \
                 these images, or set training.nan_policy to skip",
            ),
            NanPolicy::Skip => error
                .with_expected(format!("fewer than {MAX_IN_A_ROW} such steps in a row"))
                .with_help(
                    "lower training.learning_rate or set training.gradient_clip; the last checkpoint is \
                     kept",
                ),
        })
    }

    fn overflowed(&mut self, step: u64) -> Result<()> {
        self.overflows += 1;
        if self.overflows < MAX_OVERFLOWS {
            return Ok(());
        }
        Err(Error::failed(format!(
            "the gradients of {MAX_OVERFLOWS} steps in a row, up to step {step}, are too large for \
             float16, however small the loss scale"
        ))
        .with_expected("gradients that fit after a few halvings of the loss scale")
        .with_help(
            "set training.precision to bf16 or fp32, or lower training.learning_rate; the last \
             checkpoint is kept",
        ))
    }
}

/// What is not finite in a step, with the parts of its loss.
fn describe(values: &StepValues, step: u64) -> String {
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

    fn judge(judge: &mut NonFinite, values: StepValues, step: u64) -> Result<bool> {
        let record = StepRecord {
            step,
            images: vec!["a.jpg".to_owned()],
            values,
        };
        Ok(judge.judge(&record)? == Verdict::Counts)
    }

    #[test]
    fn stop_names_step_and_images() {
        for bad in [values(f64::NAN, 1.0), values(1.0, f64::INFINITY)] {
            let mut policy = NonFinite::new(NanPolicy::Stop);
            assert!(judge(&mut policy, values(1.0, 1.0), 3).unwrap());
            let text = judge(&mut policy, bad, 4).unwrap_err().to_string();
            assert!(text.contains("step 4") && text.contains("a.jpg"), "{text}");
        }
    }

    #[test]
    fn a_step_without_gradients_is_judged_by_its_loss() {
        let mut policy = NonFinite::new(NanPolicy::Stop);
        let without = StepValues {
            norm: None,
            ..values(1.0, 1.0)
        };
        assert!(judge(&mut policy, without, 1).unwrap());
    }

    #[test]
    fn skip_gives_up_after_ten_in_a_row() {
        let mut policy = NonFinite::new(NanPolicy::Skip);
        for _ in 0..9 {
            assert!(!judge(&mut policy, values(f64::INFINITY, 1.0), 1).unwrap());
        }
        assert!(judge(&mut policy, values(1.0, 1.0), 1).unwrap());
        for _ in 0..9 {
            assert!(!judge(&mut policy, values(1.0, f64::NAN), 1).unwrap());
        }
        assert!(judge(&mut policy, values(f64::NAN, 1.0), 1).is_err());
    }

    #[test]
    fn overflows_are_ignored_until_no_loss_scale_helps() {
        for kind in [NanPolicy::Stop, NanPolicy::Skip] {
            let mut policy = NonFinite::new(kind);
            for _ in 0..2 {
                for step in 1..40 {
                    assert!(judge(&mut policy, overflow(1.0), step).unwrap(), "{step}");
                }
                assert!(judge(&mut policy, values(1.0, 1.0), 40).unwrap());
            }
            for step in 1..40 {
                judge(&mut policy, overflow(1.0), step).unwrap();
            }
            let text = judge(&mut policy, overflow(1.0), 40).unwrap_err().to_string();
            assert!(text.contains("step 40") && !text.contains("a.jpg"), "{text}");
        }
    }

    #[test]
    fn the_policy_applies_to_a_non_finite_loss_in_float16_too() {
        let mut policy = NonFinite::new(NanPolicy::Skip);
        assert!(!judge(&mut policy, overflow(f64::NAN), 1).unwrap());
        assert!(judge(&mut NonFinite::new(NanPolicy::Stop), overflow(f64::NAN), 1).is_err());
    }
}
