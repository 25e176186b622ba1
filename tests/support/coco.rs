//! A small generated COCO dataset: coloured rectangles on images of various sizes, with quirks of
//! real annotation files (gaps in the category ids, an image without objects, a crowd).

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Category ids (with gaps) and names, in class-index order.
pub const CATEGORIES: [(i64, &str); 4] = [(3, "disc"), (7, "ring"), (9, "bar"), (12, "blob")];

/// Width and height of each image; the fourth has no objects.
pub const SIZES: [(u32, u32); 8] = [
    (96, 64),
    (64, 96),
    (120, 80),
    (72, 72),
    (112, 64),
    (80, 112),
    (64, 64),
    (100, 75),
];

/// The index of the image without objects.
pub const EMPTY: usize = 3;

/// A generated dataset on disk.
pub struct CocoSet {
    pub images: PathBuf,
    pub annotations: PathBuf,
}

impl CocoSet {
    /// Writes images and annotations into `folder`.
    pub fn write(folder: &Path) -> CocoSet {
        let images = folder.join("images");
        std::fs::create_dir_all(&images).unwrap();
        for (index, size) in SIZES.iter().enumerate() {
            draw(*size, &objects(index))
                .save(images.join(file_name(index)))
                .unwrap();
        }
        let annotations = folder.join("annotations.json");
        std::fs::write(&annotations, annotation_json().to_string()).unwrap();
        CocoSet { images, annotations }
    }

    /// The image files, in image-id order.
    pub fn images(&self) -> Vec<PathBuf> {
        (0..SIZES.len()).map(|i| self.images.join(file_name(i))).collect()
    }
}

/// The annotations in COCO format; tests modify them to introduce errors.
pub fn annotation_json() -> Value {
    let images: Vec<Value> = SIZES
        .iter()
        .enumerate()
        .map(|(i, (w, h))| json!({"id": image_id(i), "file_name": file_name(i), "width": w, "height": h}))
        .collect();
    let mut annotations = Vec::new();
    for index in 0..SIZES.len() {
        for (class, [x, y, w, h]) in objects(index) {
            let id = annotations.len() + 1;
            annotations.push(json!({
                "id": id,
                "image_id": image_id(index),
                "category_id": CATEGORIES[class].0,
                "bbox": [x, y, w, h],
                "area": w * h,
                "iscrowd": 0,
            }));
        }
    }
    // A crowd over half of the first image: not a training target, ignored by the metrics.
    annotations.push(json!({
        "id": annotations.len() + 1, "image_id": image_id(0), "category_id": CATEGORIES[2].0,
        "bbox": [48, 0, 48, 64], "area": 48 * 64, "iscrowd": 1,
    }));
    let categories: Vec<Value> = CATEGORIES
        .iter()
        .map(|(id, name)| json!({"id": id, "name": name, "supercategory": "shape"}))
        .collect();
    json!({"images": images, "annotations": annotations, "categories": categories})
}

fn image_id(index: usize) -> usize {
    100 + 7 * index
}

fn file_name(index: usize) -> String {
    format!("picture_{index}.png")
}

/// Class index and `x, y, width, height` in pixels for each object of an image.
fn objects(index: usize) -> Vec<(usize, [u32; 4])> {
    if index == EMPTY {
        return Vec::new();
    }
    let (width, height) = SIZES[index];
    let first = (index % 4, [4 + index as u32, 6, width / 3, height / 3]);
    let second = ((index + 1) % 4, [width / 2, height / 2, width / 4, height / 3]);
    vec![first, second]
}

fn draw((width, height): (u32, u32), objects: &[(usize, [u32; 4])]) -> RgbImage {
    const COLOURS: [[u8; 3]; 4] = [[220, 40, 40], [40, 200, 60], [50, 70, 230], [230, 210, 40]];
    // A gradient background: a flat one would hide a shifted resize.
    let mut image = RgbImage::from_fn(width, height, |x, y| Rgb([(x * 2) as u8, (y * 2) as u8, 90]));
    for (class, [x, y, w, h]) in objects {
        for (px, py) in (*y..y + h).flat_map(|py| (*x..x + w).map(move |px| (px, py))) {
            image.put_pixel(px, py, Rgb(COLOURS[*class]));
        }
    }
    image
}
