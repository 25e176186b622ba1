use super::*;

fn processor(file: Value, config: Value) -> Result<Processor> {
    read(&file, &config, &Defaults::shortest_edge("DetrImageProcessor"))
}

#[test]
fn a_missing_file_gives_the_defaults() {
    let p = processor(Value::Null, json!({})).unwrap();
    assert_eq!(
        p.size,
        Size::Edges {
            shortest: 800,
            longest: 1333
        }
    );
    assert!(p.do_resize && p.do_rescale && p.do_normalize && p.do_pad);
    assert_eq!(
        (p.mean, p.rescale_factor, p.resample),
        ([0.485, 0.456, 0.406], 1.0 / 255.0, Resample::Bilinear)
    );
}

#[test]
fn all_layouts_of_size_are_read() {
    let edges = |shortest, longest| Size::Edges { shortest, longest };
    let cases = [
        (json!({"size": 512}), edges(512, 1333)),
        (json!({"size": 512, "max_size": 864}), edges(512, 864)),
        (
            json!({"size": {"shortest_edge": 512, "longest_edge": 700}}),
            edges(512, 700),
        ),
        (
            json!({"size": {"shortest_edge": 512, "longest_edge": null}}),
            edges(512, 1333),
        ),
        (
            json!({"size": {"height": 480, "width": 640}}),
            Size::Exact {
                height: 480,
                width: 640,
            },
        ),
        (
            json!({"size": [480, 640]}),
            Size::Exact {
                height: 480,
                width: 640,
            },
        ),
        (
            json!({"size": {"max_height": 480, "max_width": 640}}),
            Size::Within {
                height: 480,
                width: 640,
            },
        ),
        (json!({"max_size": 900}), edges(800, 1333)),
    ];
    for (file, expected) in cases {
        assert_eq!(
            processor(file.clone(), json!({})).unwrap().size,
            expected,
            "{file}"
        );
    }
}

#[test]
fn the_named_processor_determines_the_multiple() {
    let multiple = |file: Value| processor(file, json!({})).unwrap().multiple;
    assert_eq!(
        multiple(json!({"image_processor_type": "YolosImageProcessorFast"})),
        16
    );
    assert_eq!(
        multiple(json!({"feature_extractor_type": "YolosFeatureExtractor"})),
        16
    );
    assert_eq!(multiple(json!({"image_processor_type": "DetrImageProcessor"})), 1);
    assert_eq!(multiple(json!({})), 1);
}

#[test]
fn user_configuration_overrides_the_file_and_is_saved() {
    let file = json!({"size": 800, "max_size": 1333, "format": "coco_detection",
        "feature_extractor_type": "DetrFeatureExtractor", "do_normalize": false});
    let config = json!({"model": {"image_size": 320},
        "data": {"image_size": [480, 640], "normalize_mean": [0.5, 0.4, 0.3], "normalize_std": [0.1, 0.2, 0.3]}});
    let saved = processor(file.clone(), config).unwrap().config_json();
    assert_eq!(saved["size"], json!({"height": 480, "width": 640}));
    assert_eq!(saved["image_mean"], json!([0.5, 0.4, 0.3]));
    assert_eq!(saved["image_std"], json!([0.1, 0.2, 0.3]));
    assert_eq!(saved["do_normalize"], json!(true));
    assert_eq!(saved["format"], json!("coco_detection"));
    assert_eq!(saved["image_processor_type"], json!("DetrImageProcessor"));
    assert_eq!(
        (saved.get("max_size"), saved.get("feature_extractor_type")),
        (None, None)
    );
    let reread = processor(saved.clone(), json!({})).unwrap();
    assert_eq!(reread.config_json(), saved);

    let one = processor(file, json!({"model": {"image_size": 480}})).unwrap();
    assert_eq!(
        one.size,
        Size::Edges {
            shortest: 480,
            longest: 800
        }
    );
}

#[test]
fn errors_name_the_key_and_the_expected_value() {
    let checkpoint = [
        (
            json!([1]),
            "preprocessor_config.json holds a list; expected an object",
        ),
        (
            json!({"size": "big"}),
            "`size` is \"big\"; expected a number, [height, width] or an object",
        ),
        (
            json!({"size": {"longest_edge": 5}}),
            "expected shortest_edge and longest_edge, or height and width",
        ),
        (
            json!({"size": {"height": 0, "width": 5}}),
            "`height` is 0; expected a whole number of pixels from 1 to 16384",
        ),
        (
            json!({"image_mean": [0.5, 0.5]}),
            "`image_mean` is [0.5,0.5]; expected three numbers",
        ),
        (json!({"image_std": [0.5, 0.5, 0]}), "expected numbers above 0"),
        (
            json!({"do_resize": "yes"}),
            "`do_resize` is \"yes\"; expected true or false",
        ),
        (json!({"resample": 9}), "`resample` is 9; expected 0 (nearest)"),
        (
            json!({"rescale_factor": -1}),
            "`rescale_factor` is -1; expected a number above 0",
        ),
        (
            json!({"do_center_crop": true}),
            "`do_center_crop` is not supported",
        ),
    ];
    for (file, part) in checkpoint {
        let error = processor(file.clone(), json!({})).unwrap_err();
        assert!(error.message.contains(part), "{file}: {error}");
    }
    let user = [
        (json!({"data": {"image_size": 0}}), "data.image_size"),
        (json!({"data": {"image_size": [640, 100000]}}), "data.image_size"),
        (json!({"data": {"image_size": [640]}}), "data.image_size"),
        (json!({"model": {"image_size": -3}}), "model.image_size"),
        (
            json!({"data": {"normalize_std": [0.0, 1.0, 1.0]}}),
            "data.normalize_std",
        ),
    ];
    for (config, key) in user {
        let error = processor(Value::Null, config.clone()).unwrap_err();
        assert_eq!(error.key, key, "{config}");
        assert!(error.message.contains("expected"), "{config}: {error}");
    }
}

fn by_type(name: &str, mut file: Value) -> Processor {
    file["image_processor_type"] = json!(name);
    processor(file, json!({})).unwrap()
}

#[test]
fn defaults_come_from_the_named_processor() {
    let exact = |height, width| Size::Exact { height, width };
    let rt_detr = by_type("RTDetrImageProcessorFast", json!({}));
    assert_eq!(rt_detr.size, exact(640, 640));
    assert!(!rt_detr.do_normalize && !rt_detr.do_pad && rt_detr.do_rescale);

    let segformer = by_type("SegformerImageProcessor", json!({"size": 128}));
    assert_eq!((segformer.size, segformer.do_pad), (exact(128, 128), false));
    assert_eq!(
        (segformer.mean[0], segformer.resample),
        (0.485, Resample::Bilinear)
    );

    let mask2former = by_type("Mask2FormerImageProcessor", json!({}));
    assert_eq!((mask2former.size_divisor, mask2former.do_pad), (32, true));
    assert_eq!(mask2former.target_size(640, 480).unwrap(), (1088, 800));
    assert_eq!(
        by_type("DetrImageProcessor", json!({"size_divisor": 7})).size_divisor,
        1
    );

    let vit_pose = by_type("VitPoseImageProcessor", json!({}));
    assert_eq!((vit_pose.size, vit_pose.std[2]), (exact(256, 192), 0.225));
    let bit = json!({"image_processor_type": "BitImageProcessor"});
    let bit = read(&bit, &Value::Null, &Defaults::vit()).unwrap();
    assert_eq!(
        (bit.size, bit.crop()),
        (Size::Shortest { edge: 224 }, Some([224, 224]))
    );
    assert_eq!((bit.resample, bit.mean[0]), (Resample::Bicubic, 0.48145466));
}

#[test]
fn legacy_keys_are_read_and_saved_under_their_new_names() {
    let file = json!({"feature_extractor_type": "MaskFormerFeatureExtractor", "size": 512, "max_size": 2048,
        "size_divisibility": 16, "reduce_labels": true, "ignore_index": 255});
    let old = processor(file, json!({})).unwrap();
    assert_eq!(
        (old.size, old.size_divisor),
        (
            Size::Edges {
                shortest: 512,
                longest: 2048
            },
            16
        )
    );
    assert_eq!(
        old.label_rule(),
        LabelRule {
            do_reduce_labels: true,
            ignore_index: Some(255)
        }
    );
    let saved = old.config_json();
    assert_eq!(
        (saved["size_divisor"].clone(), saved["do_reduce_labels"].clone()),
        (json!(16), json!(true))
    );
    assert_eq!(
        (saved.get("size_divisibility"), saved.get("reduce_labels")),
        (None, None)
    );
    assert_eq!(processor(saved.clone(), json!({})).unwrap().config_json(), saved);
    let none = by_type("Mask2FormerImageProcessor", json!({"size_divisor": 0}));
    assert_eq!(
        (none.size_divisor, none.config_json()["size_divisor"].clone()),
        (1, json!(0))
    );
}

#[test]
fn a_scalar_user_size_is_a_square_for_families_that_stretch() {
    let user = json!({"data": {"image_size": 320}});
    let square = read(&Value::Null, &user, &Defaults::rt_detr()).unwrap();
    assert_eq!(square.target_size(640, 480).unwrap(), (320, 320));
    assert_eq!(square.config_json()["size"], json!({"height": 320, "width": 320}));
}

#[test]
fn errors_in_label_rules_name_the_key() {
    for (file, part) in [
        (
            json!({"ignore_index": "x"}),
            "`ignore_index` is \"x\"; expected a whole number",
        ),
        (
            json!({"do_reduce_labels": 1}),
            "`do_reduce_labels` is 1; expected true or false",
        ),
        (
            json!({"image_processor_type": "MaskFormerImageProcessor", "size_divisor": -4}),
            "`size_divisor` is -4; expected a whole number from 0",
        ),
    ] {
        let error = processor(file, json!({})).unwrap_err();
        assert!(error.message.contains(part), "{error}");
    }
}
