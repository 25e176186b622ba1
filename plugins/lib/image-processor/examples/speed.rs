//! Measures the time in milliseconds to convert 8-bit RGB images of common sizes to model inputs on
//! one thread: the median of many runs.
//!
//!     cargo run -p cvhost-image-processor --example speed [WORDS OF THE CASES TO RUN]

use cvhost_image_processor::{Defaults, Processor};
use cvhost_plugin_api::data::{ArrayMut, Image};
use cvhost_plugin_api::error::Result;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Time spent on each case.
const SPENT: Duration = Duration::from_millis(1500);

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let plain = json!({"do_resize": false});
    let detr = json!({"size": {"shortest_edge": 800, "longest_edge": 1333}});
    let square = json!({"size": {"height": 224, "width": 224}});
    let deit = json!({"image_processor_type": "DeiTImageProcessor"});
    for (what, file, (width, height)) in [
        ("640x480, not resized", &plain, (640, 480)),
        ("640x480 to 1066x800", &detr, (640, 480)),
        ("2000x1500 to 1066x800", &detr, (2000, 1500)),
        ("4000x3000 to 1066x800", &detr, (4000, 3000)),
        ("640x480 to 224x224", &square, (640, 480)),
        (
            "640x480 to 256x256, bicubic, center crop 224x224",
            &deit,
            (640, 480),
        ),
    ] {
        if !wanted.iter().all(|word| what.contains(word)) {
            continue;
        }
        let mut family = Defaults::shortest_edge("DetrImageProcessor");
        family.whole_image = false;
        let processor = Processor::from_checkpoint(file, &Value::Null, &family)?;
        println!("{:8.3} ms  {what}", median(&processor, &image(width, height))?);
    }
    Ok(())
}

fn image(width: u32, height: u32) -> Image {
    let mut state = 1u32;
    let pixels: Vec<u8> = (0..width * height * 3)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    Image::rgb8(width, height, pixels)
}

fn median(processor: &Processor, image: &Image) -> Result<f64> {
    let dims = processor.shape(image.width, image.height)?.dims;
    let strides: Vec<u64> = (1..=dims.len()).map(|i| dims.iter().skip(i).product()).collect();
    let mut pixels = vec![0f32; dims.iter().product::<u64>() as usize];
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < SPENT {
        let slot = ArrayMut::new(&mut pixels, &dims, &strides)?;
        let begin = Instant::now();
        processor.write(image, slot)?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64) * 1e3)
}
