//! Tests of the classifiers' image processors: pixels and config files. The expected pixels are
//! those of transformers' PIL backend with Pillow 13.

use crate::{Defaults, Processor};
use cvhost_plugin_api::data::{ArrayMut, Image};
use serde_json::{Value, json};

/// A 23×17 (width × height) test image, or its transpose.
fn image(transposed: bool) -> Image {
    let value = |x: u32, y: u32, c: u32| ((x * 11 + y * 29 + c * 83 + (x * y) % 31 * 7) % 256) as u8;
    let (width, height) = if transposed { (17, 23) } else { (23, 17) };
    let pixels = (0..height * width * 3)
        .map(|i| {
            let (x, y, c) = (i / 3 % width, i / 3 / width, i % 3);
            if transposed {
                value(y, x, c)
            } else {
                value(x, y, c)
            }
        })
        .collect::<Vec<u8>>();
    Image::rgb8(width, height, pixels)
}

fn read(file: &Value, config: &Value) -> Processor {
    Processor::from_checkpoint(file, config, &Defaults::vit()).unwrap()
}

/// The input's height and width, and the checksum Σ (i mod 251 + 1) · value over its values in
/// row-major order.
fn checksum(file: &Value, transposed: bool) -> ([u64; 2], u64) {
    let mut file = file.clone();
    (file["do_rescale"], file["do_normalize"]) = (json!(false), json!(false));
    let (processor, image) = (read(&file, &Value::Null), image(transposed));
    let shape = processor.shape(image.width, image.height).unwrap();
    let dims = shape.dims.as_slice();
    let mut pixels = vec![-1f32; dims.iter().product::<u64>() as usize];
    let strides = [dims[1] * dims[2], dims[2], 1];
    processor
        .write(&image, ArrayMut::new(&mut pixels, dims, &strides).unwrap())
        .unwrap();
    let sum = pixels
        .iter()
        .enumerate()
        .map(|(i, &v)| (i as u64 % 251 + 1) * v as u64)
        .sum();
    ([dims[1], dims[2]], sum)
}

#[test]
fn resized_and_cropped_pixels_match_the_reference() {
    let deit = |[h, w]: [u32; 2], [ch, cw]: [u32; 2]| {
        json!({"image_processor_type": "DeiTImageProcessor", "size": {"height": h, "width": w},
            "crop_size": {"height": ch, "width": cw}})
    };
    let conv_next = |edge: u32, crop_pct: f64| json!({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": edge}, "crop_pct": crop_pct});
    let vit = json!({"image_processor_type": "ViTImageProcessor", "size": {"height": 12, "width": 20}});
    let shortest = json!({"image_processor_type": "ViTImageProcessor", "size": {"shortest_edge": 11},
        "do_center_crop": true, "crop_size": 11});
    for (file, transposed, expected) in [
        (vit, false, ([12, 20], 11150461)),
        (deit([16, 16], [11, 14]), false, ([11, 14], 6972003)),
        // A crop larger than the image is padded with black.
        (deit([9, 10], [12, 14]), false, ([12, 14], 4465324)),
        (deit([9, 20], [14, 11]), false, ([14, 11], 4643525)),
        (conv_next(14, 0.875), false, ([14, 14], 8579367)),
        (conv_next(14, 0.875), true, ([14, 14], 8778287)),
        (conv_next(13, 0.8), false, ([13, 13], 8118204)),
        (conv_next(384, 0.875), false, ([384, 384], 7124555923)),
        (shortest, false, ([11, 11], 4873284)),
    ] {
        assert_eq!(checksum(&file, transposed), expected, "{file}");
    }
}

#[test]
fn legacy_files_with_scalar_sizes_are_read() {
    let size = |file: Value| read(&file, &Value::Null).target_size(300, 200).unwrap();
    assert_eq!(
        size(json!({"feature_extractor_type": "ViTFeatureExtractor", "size": 96})),
        (96, 96)
    );
    assert_eq!(
        size(
            json!({"feature_extractor_type": "DeiTFeatureExtractor", "size": 256, "crop_size": 224,
            "do_center_crop": true})
        ),
        (224, 224)
    );
    let resnet =
        json!({"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875});
    assert_eq!(read(&resnet, &Value::Null).resized(300, 200).unwrap(), (384, 256));
    assert_eq!(size(resnet), (224, 224));
}

#[test]
fn saved_configs_round_trip() {
    for (file, config) in [
        (
            json!({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.9}),
            json!({}),
        ),
        (
            json!({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 224}, "crop_pct": 0.9}),
            json!({"data": {"image_size": [160, 120]}}),
        ),
        (
            json!({"image_processor_type": "DeiTImageProcessor"}),
            json!({"data": {"image_size": 112}}),
        ),
        (
            json!({"image_processor_type": "ViTImageProcessor", "size": 32}),
            json!({"data": {"normalize_mean": [0.1, 0.2, 0.3]}}),
        ),
    ] {
        let processor = read(&file, &config);
        let saved = processor.config_json();
        let again = read(&saved, &Value::Null);
        assert_eq!(again.config_json(), saved);
        for (width, height) in [(300, 200), (50, 400)] {
            assert_eq!(
                again.resized(width, height).unwrap(),
                processor.resized(width, height).unwrap(),
                "{saved}"
            );
        }
        assert_eq!(
            (again.crop(), again.mean, again.std),
            (processor.crop(), processor.mean, processor.std)
        );
    }
}

#[test]
fn user_size_sets_the_input_size_and_crops_keep_their_ratio() {
    let sizes = |file: Value, size: Value| {
        let p = read(&file, &json!({"data": {"image_size": size}}));
        (
            p.resized(300, 200).unwrap(),
            p.target_size(300, 200).unwrap(),
            p.config_json()["image_processor_type"].clone(),
        )
    };
    let conv_next = json!({"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.8});
    let deit = json!({"image_processor_type": "DeiTImageProcessor"});
    let shortest = json!({"image_processor_type": "ViTImageProcessor", "size": {"shortest_edge": 256},
        "do_center_crop": true, "crop_size": 224});
    assert_eq!(
        sizes(conv_next.clone(), json!(160)),
        ((300, 200), (160, 160), json!("ConvNextImageProcessor"))
    );
    assert_eq!(
        sizes(conv_next, json!([160, 96])),
        ((96, 160), (96, 160), json!("ViTImageProcessor"))
    );
    assert_eq!(
        sizes(deit.clone(), json!([112, 224])),
        ((256, 128), (224, 112), json!("DeiTImageProcessor"))
    );
    assert_eq!(
        sizes(shortest, json!(112)),
        ((192, 128), (112, 112), json!("ViTImageProcessor"))
    );
}

#[test]
fn unsupported_steps_are_errors_that_name_the_key() {
    let error = |file: Value, defaults: &Defaults| {
        Processor::from_checkpoint(&file, &Value::Null, defaults)
            .unwrap_err()
            .message
            .into_string()
    };
    let detector = Defaults::shortest_edge("DetrImageProcessor");
    for (file, defaults, part) in [
        (
            json!({"do_center_crop": true}),
            &Defaults::vit(),
            "`do_center_crop` is set without a `crop_size`",
        ),
        (
            json!({"do_center_crop": true, "crop_size": {"height": 5}}),
            &Defaults::vit(),
            "`crop_size` is {\"height\":5}; expected height and width",
        ),
        (
            json!({"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0}),
            &Defaults::vit(),
            "`crop_pct` is 0; expected a number above 0 and at most 1",
        ),
        (
            json!({"image_processor_type": "ConvNextImageProcessor", "size": 224, "do_center_crop": true, "crop_size": 5}),
            &Defaults::vit(),
            "`do_center_crop` can't be combined with",
        ),
        (
            json!({"image_processor_type": "ConvNextImageProcessor", "size": 224}),
            &detector,
            "a `size` that implies a crop is not supported",
        ),
        (
            json!({"image_processor_type": "DeiTImageProcessor"}),
            &detector,
            "`do_center_crop` is not supported",
        ),
        (
            json!({"pad_size": 5}),
            &Defaults::vit(),
            "`pad_size` is not supported",
        ),
    ] {
        let message = error(file.clone(), defaults);
        assert!(message.contains(part), "{file}: {message}");
    }
}
