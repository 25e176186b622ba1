//! Invalid data and configurations: one report with all errors.

use crate::bench::{Bench, refused};
use cvhost_tests::cells::CLASSES;

#[test]
fn a_wrong_class_count_is_reported_with_both_counts_and_the_classes() {
    let bench = Bench::new();
    let run = bench.run(&["model.num_classes=4"]);
    let words = [
        "model.num_classes",
        "is 4",
        "have 3: `flat`, `rows`, `stripes`",
        "model.num_classes: 3",
    ];
    refused(&run, 2, &words);
}

#[test]
fn all_problems_of_a_table_are_in_one_report_with_their_lines() {
    let bench = Bench::new();
    let train = bench.annotations(
        "train",
        "image,label\nflat/flat_0.png,flat\nflat/gone.png,flat\n../config.yaml,rows\nrows/rows_0.png,\nflat/flat_0.png,flat\n",
    );
    let words = [
        "4 problems in the train split",
        "train.csv",
        "line 3: ",
        "flat/gone.png does not exist",
        "line 4: \"../config.yaml\" has `..` in it",
        "line 5: rows/rows_0.png has no label",
        "line 6: flat/flat_0.png already occurs in line 2",
    ];
    refused(&bench.run(&[&train]), 3, &words);
}

#[test]
fn labels_missing_from_the_training_data_or_class_names_are_reported() {
    let bench = Bench::new();
    let val = bench.annotations(
        "val",
        "image,label\nflat/flat_8.png,flat\nrows/rows_8.png,lines\n",
    );
    refused(
        &bench.run(&[&val]),
        3,
        &[
            "line 3: class `lines` is not among the classes of the training data",
            "val.csv",
        ],
    );
    refused(
        &bench.run(&["model.class_names=[flat, rows]"]),
        3,
        &["folder `stripes`", "`model.class_names`: `flat`, `rows`"],
    );
}

#[test]
fn an_empty_split_is_refused_before_the_model_is_loaded() {
    let bench = Bench::new();
    for class in CLASSES {
        std::fs::remove_dir_all(bench.set.val.join(class)).unwrap();
    }
    // The model couldn't be built either: the data error comes first.
    std::fs::write(
        bench.path("resnet").join("config.json"),
        r#"{"model_type": "resnet", "depths": 3}"#,
    )
    .unwrap();
    let run = bench.run(&[]);
    refused(&run, 2, &["the val split has no images", "data.val_data_path"]);
    assert!(!run.stderr.contains("depths"), "{}", run.stderr);
}

#[test]
fn a_file_that_is_not_a_table_is_refused_with_the_supported_formats() {
    let bench = Bench::new();
    let file = bench.path("train.json");
    std::fs::write(&file, "{}").unwrap();
    let run = bench.run(&[&format!("data.train_annotation_file={}", file.display())]);
    refused(
        &run,
        2,
        &["data.train_annotation_file", "neither a .csv nor a .tsv file"],
    );
}
