use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use super::*;

const MINIMAL: &str = "model:\n  model_name: some/model\n";

fn load_with(text: &str, overrides: &[&str], plugins: &[PluginSchema]) -> Result<Loaded> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("c.yaml");
    fs::write(&file, text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|s| (*s).to_owned()).collect();
    Config::load(&file, &overrides, plugins)
}

fn load(text: &str, overrides: &[&str]) -> Result<Loaded> {
    load_with(text, overrides, &[])
}

fn boxes() -> PluginSchema {
    let schema = json!({"properties": {
        "data": {"properties": {"box_policy": {"enum": ["error", "clip", "drop"], "default": "clip"}}},
        "model": {"properties": {"max_detections": {"type": "integer", "minimum": 1}}},
        "loggers": {"properties": {"lines": {"type": "object", "properties": {"every": {"type": "integer"}}}}},
    }});
    PluginSchema {
        plugin: "boxes".to_owned(),
        schema,
        defaults: serde_json::Value::Null,
    }
}

#[test]
fn a_file_of_fixed_keys_only_is_valid() {
    let text = "
model: {model_name: a/b, task_type: detection, num_classes: 2, class_names: [a, b], pretrained: true, image_size: 640,
  confidence_threshold: 0.5, iou_threshold: 0.5, max_detections: 100, learning_rate: 5e-5, weight_decay: 1e-4,
  scheduler: cosine, scheduler_params: {T_max: 50, eta_min: 1e-6}, epochs: 50, dropout: 0.1, mixup_alpha: 0.2,
  aux_loss_weight: 0.4, mask_threshold: 0.5, segmentation_type: semantic, model_kwargs: {dropout: 0.0, any: {thing: null}}}
data: {train_data_path: a, val_data_path: b, test_data_path: c, train_annotation_file: d, val_annotation_file: e,
  test_annotation_file: f, batch_size: 8, num_workers: 4, model_name: a/b, image_size: [480, 640],
  normalize_mean: [0.485, 0.456, 0.406], normalize_std: [0.229, 0.224, 0.225], augment: true, augmentations: {
    horizontal_flip: true, vertical_flip: 0.1, rotation: 10, brightness_contrast: 0.5, hue_saturation: 0.1,
    color_jitter: {brightness: 0.2, contrast: 0.2, saturation: 0.2, hue: 0.1}, random_crop: false, random_resize: [0.8, 1.2]}}
training: {max_epochs: 3, learning_rate: 1e-5, weight_decay: 0, scheduler: step, scheduler_params: {step_size: 3, gamma: 0.5},
  early_stopping_patience: 5, monitor_metric: val_map, monitor_mode: max, checkpoint_dir: x, volume_checkpoint_dir: y,
  save_top_k: 3, log_every_n_steps: 5, distributed: false, use_ray: false, num_workers: 1, use_gpu: true,
  resources_per_worker: {CPU: 2, GPU: 1}, master_port: 29500, preferred_strategy: ddp, preferred_devices: auto,
  precision: fp32, gradient_clip: 0.1, accumulate: 2, ema: false, warmup: 0.1, backbone_lr_scale: 0.1, freeze: ['*.norm*'],
  seed: 1, deterministic: true}
mlflow: {experiment_name: e, run_name: r, log_model: true, tags: {a: b, c: 1}}
output: {results_dir: runs, save_predictions: true, visualization: {save_images: true, confidence_threshold: 0.5,
  max_boxes: 20, max_images: 5}}
";
    let loaded = load(text, &[]).unwrap();
    let config = &loaded.config;
    assert_eq!(config.training.learning_rate, 1e-5);
    assert_eq!(config.training.max_epochs, 3);
    assert_eq!(config.training.scheduler, Scheduler::Step);
    assert_eq!(config.data.image_size.unwrap().height_width(), [480, 640]);
    assert_eq!(config.data.augmentations.horizontal_flip.value(), 0.5);
    assert_eq!(config.loggers["mlflow"]["run_name"], "r");
    assert_eq!(
        loaded.document["model"]["model_kwargs"],
        json!({"dropout": 0.0, "any": {"thing": null}})
    );
    assert!(
        loaded
            .warnings
            .iter()
            .any(|w| w.contains("`model.mask_threshold` has no effect")),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn a_minimal_file_gets_the_defaults_of_host_and_plugins() {
    let loaded = load_with(MINIMAL, &[], &[boxes()]).unwrap();
    let expected = Config {
        model: ModelConfig {
            model_name: "some/model".into(),
            ..ModelConfig::default()
        },
        ..Config::default()
    };
    assert_eq!(loaded.config, expected);
    assert_eq!(loaded.document["data"]["box_policy"], "clip");
    assert_eq!(loaded.document["training"]["gradient_clip"], 0.1);
    assert_eq!(loaded.document["data"]["augmentations"]["horizontal_flip"], 0.5);
    assert_eq!(loaded.origin("data.box_policy"), Some(Origin::Default));
}

#[test]
fn unspecified_augmentations_are_off() {
    let loaded = load(
        &format!("{MINIMAL}data:\n  augmentations: {{rotation: 5}}\n"),
        &[],
    )
    .unwrap();
    assert_eq!(loaded.config.data.augmentations.horizontal_flip.value(), 0.0);
    assert_eq!(loaded.config.data.augmentations.rotation, 5.0);
    assert_eq!(loaded.config.data.augmentations.min_area, 25.0);
    assert_eq!(loaded.config.data.augmentations.min_visibility, 0.1);
    assert_eq!(loaded.config.data.augmentations.mosaic.value(), 0.0);
}

#[test]
fn pairs_of_augmentations_are_ranges() {
    for key in [
        "multi_scale: [1.2, 0.8]",
        "random_resize: [1.2, 0.8]",
        "random_resize: [0.5, 480]",
    ] {
        let text = format!("{MINIMAL}data:\n  augmentations: {{{key}}}\n");
        let error = load(&text, &[]).unwrap_err();
        let name = key.split(':').next().unwrap();
        assert!(error.what.contains(name) && error.place.is_some(), "{error}");
    }
    let text =
        format!("{MINIMAL}data:\n  augmentations: {{multi_scale: [0.8, 1.25], random_resize: [480, 800]}}\n");
    let augmentations = load(&text, &[]).unwrap().config.data.augmentations;
    assert_eq!(augmentations.multi_scale, Some([0.8, 1.25]));
    assert_eq!(augmentations.random_resize, Some([480.0, 800.0]));
}

/// Puts `line` at a known location in a file and expects one problem there.
fn problem(section: &str, line: &str, column: usize, word: &str) -> Error {
    let text = format!("# a comment\nmodel:\n  model_name: x\n{section}:\n  {line}\n");
    let text = if section == "model" {
        format!("model:\n  model_name: x\n\n\n  {line}\n")
    } else {
        text
    };
    let error = load(&text, &[]).unwrap_err();
    let place = error
        .place
        .clone()
        .unwrap_or_else(|| panic!("no location: {error}"));
    assert_eq!((place.line, place.column), (5, column), "{error}");
    let pointed: String = place
        .text
        .chars()
        .skip(place.column - 1)
        .take(place.width)
        .collect();
    assert_eq!(pointed, word, "{error}");
    assert_eq!(error.kind, Kind::Usage);
    error
}

#[test]
fn misspelt_keys_are_reported_with_location_and_suggestion() {
    let error = problem("training", "learnig_rate: 1", 3, "learnig_rate");
    assert_eq!(
        error.help.as_deref(),
        Some("did you mean `training.learning_rate`?")
    );
    assert!(
        error
            .to_string()
            .contains("5 |   learnig_rate: 1\n  |   ^^^^^^^^^^^^"),
        "{error}"
    );
    let error = problem("training", "batch_size: 1", 3, "batch_size");
    assert_eq!(error.help.as_deref(), Some("there is a key `data.batch_size`"));
    problem("data", "augmentations: {flip: 1}", 19, "flip");
    let error = load(&format!("{MINIMAL}traning:\n  max_epochs: 1\n"), &[]).unwrap_err();
    assert_eq!(
        error.place.as_ref().map(|p| (p.line, p.column, p.width)),
        Some((3, 1, 7))
    );
    assert_eq!(error.help.as_deref(), Some("did you mean `training`?"));
}

#[test]
fn wrong_types_and_ranges_are_reported_with_the_expected_values() {
    let cases = [
        (
            "training",
            "max_epochs: ten",
            15,
            "ten",
            "an integer of at least 1",
        ),
        ("training", "max_epochs: 0", 15, "0", "an integer of at least 1"),
        (
            "training",
            "max_epochs: 1.5",
            15,
            "1.5",
            "an integer of at least 1",
        ),
        (
            "training",
            "max_epochs: 5000000000",
            15,
            "5000000000",
            "an integer of at least 1 and at most 4294967295",
        ),
        ("training", "seed: -1", 9, "-1", "an integer of at least 0"),
        (
            "training",
            "scheduler: cosin",
            14,
            "cosin",
            "one of constant, cosine, linear, step, multistep, polynomial, onecycle",
        ),
        ("training", "use_gpu: yes", 12, "yes", "true or false"),
        (
            "training",
            "precision: 16",
            14,
            "16",
            "one of fp32, auto, tf32, bf16, fp16",
        ),
        ("training", "freeze: [1]", 12, "1", "a string"),
        (
            "training",
            "learning_rate: '1e-4'",
            18,
            "'1e-4'",
            "a number of at least 0",
        ),
        (
            "data",
            "normalize_mean: [0.5]",
            19,
            "[",
            "a list of length 3, each item a number",
        ),
        (
            "data",
            "image_size: [0, 4]",
            16,
            "0",
            "an integer from 1 to 16384",
        ),
        (
            "data",
            "image_size: big",
            15,
            "big",
            "an integer from 1 to 16384 or a list of length 2, each item an integer from 1 to 16384",
        ),
        (
            "data",
            "augmentations: {vertical_flip: 1.5}",
            34,
            "1.5",
            "a number from 0 to 1",
        ),
        (
            "data",
            "augmentations: {vertical_flip: often}",
            34,
            "often",
            "true or false or a number from 0 to 1",
        ),
        ("model", "class_names: a", 16, "a", "a list, each item a string"),
    ];
    for (section, line, column, word, expected) in cases {
        let error = problem(section, line, column, word);
        assert_eq!(error.expected.as_deref(), Some(expected), "{line}");
    }
}

#[test]
fn common_mistakes_get_a_correction() {
    assert_eq!(
        problem("training", "use_gpu: no", 12, "no").help.as_deref(),
        Some("write `false`")
    );
    assert_eq!(
        problem("training", "max_epochs: 1e1", 15, "1e1").help.as_deref(),
        Some("write `10`")
    );
    assert_eq!(
        problem("training", "scheduler: Cosine", 14, "Cosine")
            .help
            .as_deref(),
        Some("did you mean `cosine`?")
    );
    let help = problem("training", "learning_rate: '1'", 18, "'1'").help.unwrap();
    assert!(help.contains("without quotes"), "{help}");
}

#[test]
fn unsupported_features_are_refused() {
    for line in [
        "use_ray: true",
        "distributed: true",
        "num_workers: 2",
        "preferred_devices: [0, 1]",
    ] {
        let key = line.split(':').next().unwrap();
        problem("training", line, 3, key);
    }
}

#[test]
fn parameters_of_another_optimizer_are_refused() {
    problem("training", "optimizer_params: {momentum: 0.9}", 22, "momentum");
    problem("training", "unfreeze_at_epoch: 3", 3, "unfreeze_at_epoch");
    let fine =
        format!("{MINIMAL}training: {{optimizer: sgd, optimizer_params: {{momentum: 0.8}}, ema: 0.99}}\n");
    let config = load(&fine, &[]).unwrap().config;
    assert_eq!(config.training.ema.numbers().unwrap().decay, 0.99);
}

#[test]
fn class_count_and_names_must_agree() {
    let error = load(
        &format!("{MINIMAL}  num_classes: 3\n  class_names: [a, b]\n"),
        &[],
    )
    .unwrap_err();
    assert_eq!(error.place.unwrap().line, 3);
}

#[test]
fn all_problems_are_in_one_report() {
    let error = load(
        "model:\n  model_nam: x\n  epochs: no\ndata:\n  batch_size: 0\nfoo: 1\n",
        &[],
    )
    .unwrap_err();
    // The misspelt key, the missing one, and three more.
    assert_eq!(error.details.len(), 5, "{error}");
    assert!(error.to_string().contains("c.yaml:5:15"), "{error}");
}

#[test]
fn a_batch_size_is_a_number_or_auto() {
    let batch_size = |text: &str| {
        let loaded = load(&format!("{MINIMAL}data:\n  batch_size: {text}\n"), &[]);
        loaded.map(|l| l.config.data.batch_size)
    };
    assert_eq!(batch_size("auto").unwrap().number(), None);
    assert_eq!(batch_size("7").unwrap().number(), Some(7));
    for wrong in ["big", "2.5", "[2]", "true"] {
        let error = batch_size(wrong).unwrap_err();
        let expected = error.expected.as_deref();
        assert_eq!(
            expected,
            Some("an integer from 1 to 65536 or auto"),
            "{wrong}: {error}"
        );
        assert_eq!(error.place.unwrap().line, 4, "{wrong}");
    }
    for wrong in ["0", "-1", "100000"] {
        let error = batch_size(wrong).unwrap_err();
        assert_eq!(error.expected.as_deref(), Some("an integer from 1 to 65536"));
    }
    let help = batch_size("outo").unwrap_err().help;
    assert_eq!(help.as_deref(), Some("did you mean `auto`?"));
}

#[test]
fn a_decided_value_replaces_auto_everywhere() {
    let mut loaded = load(&format!("{MINIMAL}data:\n  batch_size: auto\n"), &[]).unwrap();
    assert!(loaded.to_yaml().contains("batch_size: auto"));
    loaded.decide("data.batch_size", &json!(16)).unwrap();
    assert_eq!(loaded.config.data.batch_size.number(), Some(16));
    assert_eq!(loaded.document["data"]["batch_size"], 16);
    assert!(loaded.to_yaml().contains("batch_size: 16"));
    assert!(loaded.decide("data.batch_size", &json!("many")).is_err());
    assert!(loaded.decide("data.no_such_key", &json!(1)).is_err());
    assert_eq!(loaded.document["data"]["batch_size"], 16);
}

#[test]
fn duplicate_keys_are_refused() {
    let error = load("model:\n  model_name: x\n  model_name: y\n", &[]).unwrap_err();
    assert_eq!(error.place.unwrap().line, 3);
}

#[test]
fn a_missing_model_is_reported() {
    let error = load("", &[]).unwrap_err();
    assert!(error.to_string().contains("`model` is missing"), "{error}");
    let error = load("model:\n  task_type: detection\n", &[]).unwrap_err();
    assert_eq!(error.place.as_ref().unwrap().line, 1);
    assert!(
        error.to_string().contains("`model.model_name` is missing"),
        "{error}"
    );
    assert!(load("- a\n- b\n", &[]).is_err());
}

#[test]
fn overrides_are_yaml_and_win() {
    let loaded = load(
        MINIMAL,
        &[
            "training.max_epochs=3",
            "data.image_size=[480, 640]",
            "model.model_name=a/b",
        ],
    )
    .unwrap();
    assert_eq!(loaded.config.training.max_epochs, 3);
    assert_eq!(loaded.config.data.image_size.unwrap().height_width(), [480, 640]);
    assert_eq!(loaded.config.model.model_name, "a/b");
    assert_eq!(
        loaded.origin("training.max_epochs"),
        Some(Origin::Override("training.max_epochs=3".into()))
    );
}

#[test]
fn an_override_of_an_unknown_path_lists_the_siblings() {
    let error = load(MINIMAL, &["training.max_epoch=3"]).unwrap_err();
    assert_eq!(error.help.as_deref(), Some("did you mean `training.max_epochs`?"));
    assert!(
        error.expected.as_ref().unwrap().contains("gradient_clip"),
        "{error}"
    );
    let error = load(MINIMAL, &["lr=3"]).unwrap_err();
    assert!(error.expected.unwrap().contains("training"));
    for nonsense in [
        "training",
        "=3",
        "a..b=3",
        "data.image_size[0]=3",
        "model.model_name.x=3",
        "data.batch_size=[1",
        "=",
        "",
    ] {
        assert_eq!(
            load(MINIMAL, &[nonsense]).unwrap_err().kind,
            Kind::Usage,
            "{nonsense}"
        );
    }
}

#[test]
fn a_wrong_override_points_into_the_command_line() {
    let error = load(MINIMAL, &["data.augment=true", "training.max_epochs=x"]).unwrap_err();
    let place = error.place.unwrap();
    assert_eq!(
        (place.file.as_str(), place.line, place.column),
        ("command line", 2, 21)
    );
}

#[test]
fn training_wins_over_model_except_against_the_command_line() {
    let text = "model: {model_name: x, learning_rate: 1, epochs: 7}\ntraining: {learning_rate: 2}\n";
    let loaded = load(text, &[]).unwrap();
    assert_eq!(loaded.config.training.learning_rate, 2.0);
    assert_eq!(loaded.config.training.max_epochs, 7);
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    let loaded = load(text, &["model.learning_rate=3"]).unwrap();
    assert_eq!(loaded.config.training.learning_rate, 3.0);
}

#[test]
fn plugin_keys_are_checked_like_the_hosts() {
    let text = format!("{MINIMAL}data:\n  box_policy: crop\n");
    let error = load_with(&text, &[], &[boxes()]).unwrap_err();
    assert_eq!(error.expected.as_deref(), Some("one of error, clip, drop"));
    assert!(load(&text, &[]).is_err(), "unknown without the plugin");
    let text = format!("{MINIMAL}  max_detections: 0\n");
    assert!(load_with(&text, &[], &[boxes()]).is_err());
    let warnings = load(&text, &[]).unwrap().warnings;
    assert!(
        warnings[0].contains("c.yaml:3: `model.max_detections` has no effect"),
        "{warnings:?}"
    );
    assert!(
        load_with(
            &format!("{MINIMAL}loggers:\n  lines: {{evry: 1}}\n"),
            &[],
            &[boxes()]
        )
        .is_err()
    );
    assert!(load_with(&format!("{MINIMAL}loggers:\n  lines:\n"), &[], &[boxes()]).is_ok());
}

#[test]
fn null_turns_clipping_off_and_empty_sections_are_defaults() {
    let loaded = load(
        &format!("{MINIMAL}training:\n  gradient_clip: null\noutput:\nloggers:\n"),
        &[],
    )
    .unwrap();
    assert_eq!(loaded.config.training.gradient_clip, None);
    assert_eq!(loaded.config.output, OutputConfig::default());
}

#[test]
fn loggers_are_switched_by_a_boolean() {
    let text = format!("{MINIMAL}loggers:\n  lines: true\n  other: false\nmlflow: false\n");
    let loaded = load_with(&text, &[], &[boxes()]).unwrap();
    assert_eq!(
        loaded.document["loggers"],
        json!({"lines": {}, "mlflow": false, "other": false})
    );
    assert!(load_with(&format!("{MINIMAL}loggers:\n  lines: 3\n"), &[], &[boxes()]).is_err());
}

#[test]
fn paths_are_found_beside_the_file() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("images-of-this-test")).unwrap();
    let file = folder.path().join("c.yaml");
    fs::write(
        &file,
        format!("{MINIMAL}data:\n  train_data_path: images-of-this-test\n  val_data_path: nowhere\n"),
    )
    .unwrap();
    let loaded = Config::load(&file, &[], &[]).unwrap();
    assert_eq!(
        loaded.config.data.train_data_path,
        Some(folder.path().join("images-of-this-test"))
    );
    assert_eq!(loaded.config.data.val_data_path, Some("nowhere".into()));
}

#[test]
fn the_shown_file_has_the_origins_of_values_and_loads_again() {
    let text = format!("{MINIMAL}  learning_rate: 1e-5\nloggers:\n  x: {{api_key: hush}}\n");
    let loaded = load(&text, &["training.seed=7"]).unwrap();
    let shown = loaded.to_commented_yaml();
    let line = |key: &str| {
        shown
            .lines()
            .find(|l| l.trim_start().starts_with(key))
            .unwrap()
            .to_owned()
    };
    assert!(line("learning_rate: ").ends_with("c.yaml:3"), "{shown}");
    assert!(line("seed: 7").ends_with("# command line"), "{shown}");
    assert!(line("batch_size: 4").ends_with("# default"), "{shown}");
    assert!(!shown.contains("hush"));
    let again = load(&loaded.to_yaml(), &[]).unwrap();
    assert_eq!(again.config.training, loaded.config.training);
    assert_eq!(again.config.data, loaded.config.data);
}

#[test]
fn a_later_stage_can_point_at_a_line() {
    let loaded = load(&format!("{MINIMAL}  num_classes: 3\n"), &[]).unwrap();
    let error = loaded.error_at("model.num_classes", "the data has 4 classes");
    assert_eq!(error.place.unwrap().line, 3);
    assert!(loaded.error_at("training.seed", "x").place.is_none());
}

#[test]
fn a_file_of_100_mb_is_refused_in_100_ms() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("big.yaml");
    fs::File::create(&file).unwrap().set_len(100 << 20).unwrap();
    let start = Instant::now();
    assert!(Config::load(&file, &[], &[]).is_err());
    assert!(start.elapsed() < Duration::from_millis(100));
}

#[test]
fn invalid_files_are_errors() {
    let folder = TempDir::new().unwrap();
    assert!(Config::load(folder.path(), &[], &[]).is_err());
    assert!(Config::load(&folder.path().join("none.yaml"), &[], &[]).is_err());
    let file = folder.path().join("latin1.yaml");
    fs::write(&file, b"a: 1\nb: \xff\n").unwrap();
    assert!(
        Config::load(&file, &[], &[])
            .unwrap_err()
            .to_string()
            .contains(":2:")
    );
    fs::write(&file, b"\0\0\0").unwrap();
    assert!(Config::load(&file, &[], &[]).is_err());
}

#[test]
fn keys_without_effect_are_reported() {
    let text = format!(
        "{MINIMAL}training:\n  max_epochs: 5\n  scheduler: multistep\n  scheduler_params: \
         {{milestones: [5, 8]}}\n"
    );
    let none: [&str; 0] = [];
    let reported = |overrides: &[&str]| {
        let warnings = load(&text, overrides).unwrap().warnings;
        let keys = warnings.iter().filter_map(|line| line.split('`').nth(1));
        keys.map(str::to_owned).collect::<Vec<_>>()
    };
    let milestones = "training.scheduler_params.milestones";
    assert_eq!(reported(&[]), [milestones]);
    assert_eq!(reported(&["training.max_epochs=8"]), none);
    let overrides = [
        "training.max_epochs=9",
        "data.repeat_threshold=0.1",
        "data.split_seed=1",
        "data.augment=false",
        "data.augmentations.rotation=5",
        "output.visualization.max_boxes=3",
    ];
    let mut keys = reported(&overrides);
    keys.sort();
    let expected = [
        "data.augmentations",
        "data.repeat_threshold",
        "data.split_seed",
        "output.visualization.max_boxes",
    ];
    assert_eq!(keys, expected);
    let active = [
        "training.max_epochs=9",
        "data.repeat_threshold=0.1",
        "data.sampling=repeat_factor",
    ];
    assert_eq!(reported(&active), none);
}

#[test]
fn keys_of_another_schedule_have_no_effect() {
    let text = format!(
        "{MINIMAL}training:\n  max_epochs: 5\n  scheduler: step\n  scheduler_params: {{T_max: 3, \
         gamma: 0.2}}\n  freeze: [a.*]\n  unfreeze_at_epoch: 5\n"
    );
    let warnings = load(&text, &[]).unwrap().warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].contains(
            "c.yaml:6: `training.scheduler_params.T_max` has no effect: the schedule is `step`; cosine"
        ),
        "{warnings:?}"
    );
    assert!(
        warnings[1]
            .contains("c.yaml:8: `training.unfreeze_at_epoch` has no effect: training ends after 5 epochs"),
        "{warnings:?}"
    );
    let fits = [
        "training.scheduler=cosine",
        "training.scheduler_params={T_max: 3}",
        "training.max_epochs=6",
    ];
    assert_eq!(load(&text, &fits).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn contradictory_optimizer_settings_are_refused() {
    for (setting, word) in [
        ("training.ema=1", "ema"),
        ("training.ema={decay: 1}", "decay"),
        ("training.scheduler_params={milestones: [0, 3]}", "milestones"),
        ("training.freeze=[a]", "unfreeze_at_epoch"),
        (
            "training.optimizer_params={momentum: 0, nesterov: true}",
            "nesterov",
        ),
        ("training.optimizer_params={beta1: 0.9}", "beta1"),
    ] {
        let more = ["training.optimizer=sgd", "training.unfreeze_at_epoch=0"];
        let used = if word == "unfreeze_at_epoch" {
            &more[..]
        } else {
            &more[..1]
        };
        let error = load(MINIMAL, &[&[setting], used].concat()).unwrap_err();
        assert!(error.to_string().contains(word), "{setting}: {error}");
    }
}

#[test]
fn a_stray_number_gets_help_about_option_values() {
    let help = load(MINIMAL, &["50"]).unwrap_err().help.unwrap();
    assert!(help.contains("--option=50"), "{help}");
    assert_eq!(load(MINIMAL, &["fifty"]).unwrap_err().help, None);
}
