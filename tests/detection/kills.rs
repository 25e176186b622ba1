//! kill -9 at any moment, then `--resume`: the run ends with the bits of one that was never broken.
//!
//! `CVHOST_KILLS` says how many runs are killed (10 by default), half of them a DETR, half of them a YOLOS.

use crate::bench::Bench;
use cvhost_engine::checkpoint::Weights;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tch::Kind;

/// Enough steps that a kill mostly meets one, few enough for a hundred runs; a checkpoint after each step, and a second copy.
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
fn a_killed_run_resumes_to_the_bits_of_an_unbroken_one() {
    let count = std::env::var("CVHOST_KILLS").map_or(10, |n| n.parse::<u32>().unwrap());
    let mut inside_saves = 0;
    for (family, runs) in [("yolos", count.div_ceil(2)), ("detr", count / 2)] {
        let bench = Bench::new(family);
        let whole = Folders::new(&bench, "whole");
        let duration = whole.train_to_the_end(&bench);
        let expected = whole.final_files();
        for number in 0..runs {
            let folders = Folders::new(&bench, &format!("killed-{number}"));
            let moment = duration.mul_f64((f64::from(number) + 0.5) / f64::from(runs));
            inside_saves += u32::from(run_and_kill(&bench, &folders, moment));
            let mut settings = folders.settings();
            settings.push("--resume".to_owned());
            bench.run(&strs(&settings)).success();
            let found = folders.final_files();
            for ((name, expected), (_, found)) in expected.iter().zip(&found) {
                assert!(
                    expected == found,
                    "{family}, killed after {moment:?}: {name} differs: {}",
                    differing(&whole.last().join(name), &folders.last().join(name))
                );
            }
            std::fs::remove_dir_all(&folders.results).unwrap();
        }
    }
    println!("{count} runs were killed, {inside_saves} of them inside a save");
    // Of a few kills chance may have none there.
    assert!(
        count < 50 || inside_saves >= count / 5,
        "only {inside_saves} of {count} kills fell inside a save"
    );
}

fn strs(settings: &[String]) -> Vec<&str> {
    settings.iter().map(String::as_str).collect()
}

/// Where one run leaves its files.
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

    /// How long the run took from the moment when its folder was there: what comes before is the program's start.
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
                "the run doesn't begin"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        Instant::now()
    }

    fn last(&self) -> PathBuf {
        self.run().unwrap().join("checkpoints/last")
    }

    /// Weights, optimizer state and everything else of the last checkpoint that must not differ, with their names.
    fn final_files(&self) -> Vec<(&'static str, Vec<u8>)> {
        let last = self.last();
        ["model.safetensors", "training_state/state.safetensors"]
            .map(|name| (name, std::fs::read(last.join(name)).unwrap()))
            .to_vec()
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

/// Whether the kill left a checkpoint half-written or half-moved.
fn run_and_kill(bench: &Bench, folders: &Folders, moment: Duration) -> bool {
    let mut child = folders.spawn(bench);
    let started = folders.wait_for_the_run();
    std::thread::sleep(moment.saturating_sub(started.elapsed()));
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    let run = folders.run();
    let roots = run.iter().map(|run| run.join("checkpoints"));
    let copies = run
        .iter()
        .map(|run| folders.results.join("copy").join(run.file_name().unwrap()));
    roots.chain(copies).any(|root| half_done(&root))
}

/// Names that begin with a dot are being written or moved.
fn half_done(root: &Path) -> bool {
    std::fs::read_dir(root).is_ok_and(|entries| {
        entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with('.'))
    })
}
