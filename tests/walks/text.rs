//! Text recognition: text targets, inputs as wide as their line, varying numbers of tokens, a
//! metric where lower is better.

use cvhost_plugin_api::data::{Array, Fields, Record, Role};
use cvhost_tests::events::path_in;
use cvhost_tests::walks::{Task, Walk, image, record};

fn text(record: &Record) -> String {
    record
        .fields
        .require("text")
        .unwrap()
        .as_text()
        .unwrap()
        .to_owned()
}

/// A prediction.
fn read(text: &str) -> Fields {
    let score = Array::vector(&[0.5f32]);
    Fields::new()
        .with("text", Role::TEXT, Array::text(text))
        .with("score", Role::OPAQUE, score)
}

#[test]
fn text_trains_on_lines_of_any_width_without_mirroring_them() {
    let walk = Walk::new(
        "walk-text",
        "pictures: 400, batch_size: 8",
        "max_epochs: 10, learning_rate: 0.01, scheduler_params: {eta_min: 0.002}, monitor_metric: val_cer",
    );
    // These values aren't in the file: they are defaults of the task's schema.
    let config = walk.setup.config.to_str().unwrap().to_owned();
    let shown = walk
        .setup
        .cvhost(&["config", "show", "--config", &config])
        .success()
        .last_event();
    assert_eq!(shown["config"]["data"]["augment"], true, "{shown}");
    assert_eq!(
        shown["config"]["data"]["augmentations"]["horizontal_flip"], 0,
        "{shown}"
    );
    let trained = walk.train(6, 0.5);
    assert!(trained.metric("val_cer") < 0.2, "{}", trained.event);
    assert!(trained.metric("val_exact_match") > 0.5, "{}", trained.event);
    assert!(trained.event["best"]["value"].as_f64().unwrap() <= trained.metric("val_cer"));
    walk.check_eval(&trained);

    let data = walk.task.open(400);
    let mut right = 0;
    for index in 0..5 {
        let record = record(&data, index);
        let prediction = walk.predict(&trained, image(&record), &[]);
        let found = &prediction["predictions"][0];
        right += u32::from(found["text"] == text(&record).as_str());
        let score = found["score"].as_f64().unwrap();
        assert!((0.5..=1.0).contains(&score), "{prediction}");
        let drawn = image::open(path_in(&prediction, "drawn")).unwrap();
        assert!(drawn.width() >= 3 * image(&record).width, "{prediction}");
    }
    assert!(right >= 2, "{right} of 5 texts");
    // No prediction is that certain.
    let unsure = walk.predict(&trained, image(&record(&data, 0)), &["--threshold", "1"]);
    assert_eq!(
        unsure["predictions"].as_array().map(Vec::len),
        Some(0),
        "{unsure}"
    );
}

#[test]
fn the_character_error_rate_counts_edits_over_all_characters() {
    let task = Task::load("walk-text");
    let data = task.open(64);
    let report = task.report(&data, |record| read(&text(record)));
    assert_eq!(
        (report.get("cer"), report.get("exact_match")),
        (Some(0.0), Some(1.0))
    );
    let report = task.report(&data, |_| read(""));
    assert_eq!(
        (report.get("cer"), report.get("exact_match")),
        (Some(1.0), Some(0.0))
    );
    // One character added to each text, one removed, one changed: one edit each.
    let characters: usize = (0..data.len().into_result().unwrap())
        .map(|i| text(&record(&data, i)).chars().count())
        .sum();
    let expected = data.len().into_result().unwrap() as f64 / characters as f64;
    let edits: [fn(&str) -> String; 3] = [
        |t| format!("{t}?"),
        |t| t.chars().skip(1).collect(),
        |t| format!("?{}", t.chars().skip(1).collect::<String>()),
    ];
    for edit in edits {
        let report = task.report(&data, |record| read(&edit(&text(record))));
        assert_eq!(report.get("cer"), Some(expected));
    }
}

#[test]
fn text_evaluators_merge_bit_identically() {
    let task = Task::load("walk-text");
    task.check_merging(&task.open(40), |record| {
        read(&text(record).replace(['A', '7'], ""))
    });
}
