//! A configuration with exactly those keys that have a fixed meaning under any plugin.

use std::path::Path;

/// The task-specific parts of the configuration.
pub struct FixedKeys<'a> {
    pub task: &'a str,
    pub model: &'a Path,
    pub images: &'a Path,
    pub annotations: &'a Path,
    pub classes: &'a [&'a str],
    /// `[height, width]`.
    pub image_size: [u32; 2],
    pub monitor_metric: &'a str,
    /// Whether the task's targets can be mixed (mixup, CutMix); if not, a warning is expected.
    pub mixes: bool,
    /// Name of the predictions file.
    pub predictions: &'a str,
}

impl FixedKeys<'_> {
    /// The configuration file's text; runs write everything below `folder`.
    pub fn yaml(&self, folder: &Path) -> String {
        let Self {
            task, monitor_metric, ..
        } = self;
        let (model, images, annotations) = (
            self.model.display(),
            self.images.display(),
            self.annotations.display(),
        );
        let (count, names, folder) = (self.classes.len(), self.classes.join(", "), folder.display());
        let [height, width] = self.image_size;
        format!(
            "model:
  model_name: {model}
  task_type: {task}
  num_classes: {count}
  class_names: [{names}]
  pretrained: true
  image_size: [{height}, {width}]
  confidence_threshold: 0.3
  iou_threshold: 0.5
  max_detections: 50
  learning_rate: 5.0e-5
  weight_decay: 1.0e-4
  scheduler: cosine
  scheduler_params: {{T_max: 50, eta_min: 1.0e-6}}
  epochs: 3
  dropout: 0.1
  mixup_alpha: 0.2
  aux_loss_weight: 0.4
  mask_threshold: 0.5
  segmentation_type: semantic
  model_kwargs: {{}}
data:
  train_data_path: {images}
  val_data_path: {images}
  test_data_path: {images}
  train_annotation_file: {annotations}
  val_annotation_file: {annotations}
  test_annotation_file: {annotations}
  batch_size: 2
  num_workers: 1
  model_name: {model}
  image_size: [{height}, {width}]
  normalize_mean: [0.485, 0.456, 0.406]
  normalize_std: [0.229, 0.224, 0.225]
  augment: true
  augmentations:
    horizontal_flip: true
    vertical_flip: false
    rotation: 10
    brightness_contrast: true
    hue_saturation: 0.1
    color_jitter: {{brightness: 0.2, contrast: 0.2, saturation: 0.2, hue: 0.1}}
    random_crop: 0.2
    random_resize: [0.9, 1.1]
training:
  max_epochs: 1
  learning_rate: 1.0e-4
  weight_decay: 1.0e-4
  scheduler: cosine
  scheduler_params: {{T_max: 4, eta_min: 1.0e-6}}
  early_stopping_patience: 5
  monitor_metric: {monitor_metric}
  monitor_mode: max
  checkpoint_dir: {folder}/checkpoints
  volume_checkpoint_dir: {folder}/volume
  save_top_k: 1
  log_every_n_steps: 1
  distributed: false
  use_ray: false
  num_workers: 1
  use_gpu: true
  resources_per_worker: {{CPU: 2, GPU: 1}}
  master_port: 29500
  preferred_strategy: auto
  preferred_devices: auto
mlflow:
  experiment_name: /Shared/cells
  run_name: first
  log_model: true
  tags: {{team: cells}}
output:
  results_dir: {folder}/runs
  save_predictions: true
  visualization: {{save_images: true, confidence_threshold: 0.1, max_boxes: 5, max_images: 2}}
"
        )
    }
}

/// Runs `config check` and `run` with such a file, and checks that predictions, drawn images and
/// both copies of the checkpoint exist.
pub fn check_and_run(keys: &FixedKeys<'_>) {
    use crate::programs::{Run, cvhost};
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yaml");
    std::fs::write(&config, keys.yaml(folder.path())).unwrap();
    let cvhost = |arguments: &[&str]| {
        let mut command = cvhost();
        Run::of(
            command
                .args(["--json", "--device", "cpu"])
                .args(arguments)
                .arg("--config")
                .arg(&config),
        )
    };
    cvhost(&["config", "check"]).success();
    let run = cvhost(&["run", "--plugin", keys.task]).success();
    let finished = run.last_event();
    assert_eq!(finished["status"], "ok", "{finished}");
    assert!(finished["metrics"][keys.monitor_metric].is_number(), "{finished}");
    let folder_of = |key: &str| Path::new(finished[key].as_str().unwrap()).to_owned();
    assert!(folder_of("checkpoint_dir").starts_with(folder.path().join("checkpoints")));
    assert!(std::fs::read_dir(folder.path().join("volume")).unwrap().count() > 0);
    let drawn = std::fs::read_dir(folder_of("run_dir").join("pictures")).unwrap();
    assert_eq!(drawn.count(), 2);
    assert!(folder_of("run_dir").join(keys.predictions).is_file());
    assert_eq!(
        run.stderr.contains("`model.cutmix_alpha` have no effect"),
        !keys.mixes,
        "{}",
        run.stderr
    );
}
