use super::*;
use crate::{ModelFolder, ModelParts, TrainingState};
use cvhost_plugin_api::data::{Parameter, Tags, TensorHandle};
use serde_json::json;
use tch::Tensor;

fn save(checkpoints: &Checkpoints, epoch: u64, value: Option<f64>) -> Saved {
    let parameter = Parameter {
        name: "w".into(),
        aliases: Default::default(),
        tensor: TensorHandle::new(Tensor::from(epoch as i64)),
        tags: Tags::NONE,
        depth: 0,
        extra: Default::default(),
    };
    let config = json!({"model_type": "x"});
    let parts = ModelParts {
        parameters: &[parameter],
        config: &config,
        preprocessor: Some(&config),
    };
    let state = TrainingState {
        tensors: vec![("m".into(), Tensor::from(epoch as f64))],
        json: json!({"epoch": epoch}),
    };
    checkpoints
        .save(
            Stamp {
                epoch,
                step: epoch * 40,
                value,
            },
            &parts.image(Vec::new()).unwrap(),
            Some(&state.image(Vec::new()).unwrap()),
        )
        .unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn store(dir: &Path, k: i32, mode: MonitorMode) -> Checkpoints {
    Checkpoints::new(dir.to_owned(), None, RetentionPolicy::top_k(k, "val_map", mode)).unwrap()
}

fn newest_valid(checkpoints: &Checkpoints) -> (Option<Found>, Vec<String>) {
    latest_valid(&checkpoints.roots().collect::<Vec<_>>()).unwrap()
}

#[test]
fn the_top_k_and_the_last_are_retained() {
    let root = tempfile::tempdir().unwrap();
    let checkpoints = store(root.path(), 2, MonitorMode::Max);
    let values = [Some(0.2), Some(0.5), Some(f64::NAN), Some(0.4), Some(0.5), None];
    let best: Vec<bool> = (1..)
        .zip(values)
        .map(|(epoch, value)| save(&checkpoints, epoch, value).is_best)
        .collect();
    assert_eq!(best, [true, true, false, false, false, false]);
    assert_eq!(
        names(root.path()),
        [
            "best",
            "epoch-002-step-000080",
            "epoch-005-step-000200",
            "epoch-006-step-000240",
            "last"
        ]
    );
    let link = |name: &str| fs::read_link(root.path().join(name)).unwrap();
    assert_eq!(link("best"), Path::new("epoch-002-step-000080"));
    assert_eq!(link("last"), Path::new("epoch-006-step-000240"));
    let folder = ModelFolder::open(&root.path().join("best")).unwrap();
    assert_eq!(folder.weights().unwrap().read("w").unwrap().int64_value(&[]), 2);
    let state = TrainingState::load(&root.path().join("last")).unwrap().unwrap();
    assert_eq!(
        (&state.json["epoch"], state.tensor("m").unwrap().double_value(&[])),
        (&json!(6), 6.0)
    );
}

#[test]
fn a_smaller_loss_can_be_best_and_the_ranking_survives_a_restart() {
    let root = tempfile::tempdir().unwrap();
    save(&store(root.path(), 1, MonitorMode::Min), 1, Some(0.3));
    let again = store(root.path(), 1, MonitorMode::Min);
    assert!(!save(&again, 2, Some(0.4)).is_best);
    assert!(save(&again, 3, Some(0.1)).is_best);
    assert_eq!(again.best().unwrap().unwrap().stamp.epoch, 3);
    assert_eq!(names(root.path()), ["best", "epoch-003-step-000120", "last"]);
}

#[test]
fn checkpoints_of_another_metric_are_retained_but_not_compared() {
    let root = tempfile::tempdir().unwrap();
    let by_loss = RetentionPolicy::top_k(1, "val_loss", MonitorMode::Min);
    let losses = Checkpoints::new(root.path().into(), None, by_loss).unwrap();
    for (epoch, loss) in [(1, 0.9), (2, 1.2)] {
        save(&losses, epoch, Some(loss));
    }
    let by_map = store(root.path(), 1, MonitorMode::Max);
    assert_eq!(by_map.settle(&root.path().join("epoch-002-step-000080")), [""; 0]);
    assert_eq!(
        names(root.path()),
        ["epoch-001-step-000040", "epoch-002-step-000080", "last"]
    );
    for (epoch, map, best) in [(3, 0.4, true), (4, 0.3, false)] {
        assert_eq!(save(&by_map, epoch, Some(map)).is_best, best);
    }
    let expected = [
        "best",
        "epoch-001-step-000040",
        "epoch-002-step-000080",
        "epoch-003-step-000120",
        "epoch-004-step-000160",
        "last",
    ];
    assert_eq!(names(root.path()), expected);
}

#[test]
fn zero_retains_the_last_and_minus_one_retains_all() {
    let (none, all) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for epoch in 1..4 {
        save(
            &store(none.path(), 0, MonitorMode::Max),
            epoch,
            Some(-(epoch as f64)),
        );
        save(&store(all.path(), -1, MonitorMode::Max), epoch, Some(1.0));
    }
    assert_eq!(names(none.path()), ["epoch-003-step-000120", "last"]);
    assert_eq!(list(all.path()).unwrap().len(), 3);
}

#[test]
fn the_newest_intact_checkpoint_is_found_past_broken_ones() {
    let root = tempfile::tempdir().unwrap();
    let checkpoints = store(root.path(), -1, MonitorMode::Max);
    assert_eq!(newest_valid(&checkpoints), (None, vec![]));
    for epoch in 1..6 {
        save(&checkpoints, epoch, None);
    }
    let at = |epoch: u64| {
        root.path().join(
            Stamp {
                epoch,
                step: epoch * 40,
                value: None,
            }
            .name(),
        )
    };
    fs::remove_file(at(5).join(COMPLETE)).unwrap();
    let weights = at(4).join("model.safetensors");
    fs::File::options()
        .write(true)
        .open(&weights)
        .unwrap()
        .set_len(9)
        .unwrap();
    fs::remove_file(at(3).join("training_state/state.json")).unwrap();
    let (found, skipped) = newest_valid(&checkpoints);
    assert_eq!(found.unwrap().path, at(2));
    assert_eq!(skipped.len(), 3, "{skipped:?}");
    assert!(
        skipped
            .iter()
            .any(|s| s.contains("model.safetensors has 9 bytes instead of")),
        "{skipped:?}"
    );
}

#[test]
fn leftovers_of_a_crash_are_ignored_and_cleaned() {
    let root = tempfile::tempdir().unwrap();
    save(&store(root.path(), 1, MonitorMode::Max), 1, Some(0.1));
    let half = root.path().join(".epoch-002-step-000080.tmp-1-0");
    fs::create_dir(&half).unwrap();
    fs::write(half.join("model.safetensors"), "half").unwrap();
    let (found, skipped) = latest_valid(&[root.path()]).unwrap();
    assert_eq!((found.unwrap().stamp.epoch, skipped.len()), (1, 0));
    let checkpoints = store(root.path(), 1, MonitorMode::Max);
    assert_eq!(checkpoints.cleaned.len(), 1);
    assert!(!half.exists());
}

#[test]
fn the_second_copy_is_complete_and_replaces_a_missing_first() {
    let (root, mirror) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keep = RetentionPolicy::top_k(1, "val_map", MonitorMode::Max);
    let checkpoints = Checkpoints::new(root.path().into(), Some(mirror.path().into()), keep).unwrap();
    for (epoch, value) in [(1, 0.5), (2, 0.1), (3, 0.2)] {
        assert_eq!(save(&checkpoints, epoch, Some(value)).warnings, [""; 0]);
    }
    assert_eq!(names(root.path()), names(mirror.path()));
    assert_eq!(
        fs::read_link(mirror.path().join("best")).unwrap(),
        Path::new("epoch-001-step-000040")
    );
    fs::remove_dir_all(root.path().join("epoch-003-step-000120")).unwrap();
    let (found, _) = newest_valid(&checkpoints);
    assert_eq!(found.unwrap().path, mirror.path().join("epoch-003-step-000120"));
}

/// Three checkpoints and their second copies. Tests simulate a kill during the last save by undoing
/// parts of it.
fn two_roots() -> (tempfile::TempDir, tempfile::TempDir, Checkpoints) {
    let (root, mirror) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keep = RetentionPolicy::top_k(1, "val_map", MonitorMode::Max);
    let checkpoints = Checkpoints::new(root.path().into(), Some(mirror.path().into()), keep).unwrap();
    for (epoch, value) in [(1, 0.1), (2, 0.2), (3, 0.3)] {
        save(&checkpoints, epoch, Some(value));
    }
    (root, mirror, checkpoints)
}

const NEWEST: &str = "epoch-003-step-000120";

fn assert_settled(root: &Path) {
    assert_eq!(names(root), ["best", NEWEST, "last"]);
    for link in ["best", "last"] {
        assert_eq!(fs::read_link(root.join(link)).unwrap(), Path::new(NEWEST));
    }
    assert!(is_whole(&root.join(NEWEST)));
}

#[test]
fn links_and_the_second_copy_are_completed_after_a_kill() {
    let (root, mirror, checkpoints) = two_roots();
    let older = Path::new("epoch-002-step-000080");
    for folder in [root.path(), mirror.path()] {
        copy_folder(&folder.join(NEWEST), &folder.join(older));
        let mut marker = serde_json::to_value(read_marker(&folder.join(older)).unwrap()).unwrap();
        (marker["serial"], marker["value"]) = (json!(2), json!(0.2));
        write_json(&folder.join(older).join(COMPLETE), &marker).unwrap();
        replace_link(&folder.join(LAST), older).unwrap();
        replace_link(&folder.join(BEST), older).unwrap();
    }
    fs::remove_dir_all(mirror.path().join(NEWEST)).unwrap();
    let (newest, _) = newest_valid(&checkpoints);
    assert_eq!(checkpoints.settle(&newest.unwrap().path), [""; 0]);
    assert_settled(root.path());
    assert_settled(mirror.path());
}

#[test]
fn each_copy_is_restored_from_the_other() {
    let (root, mirror, checkpoints) = two_roots();
    for broken in [root.path(), mirror.path()] {
        fs::write(broken.join(NEWEST).join("model.safetensors"), "x").unwrap();
        let (newest, _) = newest_valid(&checkpoints);
        assert_eq!(checkpoints.settle(&newest.unwrap().path), [""; 0]);
        assert_settled(root.path());
        assert_settled(mirror.path());
    }
    fs::remove_dir_all(root.path()).unwrap();
    fs::create_dir(root.path()).unwrap();
    let (newest, _) = newest_valid(&checkpoints);
    assert_eq!(checkpoints.settle(&newest.unwrap().path), [""; 0]);
    assert_settled(root.path());
}

#[test]
fn a_damaged_best_is_restored_or_ignored() {
    let (root, mirror) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keep = RetentionPolicy::top_k(2, "val_map", MonitorMode::Max);
    let checkpoints = Checkpoints::new(root.path().into(), Some(mirror.path().into()), keep).unwrap();
    for (epoch, value) in [(1, 0.9), (2, 0.5), (3, 0.1)] {
        save(&checkpoints, epoch, Some(value));
    }
    let settle = || checkpoints.settle(&root.path().join(NEWEST));
    let best = |root: &Path| fs::read_link(root.join("best")).unwrap();
    let (first, second) = (
        Path::new("epoch-001-step-000040"),
        Path::new("epoch-002-step-000080"),
    );
    fs::write(root.path().join(first).join("model.safetensors"), "").unwrap();
    fs::remove_dir_all(mirror.path().join(second)).unwrap();
    assert_eq!(settle(), [""; 0]);
    assert!(is_whole(&root.path().join(first)));
    fs::remove_dir_all(root.path().join(first)).unwrap();
    assert_eq!(settle(), [""; 0]);
    assert!(is_whole(&root.path().join(first)));
    for folder in [root.path(), mirror.path()] {
        fs::write(folder.join(first).join("model.safetensors"), "").unwrap();
    }
    let warnings = settle();
    assert!(
        warnings.len() == 2 && warnings[0].contains("ignored from now on"),
        "{warnings:?}"
    );
    for folder in [root.path(), mirror.path()] {
        assert_eq!(best(folder), second);
        assert!(is_whole(&folder.join(second)));
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    copy_tree(from, to).unwrap();
}

#[test]
fn a_failed_second_copy_is_a_warning() {
    let (root, mirror) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keep = RetentionPolicy::top_k(1, "val_map", MonitorMode::Max);
    let gone = mirror.path().join("volume");
    let checkpoints = Checkpoints::new(root.path().into(), Some(gone.clone()), keep).unwrap();
    fs::remove_dir(&gone).unwrap();
    fs::write(&gone, "no longer a folder").unwrap();
    let saved = save(&checkpoints, 1, Some(0.5));
    assert!(saved.warnings[0].contains("second copy"), "{:?}", saved.warnings);
    assert!(saved.is_best && ModelFolder::open(&saved.path).is_ok());
}

#[test]
fn a_changed_byte_is_detected_and_the_older_checkpoint_used() {
    let root = tempfile::tempdir().unwrap();
    let checkpoints = store(root.path(), -1, MonitorMode::Max);
    save(&checkpoints, 1, Some(0.1));
    let newest = save(&checkpoints, 2, Some(0.2)).path.join("model.safetensors");
    let mut bytes = fs::read(&newest).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&newest, bytes).unwrap();
    let (found, skipped) = newest_valid(&checkpoints);
    assert_eq!(found.unwrap().stamp.epoch, 1);
    assert!(
        skipped[0].contains("model.safetensors has changed"),
        "{skipped:?}"
    );
}
