//! `--json`: the events of a run as JSON lines on stdout.

use super::Observer;
use crate::events::{Checkpoint, Epoch, RunEnd, RunEvent, RunStatus};
use cvhost::error::{Kind, Result};
use cvhost::output;
use serde_json::{Value, json};

/// Prints the events that are part of the documented JSON schema.
#[derive(Debug, Default)]
pub struct JsonLines;

impl Observer for JsonLines {
    fn observe(&mut self, event: &RunEvent) -> Result<()> {
        match event {
            RunEvent::Epoch(epoch) => output::event("epoch", of_epoch(epoch)),
            RunEvent::Checkpoint(checkpoint) => output::event("checkpoint", of_checkpoint(checkpoint)),
            RunEvent::Finished(end) => {
                if let Some(error) = &end.error {
                    output::error_event(error);
                }
                output::event("run_finished", of_end(end));
            }
            _ => {}
        }
        Ok(())
    }
}

fn of_epoch(epoch: &Epoch) -> Value {
    json!({
        "epoch": epoch.epoch,
        "epochs": epoch.epochs,
        "steps": epoch.step,
        "learning_rate": epoch.learning_rate,
        "train_seconds": epoch.train_seconds,
        "metrics": epoch.metrics,
    })
}

fn of_checkpoint(checkpoint: &Checkpoint) -> Value {
    json!({
        "path": checkpoint.path,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "is_best": checkpoint.is_best,
        "waited_seconds": checkpoint.waited.as_secs_f64(),
        "written_in_seconds": checkpoint.written_in.as_secs_f64(),
    })
}

fn of_end(end: &RunEnd) -> Value {
    let interrupted = end.error.as_ref().map(|error| error.kind == Kind::Interrupted);
    let status = match (end.status, interrupted) {
        (RunStatus::Interrupted, _) | (RunStatus::Failed, Some(true)) => "interrupted",
        (RunStatus::Failed, _) => "failed",
        (RunStatus::Finished | RunStatus::StoppedEarly, _) => "ok",
    };
    let best = end
        .best
        .map(|value| json!({"metric": end.monitored, "value": value}));
    let mut event = json!({
        "status": status,
        "run_dir": end.folder,
        "steps": end.steps,
        "epochs": end.epochs,
        "best": best,
        "metrics": end.metrics,
    });
    if end.error.is_none() {
        event["checkpoint_dir"] = json!(end.checkpoints);
        event["stopped_early"] = json!(end.status == RunStatus::StoppedEarly);
    }
    if let Some(profile) = &end.profile {
        event["profile"] = profile.event();
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost::error::Error;

    #[test]
    fn the_last_event_says_how_the_run_ended() {
        let end = RunEnd {
            folder: Some("runs/a".into()),
            checkpoints: Some("runs/a/checkpoints".into()),
            steps: 4,
            epochs: 2,
            monitored: "val_map".into(),
            best: Some(0.5),
            status: RunStatus::StoppedEarly,
            ..RunEnd::default()
        };
        let expected = json!({
            "status": "ok", "run_dir": "runs/a", "checkpoint_dir": "runs/a/checkpoints",
            "stopped_early": true, "steps": 4, "epochs": 2,
            "best": {"metric": "val_map", "value": 0.5}, "metrics": {},
        });
        assert_eq!(of_end(&end), expected);
        let failed = RunEnd {
            status: RunStatus::Failed,
            error: Some(Error::failed("no")),
            steps: 4,
            ..RunEnd::default()
        };
        let expected = json!({
            "status": "failed", "run_dir": null, "steps": 4, "epochs": 0, "best": null, "metrics": {},
        });
        assert_eq!(of_end(&failed), expected);
        let interrupted = RunEnd {
            error: Some(Error::new(Kind::Interrupted, "interrupted")),
            ..failed
        };
        assert_eq!(of_end(&interrupted)["status"], "interrupted");
    }
}
