//! Ctrl-C once, then `--resume`.

use crate::bench::{Bench, of_event, path_in, refused};
use cvhost_tests::programs::Run;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn ctrl_c_writes_a_checkpoint_and_resume_goes_on_to_the_end() {
    a_signal_writes_a_checkpoint_and_resume_goes_on("-INT");
}

#[test]
fn sigterm_writes_a_checkpoint_and_resume_goes_on_to_the_end() {
    a_signal_writes_a_checkpoint_and_resume_goes_on("-TERM");
}

fn a_signal_writes_a_checkpoint_and_resume_goes_on(signal: &str) {
    let bench = Bench::new("yolos");
    let epochs = "training.max_epochs=60";
    let mut command = bench.with_config("run", &[epochs]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    assert!(lines.any(|line| line.contains("\"epoch\"")));
    assert!(
        Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let last: Value = serde_json::from_str(&lines.last().unwrap()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(last["status"], "interrupted");
    let run_dir = path_in(&last, "run_dir");
    let resumed = bench
        .run(&[&format!("--resume={}", run_dir.display()), epochs])
        .success();
    let end = resumed.last_event();
    assert_eq!(
        (end["status"].as_str(), end["epochs"].as_u64()),
        (Some("ok"), Some(60))
    );
    assert_eq!(path_in(&end, "run_dir"), run_dir);
    let events = resumed.events();
    let first = of_event(&events, "epoch")[0];
    assert!(first["epoch"].as_u64().unwrap() > 1, "{first}");
}

#[test]
fn with_another_batch_size_a_resumed_run_makes_the_epochs_that_are_left() {
    let bench = Bench::new("yolos");
    let rate = |run: &Run, epoch: usize| {
        let events = run.events();
        of_event(&events, "epoch")[epoch]["learning_rate"]
            .as_f64()
            .unwrap()
    };
    // Four steps an epoch, then two.
    let whole = bench.run(&["training.max_epochs=3"]).success();
    let first = bench
        .run(&["training.max_epochs=3", "training.max_steps=4"])
        .success();
    let folder = format!("--resume={}", path_in(&first.last_event(), "run_dir").display());
    let resumed = bench
        .run(&[&folder, "training.max_epochs=3", "data.batch_size=4"])
        .success();
    let end = resumed.last_event();
    assert_eq!(
        (end["epochs"].as_u64(), end["steps"].as_u64()),
        (Some(3), Some(8))
    );
    // The schedule goes by epochs, so it comes as far down.
    let last = rate(&resumed, 1);
    assert!(last > 0.0 && last < rate(&whole, 1), "{last}");
}

#[test]
fn a_run_of_a_few_batches_alone_is_not_gone_on_with() {
    let bench = Bench::new("yolos");
    bench
        .run(&["--overfit-batches", "1", "training.max_epochs=1"])
        .success();
    refused(&bench.run(&["--resume"]), 2, &["first 1 batches alone"]);
}

#[test]
fn a_run_is_resumed_with_the_configuration_that_it_keeps() {
    let bench = Bench::new("yolos");
    let first = bench
        .run(&["training.max_epochs=3", "training.max_steps=2"])
        .success();
    let run_dir = path_in(&first.last_event(), "run_dir");
    let results = format!("output.results_dir={}", run_dir.parent().unwrap().display());
    let folder = format!("--resume={}", run_dir.display());
    // The run's folder, or the newest run in the results folder.
    for (resume, more, steps) in [
        (folder.as_str(), &[][..], 4),
        ("--resume", &[results.as_str()][..], 6),
    ] {
        let mut command = bench.command();
        command.args(["run", "--json", resume]).args(more);
        command.arg(format!("training.max_steps={steps}"));
        let end = Run::of(&mut command).success().last_event();
        assert_eq!(path_in(&end, "run_dir"), run_dir);
        assert_eq!(end["steps"], steps);
    }
    let mut nothing = bench.command();
    nothing.args(["run", "--resume", "output.results_dir=/nowhere"]);
    refused(&Run::of(&mut nothing), 2, &["there is no run in /nowhere"]);
}
