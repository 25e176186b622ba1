//! Draws predicted boxes with their class and score.

use crate::predictions::{self, Prediction};
use cvhost_draw::{self as drawing, Lettering, fill};
use cvhost_plugin_api::Result;
use cvhost_plugin_api::data::{Fields, Image, LabelSpec};
use image::RgbImage;
use serde_json::Value;

/// Class names are truncated to this length in a tag.
const MAX_LETTERS: usize = 32;

/// Draws the best predictions onto the image. `options`: `confidence_threshold`, the minimum score,
/// and `max_boxes`; a missing option means no limit.
pub fn draw(prediction: &Fields, spec: &LabelSpec, canvas: &mut Image, options: &Value) -> Result<()> {
    let threshold = options["confidence_threshold"]
        .as_f64()
        .unwrap_or(f64::NEG_INFINITY);
    let limit = options["max_boxes"]
        .as_u64()
        .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let mut shown = predictions::best_first(prediction)?;
    shown.retain(|p| f64::from(p.score) >= threshold);
    shown.truncate(limit);

    let mut image = drawing::take(canvas)?;
    let (width, height) = image.dimensions();
    let style = Style::for_image(width, height);
    let letters = Lettering::new(style.letter)?;
    // The best box is drawn last, on top; tags are drawn above all boxes.
    for p in shown.iter().rev() {
        draw_box(&mut image, p, &style);
    }
    for p in shown.iter().rev() {
        draw_tag(&mut image, p, spec, &letters);
    }
    drawing::put_back(canvas, image);
    Ok(())
}

/// Sizes in pixels, scaled with the image.
struct Style {
    line: i32,
    letter: f32,
}

impl Style {
    fn for_image(width: u32, height: u32) -> Self {
        let side = f64::from(width.min(height)).max(1.0);
        Style {
            line: ((side / 240.0).round() as i32).clamp(1, 16),
            letter: ((side / 32.0) as f32).clamp(10.0, 72.0),
        }
    }
}

/// The pixels that a box covers: first column and row, last column and row, clipped to the image.
/// `None` if it is entirely outside.
fn covered(p: &Prediction, image: &RgbImage) -> Option<[i32; 4]> {
    let [x1, y1, x2, y2] = p.xyxy;
    let (right, bottom) = (f64::from(image.width()), f64::from(image.height()));
    if x2 <= 0.0 || y2 <= 0.0 || x1 >= right || y1 >= bottom || x2 < x1 || y2 < y1 {
        return None; // also for images without pixels
    }
    let inside = |v: f64, side: f64| v.round().min(side - 1.0).max(0.0) as i32;
    Some([
        inside(x1, right),
        inside(y1, bottom),
        inside(x2 - 1.0, right),
        inside(y2 - 1.0, bottom),
    ])
}

fn draw_box(image: &mut RgbImage, p: &Prediction, style: &Style) {
    let Some([left, top, right, bottom]) = covered(p, image) else {
        return;
    };
    let (width, height, line) = (right - left + 1, bottom - top + 1, style.line);
    let colour = drawing::colour(p.label);
    let bars = [
        (left, top, width, line),
        (left, bottom - line + 1, width, line),
        (left, top, line, height),
        (right - line + 1, top, line, height),
    ];
    for (x, y, w, h) in bars {
        fill(image, x, y, w, h, colour);
    }
}

/// A label above the box's top left corner, or inside the box if there is no space above.
fn draw_tag(image: &mut RgbImage, p: &Prediction, spec: &LabelSpec, letters: &Lettering) {
    let Some([left, top, ..]) = covered(p, image) else {
        return;
    };
    let name = letters.name(&spec.name(p.label), MAX_LETTERS);
    let text = format!("{name} {:.2}", p.score);
    let (width, height) = letters.tag_size(&text);
    let x = left.min(image.width() as i32 - width).max(0);
    let y = if top >= height { top - height } else { top };
    letters.draw_tag(image, x, y, &text, drawing::colour(p.label));
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost_plugin_api::data::{Array, Role};
    use serde_json::json;

    fn fields(boxes: &[[f64; 4]], scores: &[f32]) -> Fields {
        let labels: Vec<i64> = (0..boxes.len() as i64).collect();
        Fields::new()
            .with("boxes", Role::BOXES, Array::rows(boxes))
            .with("class_labels", Role::COLUMN, Array::vector(&labels))
            .with("scores", Role::COLUMN, Array::vector(scores))
    }

    #[test]
    fn a_box_and_its_tag_have_the_class_colour_and_the_interior_is_unchanged() {
        let mut canvas = Image::filled(640, 480, [90, 90, 90]);
        let spec = LabelSpec {
            names: vec!["cell".into()].into(),
            ..Default::default()
        };
        draw(
            &fields(&[[100.0, 200.0, 300.0, 400.0]], &[0.9]),
            &spec,
            &mut canvas,
            &json!({}),
        )
        .unwrap();
        let colour = drawing::colour(0);
        assert_eq!(canvas.pixel(100, 300), Some(colour));
        assert_eq!(canvas.pixel(299, 300), Some(colour));
        assert_eq!(canvas.pixel(300, 300), Some([90, 90, 90]));
        assert_eq!(canvas.pixel(200, 399), Some(colour));
        assert_eq!(canvas.pixel(200, 300), Some([90, 90, 90]));
        assert_eq!(canvas.pixel(101, 195), Some(colour));
        // The tag contains letters.
        let white = (100..200).flat_map(|x| (180..200).map(move |y| (x, y)));
        assert!(
            white
                .filter(|&(x, y)| canvas.pixel(x, y) == Some([255, 255, 255]))
                .count()
                > 20
        );
    }

    #[test]
    fn threshold_and_max_boxes_limit_what_is_drawn() {
        let spec = LabelSpec::default();
        let boxes = [
            [10.0, 50.0, 30.0, 90.0],
            [110.0, 50.0, 130.0, 90.0],
            [210.0, 50.0, 230.0, 90.0],
        ];
        let drawn = |options: &Value| {
            let mut canvas = Image::filled(300, 100, [0, 0, 0]);
            draw(&fields(&boxes, &[0.2, 0.8, 0.5]), &spec, &mut canvas, options).unwrap();
            [10, 110, 210].map(|x| canvas.pixel(x, 70) != Some([0, 0, 0]))
        };
        assert_eq!(drawn(&json!({})), [true; 3]);
        assert_eq!(drawn(&json!({"confidence_threshold": 0.5})), [false, true, true]);
        assert_eq!(drawn(&json!({"max_boxes": 1})), [false, true, false]);
        assert_eq!(drawn(&json!({"max_boxes": 0})), [false; 3]);
    }

    #[test]
    fn odd_boxes_images_and_names_do_not_panic() {
        let boxes = [
            [-1e30, -1e30, 1e30, 1e30],
            [f64::NAN, 0.0, 1.0, 1.0],
            [5.0, 5.0, 5.0, 5.0],
            [9.0, 9.0, 1.0, 1.0],
            [500.0, 0.0, 600.0, 10.0],
            [f64::INFINITY, 0.0, 1.0, 1.0],
        ];
        let long = "細胞 ".repeat(50);
        let spec = LabelSpec {
            names: vec![long.as_str().into(); 6].into(),
            ..Default::default()
        };
        for (width, height) in [(1, 1), (3, 200), (40, 20), (0, 0), (2000, 10)] {
            let mut canvas = Image::filled(width, height, [1, 2, 3]);
            draw(&fields(&boxes, &[0.5; 6]), &spec, &mut canvas, &json!({})).unwrap();
            assert_eq!(canvas.pixels.len(), width as usize * height as usize * 3);
        }
        let mut broken = Image::rgb8(5, 5, vec![0; 3]);
        assert!(draw(&fields(&[], &[]), &spec, &mut broken, &json!({})).is_err());
    }
}
