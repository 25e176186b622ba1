//! What a person sees of a run: progress bars and lines on stderr, and the summary at the end.

use super::Observer;
use crate::events::{Epoch, EpochStart, Plan, RunEnd, RunEvent, RunStatus, Step};
use cvhost::error::Result;
use cvhost::output::{self, shown};
use cvhost::progress::{self, Pass};
use cvhost_torch::memory;
use serde_json::Value;
use tch::Device;

/// Shows a run on the terminal.
pub struct Terminal {
    /// Whether stdout is for JSON lines alone.
    json: bool,
    /// The device whose memory is shown, once it is known.
    device: Option<Device>,
    /// The progress bar of the current epoch.
    pass: Option<Pass>,
    /// The metrics in the line of an epoch.
    headline: Vec<String>,
}

impl Terminal {
    /// With `json` nothing is printed to stdout, as it holds JSON lines then.
    pub fn new(json: bool) -> Self {
        Terminal {
            json,
            device: None,
            pass: None,
            headline: Vec::new(),
        }
    }

    fn start_epoch(&mut self, start: &EpochStart) {
        let label = format!("epoch {}", start.epoch + 1);
        self.pass = Some(Pass::new(&label, start.steps, start.log_every));
    }

    fn step(&self, step: &Step) {
        let Some(pass) = &self.pass else { return };
        pass.step_of(step.images, || {
            let memory = self.device.map_or_else(String::new, memory::in_use);
            let loss = step
                .loss
                .map_or_else(String::new, |loss| format!("loss {loss:.3}  "));
            format!("{loss}lr {:.1e}  {memory}", step.learning_rate)
        });
    }

    fn finish(&self, end: &RunEnd) {
        match &end.error {
            Some(error) => output::note(&format!("error: {error}")),
            None if self.json => {}
            None => output::line(&summary(end)),
        }
    }
}

impl Observer for Terminal {
    fn observe(&mut self, event: &RunEvent) -> Result<()> {
        match event {
            RunEvent::RunStarted(start) => {
                progress::note(&format!("run folder {}", shown(&start.folder)));
            }
            RunEvent::Plan(plan) => {
                self.device = Some(plan.device);
                self.headline.clone_from(&plan.headline);
                progress::note(&plan_text(plan));
            }
            RunEvent::Resumed(resume) => progress::note(&format!(
                "resuming after step {} in epoch {}",
                resume.step,
                resume.epoch + 1
            )),
            RunEvent::Unfrozen(count) => {
                progress::note(&format!("{count} more parameters are trained from this epoch on"));
            }
            RunEvent::EpochStarted(start) => self.start_epoch(start),
            RunEvent::Step(step) => self.step(step),
            RunEvent::StepsEnded => self.pass = None,
            RunEvent::Epoch(epoch) => progress::note(&epoch_line(epoch, &self.headline)),
            RunEvent::Checkpoint(checkpoint) => {
                tracing::debug!("saved {}", checkpoint.path.display());
            }
            RunEvent::Rescued { step } => progress::note(&format!(
                "the training is saved up to step {step}; --resume continues from there"
            )),
            RunEvent::Warning(message) => tracing::warn!("{message}"),
            RunEvent::Finished(end) => {
                self.pass = None;
                self.finish(end);
            }
            _ => {}
        }
        Ok(())
    }
}

fn plan_text(plan: &Plan) -> String {
    format!(
        "{}\ntraining {} of {} parameters, {} steps in {} epochs",
        plan.table, plan.trained, plan.parameters, plan.steps, plan.epochs
    )
}

fn epoch_line(epoch: &Epoch, headline: &[String]) -> String {
    let unfinished = if epoch.batch > 0 {
        format!(" + {} batches", epoch.batch)
    } else {
        String::new()
    };
    let mut line = format!("epoch {}/{}{unfinished}", epoch.epoch, epoch.epochs);
    for name in headline {
        if let Some(value) = epoch.metrics.get(name).and_then(Value::as_f64) {
            line += &format!("  {name} {value:.4}");
        }
    }
    format!("{line}  {:.1} s", epoch.train_seconds)
}

/// The summary of a run that did not fail.
fn summary(end: &RunEnd) -> String {
    let interrupted = end.status == RunStatus::Interrupted;
    let how = match end.status {
        RunStatus::StoppedEarly => "stopped early: no better value for the configured number of epochs",
        RunStatus::Interrupted if end.trial => "interrupted",
        RunStatus::Interrupted => "interrupted; continue with `cvhost run --resume …`",
        RunStatus::Finished | RunStatus::Failed => "finished",
    };
    let mut text = format!(
        "{how} after {}, {}",
        counted(end.epochs, "epoch"),
        counted(end.steps, "step")
    );
    if let Some(best) = end.best {
        text += &format!("\nbest {} {best:.4}", end.monitored);
    }
    if end.trial {
        let result = if interrupted {
            "not everything was tried"
        } else {
            "everything works"
        };
        return text + &format!("\n{result}; nothing was left behind");
    }
    if let Some(folder) = &end.folder {
        text += &format!("\nrun folder   {}", shown(folder));
    }
    if let Some(checkpoints) = &end.checkpoints {
        text += &format!("\ncheckpoints  {}", shown(checkpoints));
    }
    if let Some(profile) = &end.profile {
        text += &format!("\ntrace        {}\n{profile}", shown(&profile.path));
    }
    text
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, json};

    #[test]
    fn the_line_of_an_epoch_has_the_headline_metrics_that_were_measured() {
        let metrics = json!({"val_map": 0.25, "train_loss": 1.5, "val_other": 1.0});
        let epoch = Epoch {
            epoch: 1,
            epochs: 3,
            batch: 2,
            step: 9,
            learning_rate: 0.1,
            train_seconds: 2.04,
            metrics: metrics.as_object().cloned().unwrap_or_default(),
        };
        let headline = ["train_loss", "val_loss", "val_map"].map(str::to_owned);
        assert_eq!(
            epoch_line(&epoch, &headline),
            "epoch 1/3 + 2 batches  train_loss 1.5000  val_map 0.2500  2.0 s"
        );
    }

    #[test]
    fn the_summary_says_what_is_left_behind() {
        let mut end = RunEnd {
            folder: Some("/runs/a".into()),
            checkpoints: Some("/runs/a/checkpoints".into()),
            steps: 4,
            epochs: 1,
            monitored: "val_map".into(),
            best: Some(0.5),
            metrics: Map::new(),
            ..RunEnd::default()
        };
        assert_eq!(
            summary(&end),
            "finished after 1 epoch, 4 steps\nbest val_map 0.5000\nrun folder   /runs/a\ncheckpoints  /runs/a/checkpoints"
        );
        end.trial = true;
        let text = summary(&end);
        assert!(
            text.ends_with("everything works; nothing was left behind"),
            "{text}"
        );
        end.status = RunStatus::Interrupted;
        assert!(summary(&end).contains("not everything was tried"));
    }
}
