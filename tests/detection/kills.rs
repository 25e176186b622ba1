//! kill -9 at any moment, then `--resume`: the run ends bit-identically to an uninterrupted one.
//!
//! `CVHOST_KILLS` is the number of runs to kill (10 by default), half of them DETR, half of them
//! YOLOS.

use crate::bench::{Bench, names};
use cvhost_checkpoint::Weights;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tch::Kind;

/// Enough steps that a kill usually hits one, few enough for a hundred runs; a checkpoint after
/// every step, with a second copy.
const SETTINGS: [&str; 8] = [
    "training.max_epochs=40",
    "training.max_steps=60",
    "training.save_every_n_steps=1",
    "training.deterministic=true",
    "training.save_top_k=2",
    "data.num_workers=2",
    "data.batch_size=2",
    "training.sanity_batches=1",
];

#[test]
fn a_killed_run_resumes_bit_identically_to_an_uninterrupted_one() {
    let count = std::env::var("CVHOST_KILLS").map_or(10, |n| n.parse::<u32>().unwrap());
    let mut inside_saves = 0;
    for (family, runs) in [("yolos", count.div_ceil(2)), ("detr", count / 2)] {
        let bench = Bench::new(family);
        let whole = Folders::new(&bench, "whole");
        let duration = whole.train_to_the_end(&bench);
        for number in 0..runs {
            let folders = Folders::new(&bench, &format!("killed-{number}"));
            let moment = duration.mul_f64((f64::from(number) + 0.5) / f64::from(runs));
            inside_saves += u32::from(run_and_kill(&bench, &folders, moment));
            let mut settings = folders.settings();
            settings.push("--resume".to_owned());
            bench.run(&strs(&settings)).success();
            assert_same(&folders, &whole, &format!("{family}, killed after {moment:?}"));
            std::fs::remove_dir_all(&folders.results).unwrap();
        }
    }
    println!("{count} runs were killed, {inside_saves} of them inside a save");
    // With only a few kills, it may happen that none falls there.
    assert!(
        count < 50 || inside_saves >= count / 5,
        "only {inside_saves} of {count} kills fell inside a save"
    );
}

/// No later save can complete what a kill during the very last save leaves undone.
#[test]
fn a_run_killed_in_its_last_save_is_complete_after_resuming() {
    let bench = Bench::new("yolos");
    let whole = Folders::new(&bench, "whole");
    whole.train_to_the_end(&bench);
    let last = std::fs::read_link(whole.roots()[0].join("last")).unwrap();
    let folders = Folders::new(&bench, "killed");
    let mut child = folders.spawn(&bench);
    folders.wait_for_the_run();
    // The checkpoint is in place; its second copy, the links and the removal of older ones are
    // still to come.
    while !folders.roots()[0].join(&last).exists() {
        assert!(child.try_wait().unwrap().is_none(), "the run has ended");
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let mut settings = folders.settings();
    settings.push("--resume".to_owned());
    let end = bench.run(&strs(&settings)).success().last_event();
    assert_eq!(end["steps"], 60);
    assert!(end["metrics"]["val_loss"].is_f64(), "{end}");
    assert_same(&folders, &whole, "killed in the last save");
}

/// Asserts that checkpoints, second copies and logged metrics are the same.
fn assert_same(found: &Folders, expected: &Folders, what: &str) {
    assert_eq!(found.logged(), expected.logged(), "{what}");
    for (found, expected) in found.roots().iter().zip(expected.roots()) {
        assert_eq!(names(found), names(&expected), "{what}: {}", found.display());
        for link in ["best", "last"] {
            let target = |root: &Path| std::fs::read_link(root.join(link)).unwrap();
            assert_eq!(
                target(found),
                target(&expected),
                "{what}: {link} of {}",
                found.display()
            );
        }
        for name in ["model.safetensors", "training_state/state.safetensors"] {
            let [found, expected] = [found, &expected].map(|root| root.join("last").join(name));
            assert!(
                std::fs::read(&found).unwrap() == std::fs::read(&expected).unwrap(),
                "{what}: {} differs: {}",
                found.display(),
                differing(&expected, &found)
            );
        }
    }
}

fn strs(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

/// Where one run writes its files.
struct Folders {
    results: PathBuf,
}

impl Folders {
    fn new(bench: &Bench, name: &str) -> Self {
        Folders {
            results: bench.path(name),
        }
    }

    fn settings(&self) -> Vec<String> {
        let mut settings: Vec<String> = SETTINGS.map(str::to_owned).to_vec();
        settings.push(format!("output.results_dir={}", self.results.display()));
        settings.push(format!(
            "training.volume_checkpoint_dir={}",
            self.results.join("copy").display()
        ));
        settings
    }

    /// The run's folder, once it has its configuration.
    fn run(&self) -> Option<PathBuf> {
        let entries = std::fs::read_dir(&self.results).ok()?;
        entries
            .map(|e| e.unwrap().path())
            .find(|path| path.join("config.yaml").is_file())
    }

    /// Trains to the end and returns the time since the run folder appeared, which excludes program
    /// start-up.
    fn train_to_the_end(&self, bench: &Bench) -> Duration {
        let mut child = self.spawn(bench);
        let started = self.wait_for_the_run();
        assert!(child.wait().unwrap().success());
        started.elapsed()
    }

    fn spawn(&self, bench: &Bench) -> Child {
        bench
            .with_config("run", &strs(&self.settings()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn wait_for_the_run(&self) -> Instant {
        let patience = Instant::now();
        while self.run().is_none() {
            assert!(
                patience.elapsed() < Duration::from_secs(60),
                "the run doesn't start"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        Instant::now()
    }

    /// The folders of the checkpoints and of their second copies.
    fn roots(&self) -> [PathBuf; 2] {
        let run = self.run().unwrap();
        let copies = self.results.join("copy").join(run.file_name().unwrap());
        [run.join("checkpoints"), copies]
    }

    /// Everything the run logged, except times.
    fn logged(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.run().unwrap().join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line.as_object_mut()
                .unwrap()
                .retain(|name, _| name != "time_ms" && !name.ends_with("_seconds"));
            line
        });
        lines.collect()
    }
}

/// The tensors that differ, with the largest difference of each.
fn differing(a: &Path, b: &Path) -> String {
    let open = |path: &Path| Weights::open(&[path.to_owned()]).unwrap();
    let (a, b) = (open(a), open(b));
    let differences = a.names().iter().map(|name| {
        let difference =
            a.read(name).unwrap().to_kind(Kind::Double) - b.read(name).unwrap().to_kind(Kind::Double);
        (name.clone(), difference.abs().max().double_value(&[]))
    });
    let differing: Vec<(String, f64)> = differences.filter(|(_, most)| *most != 0.0).collect();
    format!("{} of {}: {differing:?}", differing.len(), a.names().len())
}

/// Kills a run at the given moment; returns whether that left a checkpoint half-written or
/// half-moved.
fn run_and_kill(bench: &Bench, folders: &Folders, moment: Duration) -> bool {
    let mut child = folders.spawn(bench);
    let started = folders.wait_for_the_run();
    std::thread::sleep(moment.saturating_sub(started.elapsed()));
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    folders.run().is_some() && folders.roots().iter().any(|root| half_done(root))
}

/// Whether a checkpoint is being written or moved: its name then begins with a dot.
fn half_done(root: &Path) -> bool {
    std::fs::read_dir(root).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with('.'))
    })
}
