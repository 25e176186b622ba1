//! A disk that fills up while a run saves.

use crate::bench::{Bench, path_in};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SETTINGS: [&str; 4] = [
    "training.max_epochs=40",
    "training.max_steps=60",
    "training.save_every_n_steps=3",
    "training.deterministic=true",
];

/// Starts `cvhost run` with SIGXFSZ ignored, so that writing beyond a limit is an error, as on a
/// full disk, and doesn't kill it: a signal that a shell ignores stays ignored in the program it
/// execs.
fn spawn(bench: &Bench) -> Child {
    let run = bench.with_config("run", &SETTINGS);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]);
    shell.arg(run.get_program()).args(run.get_args());
    shell.current_dir(run.get_current_dir().unwrap());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Limits the size of any file the running process writes to `bytes`; `None` removes the limit.
fn limit_files(process: u32, bytes: Option<u64>) {
    let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
    let status = Command::new("prlimit")
        .args([
            "--pid",
            &process.to_string(),
            &format!("--fsize={limit}:unlimited"),
        ])
        .status()
        .unwrap();
    assert!(status.success());
}

fn final_files(run: &Path) -> Vec<Vec<u8>> {
    let last = run.join("checkpoints/last");
    ["model.safetensors", "training_state/state.safetensors"]
        .map(|name| std::fs::read(last.join(name)).unwrap())
        .to_vec()
}

#[test]
fn a_full_disk_is_reported_keeps_the_old_checkpoint_and_the_run_can_be_resumed() {
    let whole = Bench::new("yolos");
    let expected = whole.run(&SETTINGS).success().last_event();
    let expected = final_files(&path_in(&expected, "run_dir"));

    let bench = Bench::new("yolos");
    let mut child = spawn(&bench);
    let mut stderr = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stderr.read_to_string(&mut text).unwrap();
        text
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let saved = lines.find(|line| line.contains("\"checkpoint\"")).unwrap();
    limit_files(child.id(), Some(2000));
    let last: Value = serde_json::from_str(&lines.last().unwrap()).unwrap();
    let code = child.wait().unwrap().code();
    let stderr = reader.join().unwrap();
    assert_eq!(code, Some(1), "{stderr}");
    assert_eq!(last["status"], "failed");
    for word in ["File too large", "checkpoint"] {
        assert!(stderr.contains(word), "no `{word}` in: {stderr}");
    }

    // The last checkpoint saved before the limit is intact.
    let run = path_in(&last, "run_dir");
    assert!(run.join("checkpoints/last/complete.json").is_file(), "{saved}");
    let resume = format!("--resume={}", run.display());
    let resumed = bench.run(&[&SETTINGS[..], &[&resume]].concat()).success();
    assert!(
        final_files(&run) == expected,
        "the weights differ: {}",
        resumed.stderr
    );
}
