//! `run`, `eval` and `predict` in sequence, as a user would call them.

use crate::bench::{Bench, FAMILIES, of_event, path_in};
use cvhost_tests::cells::{CLASSES, CellSet, TRAIN, VAL};
use cvhost_tests::programs::Run;
use serde_json::Value;
use std::path::Path;

#[test]
fn run_eval_and_predict_work_with_each_family_by_changing_model_name_alone() {
    for family in FAMILIES {
        let bench = Bench::new();
        let model = format!("model.model_name={}", bench.path(family).display());
        let trained = bench.run(&[&model]).success().events();
        let last = trained.last().unwrap();
        assert_eq!(
            (last["event"].as_str(), last["status"].as_str()),
            (Some("run_finished"), Some("ok"))
        );
        let steps = (2 * TRAIN * CLASSES.len() / 8) as u64;
        assert_eq!(
            (last["steps"].as_u64(), last["epochs"].as_u64()),
            (Some(steps), Some(2))
        );
        assert_eq!(last["best"]["metric"], "val_accuracy");
        let best = path_in(last, "run_dir").join("checkpoints/best");
        let evaluated = bench.eval(&best, &[&model]).success().last_event();
        let (expected, found) = (&last["best"]["value"], &evaluated["metrics"]["val_accuracy"]);
        assert_eq!(expected, found, "{family}");
        for metric in ["accuracy_top_5", "f1", "recall_weighted", "auroc", "auroc_rows"] {
            let value = &evaluated["metrics"][format!("val_{metric}")];
            assert!(
                (0.0..=1.0).contains(&value.as_f64().unwrap()),
                "{family}: {metric} {value}"
            );
        }
        check_predict(&bench, &best);
    }
}

/// Checks that `predict` at threshold 0 prints all classes, best first, with probabilities that sum
/// to 1, and that drawn images exist.
fn check_predict(bench: &Bench, model: &Path) {
    let out = bench.path("drawn");
    let predicted = bench.predict(model, "0", &[&bench.set.val, Path::new("--out"), &out]);
    let events = predicted.success().events();
    let lines = of_event(&events, "prediction");
    let mut images = CellSet::images(&bench.set.val);
    images.sort();
    assert_eq!(lines.len(), VAL * CLASSES.len());
    for (line, image) in lines.iter().zip(images) {
        assert_eq!(path_in(line, "image"), image);
        let predictions = line["predictions"].as_array().unwrap();
        assert_eq!(predictions.len(), CLASSES.len());
        for p in predictions {
            assert_eq!(p["label"], CLASSES[p["label_id"].as_u64().unwrap() as usize]);
        }
        let scores = scores(line);
        assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
        assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{scores:?}");
        let (original, drawn) = (
            image::open(&image).unwrap(),
            image::open(path_in(line, "drawn")).unwrap(),
        );
        let factor = drawn.width() / original.width();
        assert!(factor > 1, "an image of {} pixels is enlarged", original.width());
        assert_eq!(
            (drawn.width(), drawn.height()),
            (factor * original.width(), factor * original.height())
        );
    }
}

fn scores(line: &Value) -> Vec<f64> {
    let predictions = line["predictions"].as_array().unwrap().iter();
    predictions.map(|p| p["score"].as_f64().unwrap()).collect()
}

#[test]
fn the_confusion_matrix_is_in_the_event_and_in_the_report() {
    let bench = Bench::new();
    let model = bench.trained(&["training.max_epochs=1"]);
    let evaluated = bench
        .eval(&model, &["output.save_predictions=true"])
        .success()
        .last_event();
    let matrix = &evaluated["matrices"][0];
    assert_eq!(matrix["labels"], serde_json::json!(CLASSES));
    let rows: Vec<Vec<f64>> = serde_json::from_value(matrix["rows"].clone()).unwrap();
    assert_eq!(
        rows.iter().map(|row| row.iter().sum::<f64>()).collect::<Vec<_>>(),
        [VAL as f64; 3]
    );
    let right: f64 = (0..CLASSES.len()).map(|class| rows[class][class]).sum();
    let accuracy = evaluated["metrics"]["val_accuracy"].as_f64().unwrap();
    assert!((right / (VAL * CLASSES.len()) as f64 - accuracy).abs() < 1e-9);

    let report = std::fs::read_to_string(path_in(&evaluated, "run_dir").join("report.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["matrices"][0], *matrix);
    assert_eq!(report["metrics"], evaluated["metrics"]);
    assert!(
        report["curves"].as_array().unwrap().len() >= CLASSES.len(),
        "{report}"
    );
    let wrong = (VAL * CLASSES.len()) as f64 - right;
    let worst = report["worst"].as_array().map_or(0, Vec::len);
    assert!(worst as f64 >= wrong, "{worst} of {wrong} errors are listed");
}

#[test]
fn balanced_class_weights_come_from_the_training_data_in_eval_too() {
    let bench = Bench::new();
    let rows = CellSet::rows(&bench.set.train);
    let rows = rows
        .iter()
        .skip(TRAIN - 2)
        .map(|(file, class)| format!("{file},{class}\n"));
    let train = bench.annotations("train", &format!("image,label\n{}", rows.collect::<String>()));
    let balanced = "model.class_weights=balanced";
    let trained = bench.run(&[&train, balanced]).success().last_event();
    let last = path_in(&trained, "run_dir").join("checkpoints/last");
    let loss = |event: &Value| event["metrics"]["val_loss"].as_f64().unwrap();
    let evaluated = bench.eval(&last, &[&train, balanced]).success().last_event();
    let (then, now) = (loss(&trained), loss(&evaluated));
    assert!((then - now).abs() < 1e-6, "{then} in the run, {now} in eval");
    let plain = loss(&bench.eval(&last, &[&train]).success().last_event());
    assert!((plain - now).abs() > 1e-6, "the weights have no effect");
}

#[test]
fn a_checkpoint_can_be_evaluated_on_its_training_data() {
    let bench = Bench::new();
    let model = bench.trained(&["training.max_epochs=1"]);
    let evaluated = bench.eval(&model, &["--split", "train"]).success().last_event();
    assert!(evaluated["metrics"]["train_accuracy"].is_number(), "{evaluated}");
}

#[test]
fn mixup_and_cutmix_change_the_training_and_depend_on_the_seed_alone() {
    let bench = Bench::new();
    let plain = bench.run(&[]).success();
    let mixed = bench
        .run(&["model.mixup_alpha=0.4", "model.cutmix_alpha=1.0"])
        .success();
    let loss = |run: &Run| run.last_event()["metrics"]["train_loss"].as_f64().unwrap();
    assert!((loss(&plain) - loss(&mixed)).abs() > 1e-6, "mixing has no effect");
    assert!(!mixed.stderr.contains("no effect"), "{}", mixed.stderr);
    let again = bench
        .run(&["model.mixup_alpha=0.4", "model.cutmix_alpha=1.0"])
        .success();
    assert_eq!(
        loss(&mixed),
        loss(&again),
        "the seed doesn't determine the mixing"
    );
    let alone = bench
        .run(&[
            "model.mixup_alpha=0.4",
            "data.batch_size=1",
            "training.max_steps=1",
        ])
        .success();
    assert!(
        alone.stderr.contains("no effect with data.batch_size 1"),
        "{}",
        alone.stderr
    );
}

#[test]
fn the_threshold_limits_what_predict_prints() {
    let bench = Bench::new();
    let model = bench.trained(&["training.max_epochs=1"]);
    let image = CellSet::images(&bench.set.val).remove(0);
    let at = |threshold: &str| scores(&bench.predict(&model, threshold, &[&image]).success().last_event());
    let all = at("0");
    assert_eq!(all.len(), CLASSES.len());
    let middle = (all[0] + all[1]) / 2.0;
    assert_eq!(at(&middle.to_string()), all[..1]);
    assert!(at("1").len() <= 1);
}

#[test]
fn class_folders_and_a_table_of_the_same_images_train_the_same_model() {
    let bench = Bench::new();
    let table = |split: &Path| {
        let rows = CellSet::rows(split).into_iter();
        let rows = rows.map(|(file, class)| format!("\"{file}\",{class}\r\n"));
        format!("filename,label\r\n{}", rows.collect::<String>())
    };
    let train = bench.annotations("train", &table(&bench.set.train));
    let val = bench.annotations("val", &table(&bench.set.val));
    let folders = bench.run(&[]).success().last_event();
    let tables = bench.run(&[&train, &val]).success().last_event();
    assert_eq!(folders["metrics"], tables["metrics"]);
    // Evaluation gives the same metrics with either kind of annotation.
    let best = path_in(&tables, "run_dir").join("checkpoints/best");
    assert_eq!(
        bench.eval(&best, &[]).success().last_event()["metrics"],
        bench.eval(&best, &[&train, &val]).success().last_event()["metrics"]
    );
}

#[test]
fn a_small_model_learns_to_tell_textures_apart() {
    let bench = Bench::new();
    let last = bench
        .run(&["training.max_epochs=15", "training.save_top_k=1"])
        .success()
        .last_event();
    let accuracy = last["best"]["value"].as_f64().unwrap();
    assert!(accuracy >= 0.9, "{accuracy}");
}

#[test]
fn validation_data_without_one_of_the_classes_keep_the_class_indices_of_the_training() {
    let bench = Bench::new();
    std::fs::remove_dir_all(bench.set.val.join(CLASSES[0])).unwrap();
    let trained = bench.run(&["training.max_epochs=1"]).success();
    assert!(
        trained.stderr.contains("no image of 1 of the 3 classes: `flat`"),
        "{}",
        trained.stderr
    );
    let best = path_in(&trained.last_event(), "run_dir").join("checkpoints/best");
    // Without the training data, the checkpoint's own class indices are used.
    std::fs::remove_dir_all(&bench.set.train).unwrap();
    let evaluated = bench.eval(&best, &[]).success().last_event();
    assert_eq!(
        evaluated["metrics"]["val_accuracy"],
        trained.last_event()["best"]["value"]
    );
}

#[test]
fn the_batch_size_search_leaves_running_statistics_unchanged() {
    let bench = Bench::new();
    let weights = |batch_size: &str| {
        let batch_size = format!("data.batch_size={batch_size}");
        let run = bench.run(&[&batch_size, "training.deterministic=true"]).success();
        let last = path_in(&run.last_event(), "checkpoint_dir").join("last");
        (std::fs::read(last.join("model.safetensors")).unwrap(), run.stderr)
    };
    // A quarter of 24 images, rounded down to a power of two.
    let ((found, stderr), (given, _)) = (weights("auto"), weights("4"));
    assert!(stderr.contains("batch size 4"), "{stderr}");
    assert!(found == given);
}
