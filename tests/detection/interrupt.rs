//! Ctrl-C once, then `--resume`.

use crate::bench::{Bench, of_event, path_in};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

#[test]
fn ctrl_c_writes_a_checkpoint_and_resume_completes_the_run() {
    a_signal_writes_a_checkpoint_and_resume_completes_the_run("-INT");
}

#[test]
fn sigterm_writes_a_checkpoint_and_resume_completes_the_run() {
    a_signal_writes_a_checkpoint_and_resume_completes_the_run("-TERM");
}

fn a_signal_writes_a_checkpoint_and_resume_completes_the_run(signal: &str) {
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
