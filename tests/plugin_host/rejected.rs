//! Incompatible files are recognised from their bytes alone, and don't affect other plugins.

use cvhost_tests::programs::{Run, bare_programs, cvhost_in, plugin, plugins_in};
use serde_json::Value;
use std::path::Path;

/// Runs `cvhost plugin list --json` on some folders, without libtorch, so no plugin code can run.
fn list(programs: &Path, folders: &[&Path]) -> Run {
    let mut command = cvhost_in(programs);
    for folder in folders {
        command.arg("--plugins-dir").arg(folder);
    }
    Run::of(
        command
            .args(["--json", "plugin", "list"])
            .env("LIBTORCH", "/nowhere"),
    )
    .success()
}

/// `bytes` with the only occurrence of `from` replaced.
fn patched(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, w)| *w == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert_eq!(places.len(), 1, "{from} occurs at {places:?}");
    let mut bytes = bytes.to_vec();
    bytes[places[0]..places[0] + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

/// A system library, which isn't a plugin.
fn system_library() -> Vec<u8> {
    let folders = ["/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib"];
    let files = folders
        .iter()
        .flat_map(|f| ["libdl.so.2", "libm.so.6"].map(|name| Path::new(f).join(name)));
    files.filter_map(|file| std::fs::read(file).ok()).next().unwrap()
}

#[test]
fn an_incompatible_file_is_reported_with_found_and_expected_and_affects_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let programs = bare_programs(folder.path());
    let plugins = plugins_in(&folder.path().join("own"), &["logger_jsonl"]);
    let good = std::fs::read(plugin("logger_jsonl")).unwrap();
    let torch = std::fs::read(plugin("adapter_yolos")).unwrap();
    let mut aarch64 = good.clone();
    aarch64[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let api = "\"api\":\"1.0.0\"";
    let cases: [(&str, Vec<u8>, &[&str]); 8] = [
        ("text", b"#!/bin/sh\necho hello\n".to_vec(), &["text file"]),
        ("truncated", good[..good.len() / 2].to_vec(), &["truncated"]),
        ("no_note", system_library(), &["no cvhost note"]),
        (
            "other_major",
            patched(&good, api, "\"api\":\"2.0.0\""),
            &["found cvhost-plugin-api 2.0.0", "expected 1.0.0"],
        ),
        (
            "newer_minor",
            patched(&good, api, "\"api\":\"1.9.0\""),
            &["found cvhost-plugin-api 1.9.0", "expected 1.0.0"],
        ),
        (
            "aborting",
            patched(&good, "\"panic\":\"unwind\"", "\"panic\":\"abort\" "),
            &["found panic=abort", "expected panic=unwind"],
        ),
        (
            "other_libtorch",
            patched(&torch, "\"libtorch\":\"2.11.0\"", "\"libtorch\":\"2.10.0\""),
            &["found 2.10.0", "expected 2.11.0"],
        ),
        ("other_machine", aarch64, &["aarch64", "x86"]),
    ];
    for (name, bytes, _) in &cases {
        std::fs::write(plugins.join(format!("{name}.so")), bytes).unwrap();
    }
    let events = list(&programs, &[&plugins]).events();
    assert_eq!(events.len(), cases.len() + 1);
    for (name, _, words) in &cases {
        let event = of(&events, &format!("{name}.so"));
        assert_eq!(event["status"], "rejected", "{event}");
        let reason = event["reason"].as_str().unwrap();
        words
            .iter()
            .for_each(|w| assert!(reason.contains(w), "{name}: no `{w}` in: {reason}"));
    }
    let event = of(&events, "libcvhost_logger_jsonl.so");
    assert_eq!(
        (event["status"].as_str(), &event["reason"]),
        (Some("ok"), &Value::Null)
    );
}

fn of<'a>(events: &'a [Value], file: &str) -> &'a Value {
    let name = |e: &Value| {
        Path::new(e["file"].as_str().unwrap())
            .file_name()
            .unwrap()
            .to_owned()
    };
    events
        .iter()
        .find(|e| name(e) == file)
        .unwrap_or_else(|| panic!("no event for {file}"))
}

#[test]
fn of_two_copies_the_first_folder_wins_and_this_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let programs = bare_programs(folder.path());
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let first = plugins_in(&first, &["logger_jsonl"]);
    let second = plugins_in(&second, &["logger_jsonl"]);
    for order in [[&first, &second], [&second, &first]] {
        let run = list(&programs, &order.map(std::path::PathBuf::as_path));
        let shadowed: Vec<(Value, Value)> = run
            .events()
            .iter()
            .map(|e| (e["file"].clone(), e["shadowed_by"].clone()))
            .collect();
        let file =
            |folder: &Path| Value::from(folder.join("libcvhost_logger_jsonl.so").display().to_string());
        assert_eq!(
            shadowed,
            [(file(order[0]), Value::Null), (file(order[1]), file(order[0]))]
        );
        let message = format!(
            "{} is used instead because its folder comes first",
            file(order[0]).as_str().unwrap()
        );
        assert!(run.stderr.contains(&message), "{}", run.stderr);
    }
}

#[test]
fn of_two_versions_in_a_folder_the_highest_wins_and_this_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let programs = bare_programs(folder.path());
    let plugins = plugins_in(&folder.path().join("own"), &["logger_jsonl"]);
    let own = std::fs::read(plugin("logger_jsonl")).unwrap();
    let newer = patched(
        &own,
        "\"version\":\"0.1.0\",\"api\"",
        "\"version\":\"0.1.1\",\"api\"",
    );
    std::fs::write(plugins.join("newer.so"), newer).unwrap();
    let run = list(&programs, &[&plugins]);
    let events = run.events();
    let used = of(&events, "newer.so");
    assert_eq!(used["shadowed_by"], Value::Null);
    assert_eq!(
        of(&events, "libcvhost_logger_jsonl.so")["shadowed_by"],
        used["file"]
    );
    assert!(run.stderr.contains("0.1.1"), "{}", run.stderr);
}
