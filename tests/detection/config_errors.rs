//! Invalid configurations: each error says where it is and what to do, with exit code 2, before any
//! training.

use crate::bench::{Bench, refused};

#[test]
fn misspelt_mistyped_and_duplicate_keys_are_reported_with_their_line() {
    let bench = Bench::new("detr");
    let text = std::fs::read_to_string(&bench.config).unwrap();
    for (from, to, marked, words) in [
        (
            "batch_size: 2",
            "batch_sise: 2",
            "batch_sise",
            &["batch_sise", "batch_size"][..],
        ),
        (
            "batch_size: 2",
            "batch_size: many",
            "many",
            &["batch_size", "many"][..],
        ),
        ("seed: 3", "seed: 3\n  seed: 4", "seed: 4", &["seed"][..]),
    ] {
        std::fs::write(&bench.config, &text).unwrap();
        bench.edit(from, to);
        let line = format!("config.yaml:{}", bench.line_of(marked));
        let run = bench.run(&[]);
        refused(&run, 2, words);
        refused(&run, 2, &[&line]);
    }
}

#[test]
fn an_unknown_monitored_metric_is_reported_with_the_closest_name() {
    let bench = Bench::new("detr");
    refused(
        &bench.run(&["training.monitor_metric=val_mapp"]),
        2,
        &["val_mapp", "val_map"],
    );
}

#[test]
fn a_wrong_class_count_is_reported_with_its_line() {
    let bench = Bench::new("detr");
    bench.edit("task_type: detection", "task_type: detection\n  num_classes: 7");
    let line = format!("config.yaml:{}", bench.line_of("num_classes"));
    refused(&bench.run(&[]), 2, &["num_classes", "7", "4", &line]);
}
