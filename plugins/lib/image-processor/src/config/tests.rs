use super::*;

fn processor(file: Value, config: Value) -> Result<Processor> {
    read(&file, &config, &Defaults::shortest_edge("DetrImageProcessor"))
}

#[test]
fn a_missing_file_means_the_defaults() {
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
fn the_layouts_of_size_are_read() {
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
fn the_processor_that_the_file_names_decides_about_multiples() {
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
fn the_users_configuration_wins_and_is_saved() {
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
fn wrong_values_name_the_key_and_what_was_expected() {
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
