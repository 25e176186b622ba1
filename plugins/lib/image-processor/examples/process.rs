//! Writes model inputs for images, for comparison with other implementations.
//!
//!     cargo run -p cvhost-image-processor --example process -- PREPROCESSOR_CONFIG FAMILY < LINES
//!
//! Each line holds, separated by tabs: width, height, an 8-bit RGB file `[height, width, 3]`, and
//! the output file; for a pose model also the box's x, y, width and height in pixels. The output is
//! float32 `[3, H, W]` in native endianness, without padding; H and W are printed.

use cvhost_image_processor::{Defaults, PoseProcessor, Processor};
use cvhost_plugin_api::data::{ArrayMut, Image, Region};
use serde_json::Value;
use std::error::Error;

const FAMILIES: &str = "conditional_detr, convnext, d_fine, deit, detr, dinov2, mask2former, maskformer, \
                        resnet, rt_detr, segformer, swin, upernet, vit, vitpose, yolos";

enum Rules {
    Whole(Processor),
    Box(PoseProcessor),
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, family] = arguments.as_slice() else {
        return Err(format!("expected a preprocessor_config.json and one of the families {FAMILIES}").into());
    };
    let file: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let rules = rules(&file, family)?;
    for (number, line) in std::io::stdin().lines().enumerate() {
        let (height, width) = process(&rules, &line?).map_err(|e| format!("line {}: {e}", number + 1))?;
        println!("{height} {width}");
    }
    Ok(())
}

fn rules(file: &Value, family: &str) -> Result<Rules, Box<dyn Error>> {
    let defaults = match family {
        "detr" => Defaults::shortest_edge("DetrImageProcessor"),
        "conditional_detr" => Defaults::shortest_edge("ConditionalDetrImageProcessor"),
        "yolos" => Defaults {
            multiple: 16,
            ..Defaults::shortest_edge("YolosImageProcessor")
        },
        "rt_detr" | "d_fine" => Defaults::rt_detr(),
        "vit" | "swin" => Defaults::vit(),
        "deit" => Defaults::deit(),
        "convnext" | "resnet" => Defaults::conv_next(),
        "dinov2" => Defaults::bit(),
        "segformer" | "upernet" => Defaults::segformer(),
        "mask2former" | "maskformer" => Defaults::mask2former(),
        "vitpose" => return Ok(Rules::Box(PoseProcessor::from_checkpoint(file, &Value::Null)?)),
        other => return Err(format!("family `{other}` is not one of {FAMILIES}").into()),
    };
    Ok(Rules::Whole(Processor::from_checkpoint(
        file,
        &Value::Null,
        &defaults,
    )?))
}

/// Returns the height and width of the output.
fn process(rules: &Rules, line: &str) -> Result<(u64, u64), Box<dyn Error>> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [width, height, source, target, corners @ ..] = fields.as_slice() else {
        return Err("expected width, height, image and output file, separated by tabs".into());
    };
    let image = Image::rgb8(width.parse()?, height.parse()?, std::fs::read(source)?);
    let shape = match rules {
        Rules::Whole(processor) => processor.shape(image.width, image.height)?,
        Rules::Box(processor) => processor.shape(),
    };
    let &[channels, height, width] = shape.dims.as_slice() else {
        return Err("the input has no height and width".into());
    };
    let mut values = vec![0f32; (channels * height * width) as usize];
    let out = ArrayMut::new(&mut values, &shape.dims, &[height * width, width, 1])?;
    match rules {
        Rules::Whole(processor) => processor.write(&image, out)?,
        Rules::Box(processor) => {
            let corners: Vec<f64> = corners.iter().map(|v| v.parse()).collect::<Result<_, _>>()?;
            let &[x, y, width, height] = corners.as_slice() else {
                return Err("expected a box's x, y, width and height".into());
            };
            let region = Region {
                x,
                y,
                width,
                height,
                angle: 0.0,
            };
            processor.write(&image, &region, out)?;
        }
    }
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
    std::fs::write(target, bytes)?;
    Ok((height, width))
}
