//! `cvhost data check`: one report with all problems.

use crate::bench::{Bench, append, data, edit_json, findings};
use cvhost_tests::events::{of_event, refused};
use cvhost_tests::root;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
use serde_json::{Value, json};
use std::path::Path;

/// A JPEG whose EXIF orientation is a quarter turn.
fn turned_jpeg(width: u32, height: u32) -> Vec<u8> {
    let mut jpeg = Vec::new();
    let pixels = vec![100u8; (width * height * 3) as usize];
    JpegEncoder::new(&mut jpeg)
        .write_image(&pixels, width, height, ExtendedColorType::Rgb8)
        .unwrap();
    let exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let length = (exif.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, exif, &jpeg[2..]].concat()
}

/// Adds one fault of each kind to the images and annotations, except for faults that make a split
/// be refused.
fn spoil(bench: &Bench) {
    let train = bench.train.images();
    // Truncated.
    let whole = std::fs::read(&train[0]).unwrap();
    std::fs::write(&train[0], &whole[..whole.len() / 2]).unwrap();
    // Shrunk after it was annotated.
    RgbImage::new(32, 48).save(&train[1]).unwrap();
    // A JPEG by content, and rotated.
    std::fs::write(&train[2], turned_jpeg(120, 80)).unwrap();
    // Duplicates within a split, and across splits.
    std::fs::copy(&train[6], bench.train.images.join("copy.png")).unwrap();
    std::fs::copy(&train[7], &bench.val.images()[7]).unwrap();
    edit_json(&bench.train.annotations, |coco| {
        let images = coco["images"].as_array_mut().unwrap();
        images.push(json!({"id": 900, "file_name": "copy.png", "width": 64, "height": 64}));
        let annotations = coco["annotations"].as_array_mut().unwrap();
        for (id, bbox) in [(901, json!([5, 5, 3, 3])), (902, json!([5, 5, 0, 3]))] {
            annotations
                .push(json!({"id": id, "image_id": 900, "category_id": 3, "bbox": bbox, "iscrowd": 0}));
        }
        // Unlike the others it has no supercategory, so it isn't taken for a group.
        coco["categories"]
            .as_array_mut()
            .unwrap()
            .push(json!({"id": 40, "name": "ghost"}));
    });
}

#[test]
fn one_fault_of_each_kind_gives_one_report_with_all_of_them() {
    let bench = Bench::new();
    spoil(&bench);
    let run = bench.data("check", &["--json"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    let events = run.events();
    // Kind, severity, and words of the finding, including its record and details.
    for (kind, severity, words) in [
        ("annotations", "warning", vec!["no area", "annotation 902"]),
        (
            "unreadable_pictures",
            "error",
            vec!["image 100", "picture_0.png", "truncated"],
        ),
        ("picture_sizes", "error", vec!["image 107", "64x96", "32x48"]),
        (
            "picture_sizes",
            "error",
            vec!["image 114", "120x80", "80x120", "EXIF"],
        ),
        (
            "targets",
            "error",
            vec!["image 107", "outside the image of 32x48"],
        ),
        ("classes_differ", "error", vec!["val", "only in train: `ghost`"]),
        (
            "leakage",
            "warning",
            vec!["train image 149", "val image 149", "picture_7.png"],
        ),
        (
            "duplicates",
            "warning",
            vec!["image 142", "image 900", "copy.png"],
        ),
        (
            "small_boxes",
            "warning",
            vec!["32 pixels", "image 900 (copy.png): 1"],
        ),
        ("missing_classes", "warning", vec!["1 of 5", "`ghost`"]),
        ("rare_classes", "warning", vec!["fewer than 10", "`ring`"]),
        ("file_names", "info", vec!["picture_2.png", "a PNG", "a JPEG"]),
        ("no_objects", "info", vec!["1 of 9", "image 121"]),
    ] {
        let found = findings(&events, kind);
        let says = |f: &&&Value| f["severity"] == severity && words.iter().all(|w| f.to_string().contains(w));
        assert!(
            found.iter().any(|f| says(&f)),
            "{kind} {words:?} is not in {found:#?}"
        );
    }
    let summary = of_event(&events, "data_checked")[0];
    let count = |severity| {
        let problems = of_event(&events, "data_problem").into_iter();
        problems.filter(|p| p["severity"] == severity).count()
    };
    assert_eq!(summary["errors"], count("error"));
    assert_eq!(summary["warnings"], count("warning"));
    assert_eq!(summary["infos"], count("info"));
    assert_eq!(summary["splits"][0]["pictures"], 9, "{summary}");
    assert_eq!(summary["splits"][1]["split"], "val");
    // The command's failure is reported as everywhere else.
    assert_eq!(run.last_event()["event"], "error");
    assert_eq!(run.last_event()["kind"], "input");
    for problem in of_event(&events, "data_problem") {
        for field in [
            "severity", "kind", "split", "record", "file", "message", "help", "details",
        ] {
            assert!(problem.get(field).is_some(), "{field} is not in {problem}");
        }
    }
}

#[test]
fn text_output_groups_and_counts_the_same_findings() {
    let bench = Bench::new();
    spoil(&bench);
    let run = bench.data("check", &["--split", "train"]);
    refused(&run, 3, &["error: the data has"]);
    let at = |part: &str| {
        let found = run.stdout.find(part);
        found.unwrap_or_else(|| panic!("no `{part}` in\n{}", run.stdout))
    };
    assert!(at("train: 9 images") < at("\nerrors\n"));
    assert!(at("\nerrors\n") < at("images that can't be read (1)"));
    assert!(at("images that can't be read (1)") < at("\nwarnings\n"));
    assert!(at("\nwarnings\n") < at("\nfor your information\n"));
    assert!(
        !run.stdout.contains("val:"),
        "only train was asked for:\n{}",
        run.stdout
    );
}

#[test]
fn refused_annotations_do_not_hide_problems_of_the_other_split() {
    let bench = Bench::new();
    edit_json(&bench.train.annotations, |coco| {
        coco["annotations"][1]["id"] = coco["annotations"][0]["id"].clone();
        coco["images"][1]["file_name"] = json!("../outside.png");
    });
    edit_json(&bench.val.annotations, |coco| {
        coco["annotations"][2]["category_id"] = json!(55)
    });
    append(&bench.val.images()[0], b"other");
    let run = bench.data("check", &["--json"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    let events = run.events();
    let messages: Vec<String> = findings(&events, "annotations")
        .iter()
        .map(|f| f.to_string())
        .collect();
    for (split, words) in [
        ("train", "annotation id 1 occurs 2 times"),
        ("train", "../outside.png"),
        ("val", "category 55"),
    ] {
        let says = |f: &&String| f.contains(&format!("\"split\":\"{split}\"")) && f.contains(words);
        assert!(
            messages.iter().any(|f| says(&f)),
            "{split}: {words} is not in {messages:#?}"
        );
    }
}

#[test]
fn warnings_pass_unless_strict_and_clean_data_has_none() {
    let bench = Bench::new();
    // Sixteen objects of four classes: each is rare.
    let run = bench.data("check", &[]).success();
    assert!(
        run.stdout.contains("classes with few examples (2)"),
        "{}",
        run.stdout
    );
    refused(&bench.data("check", &["--strict"]), 3, &["--strict"]);
    // A missing model isn't downloaded: boxes are then not compared with it, which is reported.
    let absent = bench
        .data("check", &["--json", "model.model_name=not/here"])
        .success();
    assert!(
        findings(&absent.events(), "not_checked")[0]
            .to_string()
            .contains("not/here")
    );
    let clean = data(
        &bench.path("home"),
        "check",
        &root().join("examples/classification.yaml"),
        &["--strict"],
    );
    let clean = clean.success();
    assert!(clean.stdout.ends_with("\nno problems\n"), "{}", clean.stdout);
}

#[test]
fn rare_and_imbalanced_classes_are_reported() {
    let bench = Bench::new();
    let images = bench.path("classes");
    for (class, count) in [("many", 42), ("few", 2)] {
        std::fs::create_dir_all(images.join(class)).unwrap();
        for index in 0..count {
            let colour = Rgb([index, class.len() as u8, 7]);
            let file = images.join(class).join(format!("{index}.png"));
            RgbImage::from_pixel(8, 8, colour).save(file).unwrap();
        }
    }
    let config = bench.path("classes.yaml");
    let yaml = format!(
        "model: {{model_name: not/here, task_type: classification}}\ndata: {{train_data_path: {}}}\n",
        images.display()
    );
    std::fs::write(&config, yaml).unwrap();
    let events = data(&bench.path("home"), "check", &config, &["--json"])
        .success()
        .events();
    let message = |kind| findings(&events, kind)[0].to_string();
    assert!(message("imbalance").contains("`many` has 42 examples and `few` has 2: 21 times"));
    assert!(message("rare_classes").contains("`few`: 2"));
}

#[test]
fn only_the_first_findings_of_a_kind_are_listed_and_all_on_demand() {
    let bench = Bench::new();
    let everything = |file: &Path| std::fs::write(file, b"no image").unwrap();
    bench.train.images().iter().for_each(|file| everything(file));
    bench.val.images().iter().for_each(|file| everything(file));
    let run = bench.data("check", &[]);
    refused(&run, 3, &["16 errors"]);
    assert_eq!(run.stdout.matches("a text file").count(), 10, "{}", run.stdout);
    assert!(run.stdout.contains("… and 6 more"), "{}", run.stdout);
    let run = bench.data("check", &["--all"]);
    assert_eq!(run.stdout.matches("a text file").count(), 16, "{}", run.stdout);
    // If training continues without them, they are only warnings.
    let run = bench.data("check", &["data.broken_files=skip"]).success();
    assert!(
        run.stdout.contains("images that can't be read (16)"),
        "{}",
        run.stdout
    );
}
