//! `cargo xtask bench loader`: loading JPEG files into batches, compared with transformers' image
//! processor in a PyTorch `DataLoader`.

use super::flags::Flags;
use super::median;
use super::memory::{Watched, watched};
use crate::workspace::{PROGRAMS, Workspace};
use crate::{build, sh};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Command line options.
#[derive(Debug, PartialEq)]
pub struct Options {
    python: PathBuf,
    images: PathBuf,
    annotations: PathBuf,
    rounds: u32,
    workers: u32,
    only: Option<String>,
}

impl Options {
    /// # Errors
    /// If an option is unknown, or its value is missing or not a number.
    pub fn parse(args: &[&str]) -> Result<Self> {
        let root = sh::root();
        let names = [
            "--python",
            "--images",
            "--annotations",
            "--rounds",
            "--workers",
            "--only",
        ];
        let flags = Flags::parse(args, &names, &[])?;
        Ok(Options {
            python: flags.path("--python", "python3"),
            images: flags.path("--images", root.join("examples/bccd/images/train")),
            annotations: flags.path(
                "--annotations",
                root.join("examples/bccd/annotations/instances_train.json"),
            ),
            rounds: flags.number("--rounds", 3)?,
            workers: flags.number("--workers", 2)?,
            only: flags.text("--only").map(str::to_owned),
        })
    }
}

/// One row of the table.
struct Setting {
    name: &'static str,
    /// Shortest and longest edge of the model's input, in pixels.
    edges: [u32; 2],
    large: bool,
    batch: u32,
    /// Additional keys of `data`. Settings with augmentation are compared with cvhost without it,
    /// not with the peer.
    data: Value,
}

fn settings() -> Vec<Setting> {
    let plain = |name, edges, large, batch| Setting {
        name,
        edges,
        large,
        batch,
        data: json!({"augment": false}),
    };
    let recipe = json!({
        "horizontal_flip": 0.5, "perspective": 0.1, "brightness_contrast": 0.5, "hue_saturation": 0.1,
    });
    let augmented = |name, edges| Setting {
        data: json!({"augment": true, "augmentations": recipe.clone()}),
        ..plain(name, edges, false, 8)
    };
    vec![
        plain("480/800", [480, 800], false, 8),
        plain("800/1333", [800, 1333], false, 8),
        plain("large photos, 800/1333", [800, 1333], true, 4),
        augmented("480/800, augmented", [480, 800]),
        augmented("800/1333, augmented", [800, 1333]),
        Setting {
            data: json!({"augment": false, "scaled_decode": true}),
            ..plain("large photos, scaled decode", [800, 1333], true, 4)
        },
    ]
}

/// # Errors
/// If a program fails or its output isn't as expected.
pub fn run(options: &Options) -> Result<()> {
    build::run()?;
    let workspace = Workspace::load()?;
    let work = workspace.target.join("bench-loader");
    fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    let large = work.join("large");
    println!(
        "{:30} {:>12} {:>12} {:>7} {:>14} {:>14}",
        "", "cvhost", "peer", "ratio", "cvhost memory", "peer memory"
    );
    for setting in settings() {
        if options.only.as_ref().is_some_and(|only| only != setting.name) {
            continue;
        }
        let (images, annotations) = if setting.large {
            make_large(options, &large)?;
            (large.join("images"), large.join("annotations.json"))
        } else {
            (options.images.clone(), options.annotations.clone())
        };
        let checkpoint = checkpoint(&work, setting.edges)?;
        let bench = Bench {
            workspace: &workspace,
            options,
            setting: &setting,
            images,
            annotations,
            checkpoint,
            work: &work,
        };
        bench.alternate()?;
    }
    Ok(())
}

struct Bench<'a> {
    workspace: &'a Workspace,
    options: &'a Options,
    setting: &'a Setting,
    images: PathBuf,
    annotations: PathBuf,
    checkpoint: PathBuf,
    work: &'a Path,
}

/// Images per second, and megabytes.
struct Rate {
    rate: f64,
    memory: u64,
}

impl Bench<'_> {
    fn alternate(&self) -> Result<()> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let against_peer = self.setting.data["augment"] == false;
        for _ in 0..self.options.rounds {
            ours.push(self.cvhost(&self.setting.data)?);
            theirs.push(if against_peer {
                self.peer()?
            } else {
                self.cvhost(&json!({"augment": false}))?
            });
        }
        let rate = |side: &[Rate]| median(&side.iter().map(|r| r.rate).collect::<Vec<_>>());
        let memory = |side: &[Rate]| side.iter().map(|r| r.memory).max().unwrap_or(0);
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a.rate / b.rate).collect();
        let other = if against_peer { "" } else { "  (cvhost without)" };
        println!(
            "{:30} {:>10.1}/s {:>10.1}/s {:>6.2}x {:>11} MB {:>11} MB{other}",
            self.setting.name,
            rate(&ours),
            rate(&theirs),
            median(&ratios),
            memory(&ours),
            memory(&theirs)
        );
        Ok(())
    }

    fn cvhost(&self, data: &Value) -> Result<Rate> {
        let config = self.work.join("config.yaml");
        let mut section = json!({
            "train_data_path": self.images, "train_annotation_file": self.annotations,
            "batch_size": self.setting.batch, "num_workers": self.options.workers,
        });
        if let (Some(section), Some(data)) = (section.as_object_mut(), data.as_object()) {
            section.extend(data.clone());
        }
        // JSON is YAML.
        let document =
            json!({"model": {"model_name": self.checkpoint, "task_type": "detection"}, "data": section});
        fs::write(&config, document.to_string())?;
        let mut command = Command::new(self.workspace.program(PROGRAMS[0]));
        command.args(["data", "speed", "--json", "--config"]).arg(config);
        command.arg("--plugins-dir").arg(&self.workspace.built);
        rate_of(&watched(&mut command)?, "pictures_per_second")
    }

    fn peer(&self) -> Result<Rate> {
        let mut command = Command::new(&self.options.python);
        command
            .arg(sh::root().join("benches/peers/hf_loader.py"))
            .arg(&self.checkpoint)
            .arg(&self.images)
            .arg(&self.annotations);
        command.args(["--batch", &self.setting.batch.to_string()]);
        command.args(["--workers", &self.options.workers.to_string()]);
        rate_of(&watched(&mut command)?, "img_per_s_median")
    }
}

fn rate_of(watched: &Watched, key: &str) -> Result<Rate> {
    let event = watched.report()?;
    let rate = event[key]
        .as_f64()
        .with_context(|| format!("no {key} in {event}"))?;
    Ok(Rate {
        rate,
        memory: watched.peak_memory,
    })
}

/// A folder with the JSON files of the example checkpoint, for an input with these edges; the
/// loaders need no weights.
fn checkpoint(work: &Path, [shortest, longest]: [u32; 2]) -> Result<PathBuf> {
    let source = sh::root().join("examples/checkpoint");
    let folder = work.join(format!("checkpoint-{shortest}"));
    fs::create_dir_all(&folder)?;
    fs::copy(source.join("config.json"), folder.join("config.json"))?;
    let text = fs::read_to_string(source.join("preprocessor_config.json"))?;
    let mut processor: Value = serde_json::from_str(&text)?;
    processor["size"] = json!({"shortest_edge": shortest, "longest_edge": longest});
    fs::write(folder.join("preprocessor_config.json"), processor.to_string())?;
    Ok(folder)
}

/// Creates the large photographs if they don't exist yet.
fn make_large(options: &Options, folder: &Path) -> Result<()> {
    if folder.join("annotations.json").is_file() {
        return Ok(());
    }
    let mut command = Command::new(&options.python);
    command.arg(sh::root().join("benches/large_photos.py"));
    command.arg(&options.images).arg(&options.annotations).arg(folder);
    sh::run(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults() {
        let options = Options::parse(&["--rounds", "5", "--python", "/x/python"]).unwrap();
        assert_eq!((options.rounds, options.python), (5, PathBuf::from("/x/python")));
        assert!(options.images.is_dir() && options.annotations.is_file());
    }
}
