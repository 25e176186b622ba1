//! Compares every processor bit by bit with the results of transformers' PIL backend recorded by
//! `fixtures/make_rules.py`.

use crate::{Defaults, PoseProcessor, Processor};
use cvhost_plugin_api::data::{Array, ArrayMut, Field, Image, Region, Role};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const GOLDEN: &[u8] = include_bytes!("../fixtures/golden.bin");
const RULES: &str = include_str!("../fixtures/rules.json");

fn fnv(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")
}

fn sides(value: &Value) -> [usize; 2] {
    [0, 1].map(|i| value[i].as_u64().unwrap() as usize)
}

fn image(case: &Value) -> Image {
    let source = &case["picture"];
    let ([height, width], pixels) = match source.get("at") {
        Some(at) => {
            let [height, width] = sides(&source["size"]);
            let at = at.as_u64().unwrap() as usize;
            ([height, width], GOLDEN[at..at + height * width * 3].to_vec())
        }
        None => {
            let [width, height] = sides(&source["made_up"]);
            let value = |x: usize, y: usize, c: usize| (x * 11 + y * 29 + c * 83 + (x * y) % 31 * 7) as u8;
            let pixels = (0..height * width * 3).map(|i| value(i / 3 % width, i / 3 / width, i % 3));
            ([height, width], pixels.collect())
        }
    };
    Image::rgb8(width as u32, height as u32, pixels)
}

fn map(case: &Value, image: &Image) -> Option<Field> {
    let source = case.get("map")?;
    let (width, height) = (image.width as usize, image.height as usize);
    let values: Vec<u8> = match source.get("at") {
        Some(at) => {
            let at = at.as_u64().unwrap() as usize;
            GOLDEN[at..at + height * width].to_vec()
        }
        None => (0..height * width)
            .map(|i| match (i % width / 5 * 3 + i / width / 4 * 7) % 11 {
                10 if source["ignored"] == true => 255,
                value => value as u8,
            })
            .collect(),
    };
    let array = Array::new(&[height as u64, width as u64], &values).unwrap();
    Some(Field::new("map", Role::LABEL_MAP, array))
}

fn family(name: &str) -> Defaults {
    match name {
        "rt_detr" | "d_fine" => Defaults::rt_detr(),
        "conditional_detr" => Defaults::shortest_edge("ConditionalDetrImageProcessor"),
        "segformer" | "upernet" => Defaults::segformer(),
        "mask2former" | "maskformer" => Defaults::mask2former(),
        "swin" => Defaults::vit(),
        "dinov2" => Defaults::bit(),
        "convnext" => Defaults::conv_next(),
        other => panic!("{other}"),
    }
}

/// Hash of the pixels; `None` if the input doesn't have the recorded size.
fn pixels(case: &Value, shape: &[u64], write: impl FnOnce(ArrayMut<'_>)) -> Option<String> {
    let [height, width] = sides(&case["size"]).map(|side| side as u64);
    if shape != [3, height, width] {
        return None;
    }
    let mut values = vec![f32::NAN; (3 * height * width) as usize];
    write(ArrayMut::new(&mut values, shape, &[height * width, width, 1]).unwrap());
    Some(fnv(Array::vector(&values).bytes()))
}

#[test]
fn pixels_and_labels_match_the_reference() {
    let cases: Vec<Value> = serde_json::from_str(RULES).unwrap();
    assert_eq!(cases.len(), 88);
    let (mut wrong, mut points) = (Vec::new(), 0);
    for case in &cases {
        let image = image(case);
        let mut check = |what: &str, found: Value| {
            if case[what] != found {
                wrong.push(format!("{what} {found} {case}"));
            }
        };
        if let Some(corners) = case["box"].as_array() {
            let p = PoseProcessor::from_checkpoint(&case["file"], &Value::Null).unwrap();
            let [x, y, width, height] = [0, 1, 2, 3].map(|i| corners[i].as_f64().unwrap());
            let region = Region {
                x,
                y,
                width,
                height,
                angle: 0.0,
            };
            let found = pixels(case, &p.shape().dims, |out| {
                p.write(&image, &region, out).unwrap()
            });
            check("pixels", json!(found));
            if let Some(expected) = case["map_point_in_picture"].as_array() {
                let found = p
                    .crop(&region)
                    .unwrap()
                    .to_image([1.25, 6.5], p.size().map(|side| side / 4));
                for (found, expected) in found.iter().zip(expected) {
                    let off = (found - expected.as_f64().unwrap()).abs();
                    assert!(off < 1e-4, "{found} {case}");
                }
                points += 1;
            }
            continue;
        }
        let family = family(case["family"].as_str().unwrap());
        let p = Processor::from_checkpoint(&case["file"], &Value::Null, &family).unwrap();
        let shape = p.shape(image.width, image.height).unwrap();
        check(
            "pixels",
            json!(pixels(case, &shape.dims, |out| p.write(&image, out).unwrap())),
        );
        let Some(map) = map(case, &image) else { continue };
        if case.get("masks").is_some() {
            let classes: Option<BTreeMap<i64, i64>> = case["classes"].as_object().map(|classes| {
                let pair = |(id, class): (&String, &Value)| (id.parse().unwrap(), class.as_i64().unwrap());
                classes.iter().map(pair).collect()
            });
            let labels = p.segment_labels(&map, classes.as_ref()).unwrap();
            check(
                "masks",
                json!(fnv(labels.require("mask_labels").unwrap().bytes())),
            );
            let classes = labels.require("class_labels").unwrap();
            check("class_labels", json!(classes.values::<i64>().unwrap()));
        } else {
            check("labels", json!(fnv(p.semantic_labels(&map).unwrap().bytes())));
        }
    }
    assert_eq!(points, 17);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
