//! `cargo xtask demo`: trains a small model on the example images, and shows the improvement.

use crate::workspace::{PROGRAMS, Workspace};
use crate::{build, sh};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Full,
    /// One epoch, to check that everything works.
    Short,
}

/// A demo: the files in the repository that it uses and its output folder, relative to the root
/// folder.
pub struct Demo {
    task: &'static str,
    config: &'static str,
    /// The initial checkpoint, evaluated to measure the improvement; `None` when training from
    /// random weights.
    start: Option<&'static str>,
    images: &'static str,
    /// Ignored by git, and recreated by each run.
    results: &'static str,
    /// Minimum score of drawn predictions.
    threshold: &'static str,
    metric: &'static str,
    /// The metric's display name.
    shown: &'static str,
}

/// Fine-tunes a small detector.
pub const DETECTION: Demo = Demo {
    task: "detection",
    config: "examples/demo.yaml",
    start: Some("examples/checkpoint"),
    images: "examples/bccd/images/val",
    results: "runs/demo",
    threshold: "0.7",
    metric: "val_map",
    shown: "mAP",
};

/// Trains a small classifier from random weights.
pub const CLASSIFICATION: Demo = Demo {
    task: "classification",
    config: "examples/classification.yaml",
    start: None,
    images: "examples/cells/val",
    results: "runs/demo-classification",
    threshold: "0.1",
    metric: "val_accuracy",
    shown: "accuracy",
};

/// # Errors
/// If the build or one of cvhost's commands fails; the command's own message is printed above.
pub fn run(demo: &Demo, length: Length) -> Result<()> {
    build::run()?;
    train_and_show(&Workspace::load()?, demo, length)
}

/// The demo itself, with already built binaries.
///
/// # Errors
/// Like [`run`].
pub fn train_and_show(workspace: &Workspace, demo: &Demo, length: Length) -> Result<()> {
    let started = Instant::now();
    let cvhost = Cvhost {
        program: workspace.program(PROGRAMS[0]),
        plugins: workspace.built.clone(),
        demo,
    };
    let root = sh::root();
    let results = root.join(demo.results);
    if results.exists() {
        fs::remove_dir_all(&results)
            .with_context(|| format!("cannot remove the previous {}", results.display()))?;
    }

    let before = demo
        .start
        .map(|start| cvhost.evaluate(&root.join(start)))
        .transpose()?;
    let trained = cvhost.train(&results, length)?;
    let checkpoint = trained.run_dir.join("checkpoints/best");
    let after = cvhost.evaluate(&checkpoint)?;
    let drawn = results.join("drawn");
    let images = cvhost.predict(&checkpoint, &root.join(demo.images), &drawn)?;

    println!();
    let metric = demo.shown;
    let after = format!("{after:.3}   ({} epochs)", trained.epochs);
    match before {
        Some(before) => {
            line(&format!("{metric} before fine-tuning"), &format!("{before:.3}"));
            line(&format!("{metric} after"), &after);
        }
        None => line(&format!("validation {metric}"), &after),
    }
    line("drawn images", &format!("{} ({images} files)", drawn.display()));
    line("run folder", &trained.run_dir.display().to_string());
    line("demo took", &minutes(started.elapsed()));
    Ok(())
}

fn line(what: &str, value: &str) {
    println!("{what:24}{value}");
}

/// The values used from the event `run_finished`.
#[derive(Debug, PartialEq)]
struct Trained {
    run_dir: PathBuf,
    epochs: u64,
}

struct Cvhost<'a> {
    program: PathBuf,
    /// The folder of the plugins built by cargo.
    plugins: PathBuf,
    demo: &'a Demo,
}

impl Cvhost<'_> {
    /// Evaluates a checkpoint on the validation images; returns the metric.
    fn evaluate(&self, checkpoint: &Path) -> Result<f64> {
        let mut eval = self.command("eval");
        eval.args(["--config", self.demo.config, "--split", "val", "--checkpoint"])
            .arg(checkpoint);
        metric_of(
            &last_event(&self.events(&mut eval)?, "eval_finished")?,
            self.demo.metric,
        )
    }

    fn train(&self, results: &Path, length: Length) -> Result<Trained> {
        let mut run = self.command("run");
        run.args(["--config", self.demo.config])
            .arg(format!("output.results_dir={}", results.display()));
        if length == Length::Short {
            run.arg("training.max_epochs=1");
        }
        trained(&last_event(&self.events(&mut run)?, "run_finished")?)
    }

    /// Draws the predictions for all images in a folder; returns the number of images.
    fn predict(&self, model: &Path, images: &Path, drawn: &Path) -> Result<usize> {
        let mut predict = self.command("predict");
        predict
            .arg("--model")
            .arg(model)
            .args(["--threshold", self.demo.threshold, "--out"])
            .arg(drawn)
            .arg(images);
        let events = self.events(&mut predict)?;
        Ok(events
            .iter()
            .filter(|event| event["event"] == "prediction")
            .count())
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([name, "--json", "--plugin", self.demo.task, "--plugins-dir"]);
        command.arg(&self.plugins).current_dir(sh::root());
        command
    }

    /// Runs a command with its progress bar shown on this terminal, and returns its JSON events.
    fn events(&self, command: &mut Command) -> Result<Vec<Value>> {
        eprintln!("$ {}", sh::display(command));
        let text = sh::output(command.stdin(Stdio::null()))?;
        text.lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("not a JSON line: {line}")))
            .collect()
    }
}

fn last_event(events: &[Value], name: &str) -> Result<Value> {
    match events.last() {
        Some(event) if event["event"] == name => Ok(event.clone()),
        Some(event) => bail!("expected the event {name} in the last line, got {event}"),
        None => bail!("expected the event {name} in the last line, but nothing was printed"),
    }
}

fn metric_of(event: &Value, metric: &str) -> Result<f64> {
    event["metrics"][metric]
        .as_f64()
        .with_context(|| format!("no metrics.{metric} in {event}"))
}

fn trained(event: &Value) -> Result<Trained> {
    if event["status"] != "ok" {
        bail!("training ended with {}", event["status"]);
    }
    let run_dir = event["run_dir"]
        .as_str()
        .with_context(|| format!("no run_dir in {event}"))?;
    let epochs = event["epochs"]
        .as_u64()
        .with_context(|| format!("no epochs in {event}"))?;
    Ok(Trained {
        run_dir: sh::root().join(run_dir),
        epochs,
    })
}

fn minutes(time: Duration) -> String {
    format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_last_event_must_be_the_expected_one() {
        let events = [json!({"event": "epoch"}), json!({"event": "run_finished"})];
        assert!(last_event(&events, "run_finished").is_ok());
        assert!(
            last_event(&events[..1], "run_finished")
                .unwrap_err()
                .to_string()
                .contains("epoch")
        );
        assert!(last_event(&[], "run_finished").is_err());
    }

    #[test]
    fn an_unsuccessful_run_is_an_error() {
        let event =
            json!({"event": "run_finished", "status": "interrupted", "run_dir": "runs/x", "epochs": 2});
        assert!(trained(&event).unwrap_err().to_string().contains("interrupted"));
    }

    #[test]
    fn values_are_read_from_the_events() {
        let event = json!({"event": "run_finished", "status": "ok", "run_dir": "/r", "epochs": 3, "metrics": {"val_map": 0.5}});
        assert_eq!(
            trained(&event).unwrap(),
            Trained {
                run_dir: "/r".into(),
                epochs: 3
            }
        );
        assert_eq!(metric_of(&event, "val_map").unwrap(), 0.5);
        assert!(metric_of(&json!({"metrics": {"val_map": null}}), "val_map").is_err());
        assert_eq!(minutes(Duration::from_secs(125)), "2 min 05 s");
    }
}
