//! `cargo xtask demo`: fine-tunes a small detector on the example pictures, and shows what that gained.

use crate::workspace::{PROGRAMS, Workspace};
use crate::{build, sh};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Everything in the repository that the demo uses, relative to the root folder.
const CONFIG: &str = "examples/demo.yaml";
const CHECKPOINT: &str = "examples/checkpoint";
const PICTURES: &str = "examples/bccd/images/val";
/// Where it writes: ignored by git, and made anew by each run.
const RESULTS: &str = "runs/demo";
/// How sure a box must be to be drawn.
const THRESHOLD: &str = "0.7";
const METRIC: &str = "val_map";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Full,
    /// One epoch, to see that everything works.
    Short,
}

/// # Errors
/// When the build or one of cvhost's verbs fails; its own message stands above.
pub fn run(length: Length) -> Result<()> {
    build::run()?;
    train_and_show(&Workspace::load()?, length)
}

/// The demo itself, on binaries that are built already.
///
/// # Errors
/// As [`run`].
pub fn train_and_show(workspace: &Workspace, length: Length) -> Result<()> {
    let started = Instant::now();
    let cvhost = Cvhost {
        program: workspace.program(PROGRAMS[0]),
        plugins: workspace.built.clone(),
    };
    let root = sh::root();
    let results = root.join(RESULTS);
    if results.exists() {
        fs::remove_dir_all(&results)
            .with_context(|| format!("cannot remove the last {}", results.display()))?;
    }

    let before = cvhost.evaluate(&root.join(CHECKPOINT))?;
    let trained = cvhost.train(&results, length)?;
    let checkpoint = trained.run_dir.join("checkpoints/best");
    let after = cvhost.evaluate(&checkpoint)?;
    let drawn = results.join("drawn");
    let pictures = cvhost.predict(&checkpoint, &root.join(PICTURES), &drawn)?;

    println!();
    println!("mAP before fine-tuning  {before:.3}");
    println!("mAP after               {after:.3}   ({} epochs)", trained.epochs);
    println!("drawn pictures          {} ({pictures} files)", drawn.display());
    println!("run folder              {}", trained.run_dir.display());
    println!("demo took               {}", minutes(started.elapsed()));
    Ok(())
}

/// What the demo reads from `run_finished`.
#[derive(Debug, PartialEq)]
struct Trained {
    run_dir: PathBuf,
    epochs: u64,
}

struct Cvhost {
    program: PathBuf,
    /// The folder that cargo leaves the plugins in.
    plugins: PathBuf,
}

impl Cvhost {
    /// mAP of a checkpoint on the validation pictures.
    fn evaluate(&self, checkpoint: &Path) -> Result<f64> {
        let mut eval = self.verb("eval");
        eval.args(["--config", CONFIG, "--split", "val", "--checkpoint"])
            .arg(checkpoint);
        map_of(&last_event(&self.events(&mut eval)?, "eval_finished")?)
    }

    fn train(&self, results: &Path, length: Length) -> Result<Trained> {
        let mut run = self.verb("run");
        run.args(["--config", CONFIG])
            .arg(format!("output.results_dir={}", results.display()));
        if length == Length::Short {
            run.arg("training.max_epochs=1");
        }
        trained(&last_event(&self.events(&mut run)?, "run_finished")?)
    }

    /// Draws the boxes on all pictures of a folder; returns how many pictures that were.
    fn predict(&self, model: &Path, pictures: &Path, drawn: &Path) -> Result<usize> {
        let mut predict = self.verb("predict");
        predict
            .arg("--model")
            .arg(model)
            .args(["--threshold", THRESHOLD, "--out"])
            .arg(drawn)
            .arg(pictures);
        let events = self.events(&mut predict)?;
        Ok(events
            .iter()
            .filter(|event| event["event"] == "prediction")
            .count())
    }

    fn verb(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([verb, "--json", "--plugin", "detection", "--plugins-dir"]);
        command.arg(&self.plugins).current_dir(sh::root());
        command
    }

    /// Runs a verb with its progress bar on this terminal, and returns its JSON lines.
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
        Some(event) => bail!("the last line should have been the event {name}, but was {event}"),
        None => bail!("nothing was printed; the last line should have been the event {name}"),
    }
}

fn map_of(event: &Value) -> Result<f64> {
    event["metrics"][METRIC]
        .as_f64()
        .with_context(|| format!("no metrics.{METRIC} in {event}"))
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
    fn the_last_event_must_be_the_awaited_one() {
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
    fn a_run_that_did_not_end_well_is_an_error() {
        let event =
            json!({"event": "run_finished", "status": "interrupted", "run_dir": "runs/x", "epochs": 2});
        assert!(trained(&event).unwrap_err().to_string().contains("interrupted"));
    }

    #[test]
    fn figures_are_read_from_the_events() {
        let event = json!({"event": "run_finished", "status": "ok", "run_dir": "/r", "epochs": 3, "metrics": {"val_map": 0.5}});
        assert_eq!(
            trained(&event).unwrap(),
            Trained {
                run_dir: "/r".into(),
                epochs: 3
            }
        );
        assert_eq!(map_of(&event).unwrap(), 0.5);
        assert!(map_of(&json!({"metrics": {"val_map": null}})).is_err());
        assert_eq!(minutes(Duration::from_secs(125)), "2 min 05 s");
    }
}
