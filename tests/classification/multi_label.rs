//! Images with several labels, or none.

use crate::bench::{Bench, of_event, path_in};
use cvhost_tests::cells::{CLASSES, CellSet};
use serde_json::Value;
use std::path::Path;

/// An annotation table with the texture as label, except for flat images; every other image also
/// has the label `odd`.
fn table(split: &Path) -> String {
    let mut text = "image,labels\n".to_owned();
    for (i, (file, class)) in CellSet::rows(split).into_iter().enumerate() {
        let labels = [
            (class != CLASSES[0]).then_some(class),
            (i % 2 == 1).then_some("odd"),
        ];
        let labels: Vec<&str> = labels.into_iter().flatten().collect();
        text += &format!("{file},{}\n", labels.join("|"));
    }
    text
}

#[test]
fn several_labels_in_a_cell_train_a_multi_label_model() {
    let bench = Bench::new();
    let train = bench.annotations("train", &table(&bench.set.train));
    let val = bench.annotations("val", &table(&bench.set.val));
    let last = bench.run(&[&train, &val]).success().last_event();
    let best = path_in(&last, "run_dir").join("checkpoints/best");
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(best.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(
        config["id2label"],
        serde_json::json!({"0": "odd", "1": "rows", "2": "stripes"})
    );

    let save = "output.save_predictions=true";
    let evaluated = bench.eval(&best, &[&train, &val, save]).success().last_event();
    assert_eq!(evaluated["metrics"]["val_accuracy"], last["best"]["value"]);
    let saved = std::fs::read_to_string(path_in(&evaluated, "run_dir").join("predictions.csv")).unwrap();
    assert!(
        saved.starts_with("image,labels,scores,true_labels\nflat/flat_10.png,"),
        "{saved}"
    );

    // Scores are independent of each other: they needn't sum to 1.
    let events = bench.predict(&best, "0", &[&bench.set.val]).success().events();
    let sums = of_event(&events, "prediction").into_iter().map(|line| {
        let predictions = line["predictions"].as_array().unwrap();
        assert_eq!(predictions.len(), 3);
        predictions
            .iter()
            .map(|p| p["score"].as_f64().unwrap())
            .sum::<f64>()
    });
    assert!(sums.into_iter().any(|sum| (sum - 1.0).abs() > 1e-3));
}
