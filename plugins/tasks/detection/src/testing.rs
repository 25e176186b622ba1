//! An image folder and COCO documents for tests.

use crate::dataset::DetectionDataSet;
use cvhost_plugin_api::Result;
use cvhost_plugin_api::data::OpenArgs;
use serde_json::{Value, json};
use std::path::PathBuf;

/// A temporary folder with empty image files in `pictures/`.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn with(files: &[&str]) -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        for file in files {
            let path = folder.path(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join("pictures").join(file)
    }

    pub fn args(&self, config: Value) -> OpenArgs {
        OpenArgs {
            split: "val".to_owned(),
            images: self.path("").display().to_string(),
            annotations: self.0.path().join("instances.json").display().to_string(),
            config,
            checkpoint_classes: Vec::new(),
            ..OpenArgs::default()
        }
    }

    /// Writes the document and opens it as the split `val`.
    pub fn open(&self, document: &Value, config: Value) -> Result<DetectionDataSet> {
        let args = self.args(config);
        std::fs::write(&args.annotations, document.to_string()).unwrap();
        DetectionDataSet::open(&args)
    }
}

/// A COCO document of 100x100 images with the categories 5 and 9.
pub fn document(images: &[(i64, &str)], annotations: Vec<Value>) -> Value {
    let images: Vec<Value> = images
        .iter()
        .map(|(id, file_name)| json!({"id": id, "file_name": file_name, "width": 100, "height": 100}))
        .collect();
    json!({
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 9, "name": "nine"}, {"id": 5, "name": "five"}],
    })
}

pub fn annotation(id: i64, image_id: i64, category_id: i64, bbox: [f64; 4]) -> Value {
    json!({"id": id, "image_id": image_id, "category_id": category_id, "bbox": bbox, "iscrowd": 0})
}
