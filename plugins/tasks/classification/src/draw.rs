//! Draws the predicted classes into a corner of the image.

use crate::scores::{best_first, limited};
use cvhost_draw::{self as drawing, Lettering};
use cvhost_plugin_api::Result;
use cvhost_plugin_api::data::{Fields, Image, LabelSpec};
use image::RgbImage;
use image::imageops::{FilterType, resize};
use serde_json::Value;

/// Maximum number of classes that are drawn.
const MAX_CLASSES: u64 = 3;
/// An image whose shorter side has fewer pixels is enlarged, so that text on it is legible.
const MIN_SIDE: u32 = 160;
/// Maximum length of the longer side after enlarging.
const MAX_SIDE: u32 = 4096;
/// Class names are truncated to this length, regardless of the available space.
const MAX_LETTERS: usize = 48;

/// Draws names and scores of the best classes, one below the other, in the top left corner.
/// `options`: `confidence_threshold`, the minimum score, and `max_boxes`, the maximum number of
/// classes, but never more than three. Small images are first enlarged by an integer factor.
pub fn draw(prediction: &Fields, spec: &LabelSpec, canvas: &mut Image, options: &Value) -> Result<()> {
    let limit = options["max_boxes"]
        .as_u64()
        .map_or(MAX_CLASSES, |n| n.min(MAX_CLASSES));
    let threshold = options["confidence_threshold"].as_f64();
    let shown = limited(best_first(prediction, spec)?, threshold, Some(limit));

    let mut image = enlarged(drawing::take(canvas)?);
    let side = image.width().min(image.height()) as f32;
    let letters = Lettering::new((side / 20.0).clamp(12.0, 72.0))?;
    let mut top = 0;
    for (label, score) in shown {
        let text = fitting(&letters, &spec.name(label as i64), score, image.width() as i32);
        letters.draw_tag(&mut image, 0, top, &text, drawing::colour(label as i64));
        top += letters.tag_size(&text).1;
    }
    drawing::put_back(canvas, image);
    Ok(())
}

/// `name 0.87`, with the name truncated so that the tag is no wider than the image, but to at least
/// one letter.
fn fitting(letters: &Lettering, name: &str, score: f32, width: i32) -> String {
    let text = |length: usize| format!("{} {score:.2}", letters.name(name, length));
    let fits = |length: &usize| letters.tag_size(&text(*length)).0 <= width;
    let longest = name.chars().count().min(MAX_LETTERS);
    text((1..=longest).rev().find(fits).unwrap_or(1))
}

fn enlarged(image: RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    let (short, long) = (width.min(height), width.max(height));
    if short == 0 {
        return image;
    }
    let factor = MIN_SIDE.div_ceil(short).min(MAX_SIDE / long).max(1);
    match factor {
        1 => image,
        _ => resize(&image, width * factor, height * factor, FilterType::Nearest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::{Array, Role};
    use serde_json::json;

    fn fields(scores: &[f32]) -> Fields {
        Fields::new().with("class_scores", Role::DISTRIBUTION, Array::vector(scores))
    }

    fn spec(names: &[&str]) -> LabelSpec {
        LabelSpec {
            names: names.iter().map(|&n| n.into()).collect(),
            ..Default::default()
        }
    }

    /// The labels whose colours appear at the left edge, from the top.
    fn drawn(canvas: &Image) -> Vec<i64> {
        let mut labels = Vec::new();
        for y in 0..canvas.height {
            let label = (0..4).find(|&l| canvas.pixel(0, y) == Some(drawing::colour(l)));
            labels.extend(label.filter(|l| labels.last() != Some(l)));
        }
        labels
    }

    #[test]
    fn the_three_best_are_stacked_and_options_limit_them() {
        let spec = spec(&["a", "b", "c", "d"]);
        let with = |options: Value| {
            let mut canvas = Image::filled(300, 200, [90, 90, 90]);
            draw(&fields(&[0.1, 0.6, 0.05, 0.25]), &spec, &mut canvas, &options).unwrap();
            assert_eq!((canvas.width, canvas.height), (300, 200));
            assert_eq!(canvas.pixel(299, 199), Some([90, 90, 90]));
            drawn(&canvas)
        };
        assert_eq!(with(json!({})), [1, 3, 0]);
        assert_eq!(with(json!({"max_boxes": 300})), [1, 3, 0]);
        assert_eq!(with(json!({"max_boxes": 1})), [1]);
        assert_eq!(with(json!({"confidence_threshold": 0.2})), [1, 3]);
        assert!(with(json!({"confidence_threshold": 0.9})).is_empty());
    }

    #[test]
    fn a_tiny_image_is_enlarged_by_an_integer_factor_so_that_the_tag_fits() {
        let mut canvas = Image::filled(30, 31, [200, 10, 10]);
        canvas.set_pixel(29, 30, [1, 2, 3]);
        draw(
            &fields(&[0.99, 0.01]),
            &spec(&["Platelets", "b"]),
            &mut canvas,
            &json!({}),
        )
        .unwrap();
        assert_eq!((canvas.width, canvas.height), (180, 186));
        assert_eq!(canvas.pixel(179, 185), Some([1, 2, 3]));
        assert_eq!(canvas.pixel(174, 180), Some([1, 2, 3]));
        assert_eq!(canvas.pixel(179, 3), Some([200, 10, 10]), "the tag ends inside");
        let white = (0..180).flat_map(|x| (0..40).map(move |y| (x, y)));
        assert!(
            white
                .filter(|&(x, y)| canvas.pixel(x, y) == Some([255, 255, 255]))
                .count()
                > 40
        );
    }

    #[test]
    fn odd_images_and_names_do_not_panic() {
        let long = "細胞 ".repeat(50);
        for (width, height) in [(1, 1), (1, 5000), (3, 200), (0, 0), (0, 7), (2000, 10)] {
            let mut canvas = Image::filled(width, height, [1, 2, 3]);
            draw(
                &fields(&[0.5, f32::NAN]),
                &spec(&[&long, ""]),
                &mut canvas,
                &json!({}),
            )
            .unwrap();
            let pixels = canvas.width as usize * canvas.height as usize * 3;
            assert_eq!(canvas.pixels.len(), pixels);
        }
    }
}
