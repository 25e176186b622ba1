//! `cvhost data check --fix` with a third-party task: the host knows nothing about its annotations.

use crate::bench::{Bench, edit_json, findings};
use cvhost_tests::events::{of_event, path_in};
use cvhost_tests::programs::Run;
use cvhost_tests::toy::Toy;
use serde_json::json;
use std::path::{Path, PathBuf};

struct Lines {
    toy: Toy,
    file: PathBuf,
}

impl Lines {
    /// The toy task with a training annotation file that has two invalid lines.
    fn new() -> Lines {
        let toy = Toy::new();
        let file = toy.folder.path().join("sides.txt");
        std::fs::write(&file, "left\nup\nright\nleft\ndown\n").unwrap();
        Lines { toy, file }
    }

    fn check(&self, annotations: &Path, more: &[&str]) -> Run {
        let annotations = format!("data.train_annotation_file={}", annotations.display());
        let config = self.toy.config.to_str().unwrap();
        let fixed = [
            "data",
            "check",
            "--split",
            "train",
            "--config",
            config,
            &annotations,
        ];
        self.toy.cvhost(&[&fixed[..], more].concat())
    }
}

#[test]
fn refused_annotations_are_checked_as_if_repaired_and_the_repaired_file_opens() {
    let lines = Lines::new();
    let run = lines.check(&lines.file, &["--fix"]);
    assert_eq!(run.code, 3, "the configured file is unchanged\n{}", run.stderr);
    let events = run.events();
    let messages: Vec<&str> = findings(&events, "annotations")
        .iter()
        .map(|f| f["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        messages,
        ["line 2: `up` is not a side", "line 5: `down` is not a side"]
    );
    // The images of the other lines were still checked.
    let split = &of_event(&events, "data_checked")[0]["splits"][0];
    assert_eq!(
        (&split["refused"], &split["pictures"]),
        (&true.into(), &3.into()),
        "{split}"
    );
    let repaired = of_event(&events, "data_repaired")[0];
    assert_eq!(repaired["key"], "data.train_annotation_file");
    assert_eq!(repaired["changes"][0], "line 2: `up` left out");
    let file = path_in(repaired, "file");
    assert_eq!(file, lines.toy.folder.path().join("sides.repaired.txt"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "left\nright\nleft\n");
    let again = lines.check(&file, &["--fix"]).success().events();
    assert!(findings(&again, "annotations").is_empty());
    assert!(of_event(&again, "data_repaired").is_empty());
}

#[test]
fn a_repair_never_overwrites_an_existing_file() {
    let lines = Lines::new();
    let there = lines.toy.folder.path().join("sides.repaired.txt");
    std::fs::write(&there, "somebody's own").unwrap();
    let run = lines.check(&lines.file, &["--fix"]);
    assert_eq!(run.code, 3);
    let events = run.events();
    assert!(
        findings(&events, "repair")[0]["message"]
            .as_str()
            .unwrap()
            .contains("already exists")
    );
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "somebody's own");
    // It leaves its own file from last time in place and reports it again.
    std::fs::write(&there, "left\nright\nleft\n").unwrap();
    let events = lines.check(&lines.file, &["--fix"]).events();
    assert_eq!(of_event(&events, "data_repaired").len(), 1);
}

#[test]
fn without_fix_nothing_is_written() {
    let lines = Lines::new();
    assert_eq!(lines.check(&lines.file, &[]).code, 3);
    assert!(!lines.toy.folder.path().join("sides.repaired.txt").exists());
}

#[test]
fn all_faults_of_a_coco_file_are_reported_and_the_repaired_file_opens() {
    let bench = Bench::new();
    edit_json(&bench.train.annotations, |coco| {
        let first = coco["annotations"][0].clone();
        let list = coco["annotations"].as_array_mut().unwrap();
        for (id, key, value) in [
            (9001, "image_id", json!(777_777)),
            (9002, "category_id", json!(555)),
            (9003, "bbox", json!([10, 10, 0, 0])),
        ] {
            let mut annotation = first.clone();
            annotation["id"] = json!(id);
            annotation[key] = value;
            list.push(annotation);
        }
    });

    let run = bench.data("check", &["--json", "--split", "train", "--fix"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    let events = run.events();
    let messages: String = findings(&events, "annotations")
        .iter()
        .map(|f| f["message"].to_string())
        .collect();
    for id in ["9001", "9002"] {
        assert!(messages.contains(id), "{id} is not in {messages}");
    }
    let repaired = of_event(&events, "data_repaired")[0];
    let changes = repaired["changes"].to_string();
    for id in ["9001", "9002", "9003"] {
        assert!(changes.contains(id), "{id} is not in {changes}");
    }
    let key = format!(
        "data.train_annotation_file={}",
        path_in(repaired, "file").display()
    );
    let again = bench
        .data("check", &["--json", "--split", "train", &key])
        .success();
    assert!(findings(&again.events(), "annotations").is_empty());
}
