//! A small generated classification dataset: textures of three classes in various sizes, as class
//! folders and CSV files, plus tiny models without weights to train on it.

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The classes, sorted.
pub const CLASSES: [&str; 3] = ["flat", "rows", "stripes"];
/// Training images per class.
pub const TRAIN: usize = 8;
/// Validation images per class.
pub const VAL: usize = 4;

/// A generated dataset on disk.
pub struct CellSet {
    pub train: PathBuf,
    pub val: PathBuf,
}

impl CellSet {
    /// Writes `train/<class>/*.png` and `val/<class>/*.png` into `folder`.
    pub fn write(folder: &Path) -> CellSet {
        let set = CellSet {
            train: folder.join("train"),
            val: folder.join("val"),
        };
        for (root, first, count) in [(&set.train, 0, TRAIN), (&set.val, TRAIN, VAL)] {
            for (class, name) in CLASSES.iter().enumerate() {
                std::fs::create_dir_all(root.join(name)).unwrap();
                for index in first..first + count {
                    let file = root.join(name).join(format!("{name}_{index}.png"));
                    image(class, index).save(file).unwrap();
                }
            }
        }
        set
    }

    /// `(file, class)` for every image of a split; files are relative to the split's folder.
    pub fn rows(split: &Path) -> Vec<(String, &'static str)> {
        let of_class = |name: &'static str| {
            let mut files: Vec<String> = std::fs::read_dir(split.join(name))
                .unwrap()
                .map(|e| format!("{name}/{}", e.unwrap().file_name().to_str().unwrap()))
                .collect();
            files.sort();
            files.into_iter().map(move |file| (file, name))
        };
        CLASSES.into_iter().flat_map(of_class).collect()
    }

    /// The image files of a split, sorted.
    pub fn images(split: &Path) -> Vec<PathBuf> {
        CellSet::rows(split)
            .into_iter()
            .map(|(file, _)| split.join(file))
            .collect()
    }
}

/// A grey image, or one with horizontal or vertical stripes; size and phase vary with the index.
fn image(class: usize, index: usize) -> RgbImage {
    let (width, height) = (20 + (index * 7 % 13) as u32, 20 + (index * 5 % 11) as u32);
    RgbImage::from_fn(width, height, |x, y| {
        let at = [0, y, x][class] + index as u32;
        let light = class > 0 && (at / 4).is_multiple_of(2);
        let value = if light { 220 } else { 60 } + (index * 3) as u8;
        Rgb([value, value, 120])
    })
}

/// Writes a model folder without weights, for inputs of 32x32 pixels.
pub fn write_model(folder: &Path, family: &str) {
    let config: Value = match family {
        "resnet" => json!({
            "model_type": "resnet", "num_channels": 3, "embedding_size": 8, "hidden_sizes": [8, 16],
            "depths": [1, 1], "layer_type": "basic", "hidden_act": "relu", "downsample_in_first_stage": false,
        }),
        "vit" => json!({
            "model_type": "vit", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "intermediate_size": 32, "hidden_act": "gelu", "image_size": 32, "patch_size": 8, "num_channels": 3,
            "qkv_bias": true, "layer_norm_eps": 1e-12, "initializer_range": 0.02,
            "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
        }),
        other => panic!("unknown model family {other}"),
    };
    let preprocessor = json!({
        "image_processor_type": "ViTImageProcessor", "do_resize": true, "size": {"height": 32, "width": 32},
        "resample": 2, "do_rescale": true, "rescale_factor": 1.0 / 255.0, "do_normalize": true,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5],
    });
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("preprocessor_config.json"), preprocessor.to_string()).unwrap();
}
