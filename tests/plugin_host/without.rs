//! The host itself knows no tasks or model families: it offers what the available plugin files
//! provide.

use cvhost_tests::programs::{Run, bare_programs, cvhost_in, plugins_in};
use cvhost_tests::{fixture, toy};
use serde_json::Value;
use std::path::Path;

const ALL: [&str; 7] = [
    "task_classification",
    "task_detection",
    "adapter_detr",
    "adapter_resnet",
    "adapter_vit",
    "adapter_yolos",
    "logger_jsonl",
];

/// Runs `cvhost --json` with the plugins in `plugins` and no others.
fn cvhost(folder: &Path, plugins: &Path, arguments: &[&str]) -> Run {
    let mut command = cvhost_in(&bare_programs_once(folder));
    Run::of(
        command
            .arg("--plugins-dir")
            .arg(plugins)
            .arg("--json")
            .args(arguments)
            .current_dir(folder),
    )
}

fn bare_programs_once(folder: &Path) -> std::path::PathBuf {
    let bin = folder.join("bin");
    if bin.exists() { bin } else { bare_programs(folder) }
}

/// The components that `plugin list` shows, as `kind name`.
fn listed(folder: &Path, plugins: &Path) -> Vec<String> {
    let events = cvhost(folder, plugins, &["plugin", "list"]).success().events();
    let components = events
        .iter()
        .flat_map(|e| e["components"].as_array().unwrap().clone());
    let text = |v: &Value| v.as_str().unwrap().to_owned();
    components
        .map(|c| format!("{} {}", text(&c["kind"]), text(&c["name"])))
        .collect()
}

/// Predicts on one image with the golden YOLOS checkpoint.
fn predict(folder: &Path, plugins: &Path) -> Run {
    let image = folder.join("a.png");
    image::RgbImage::from_pixel(64, 48, image::Rgb([90, 120, 30]))
        .save(&image)
        .unwrap();
    let (model, image) = (
        fixture("golden/yolos").display().to_string(),
        image.display().to_string(),
    );
    cvhost(
        folder,
        plugins,
        &[
            "predict",
            "--plugin",
            "detection",
            "--device",
            "cpu",
            "--model",
            &model,
            &image,
        ],
    )
}

#[test]
fn without_its_file_a_task_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = plugins_in(&folder.path().join("own"), &ALL);
    std::fs::copy(toy::plugin(), plugins.join("libtoy_plugin.so")).unwrap();
    assert!(listed(folder.path(), &plugins).contains(&"task detection".to_owned()));
    std::fs::remove_file(plugins.join("libcvhost_task_detection.so")).unwrap();
    assert!(!listed(folder.path(), &plugins).contains(&"task detection".to_owned()));
    let run = predict(folder.path(), &plugins);
    assert_eq!(run.code, 2, "{}", run.stderr);
    for words in ["there is no task `detection`", "halves"] {
        assert!(run.stderr.contains(words), "no `{words}` in: {}", run.stderr);
    }
}

#[test]
fn without_its_file_a_model_family_is_unknown() {
    let folder = tempfile::tempdir().unwrap();
    let plugins = plugins_in(&folder.path().join("own"), &ALL);
    predict(folder.path(), &plugins).success();
    std::fs::remove_file(plugins.join("libcvhost_adapter_yolos.so")).unwrap();
    assert!(!listed(folder.path(), &plugins).contains(&"adapter yolos".to_owned()));
    let run = predict(folder.path(), &plugins);
    assert_eq!(run.code, 4, "{}", run.stderr);
    for words in ["yolos", "detr"] {
        assert!(run.stderr.contains(words), "no `{words}` in: {}", run.stderr);
    }
    assert_eq!(run.last_event()["event"], "error");
}

#[test]
fn a_missing_adapter_cannot_be_chosen() {
    let toy = toy::Toy::new();
    let run = toy.train(&["model.adapter=rows"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    for words in ["`rows`", "columns"] {
        assert!(run.stderr.contains(words), "no `{words}` in: {}", run.stderr);
    }
}
