//! `cvhost data stats`: known statistics as JSON, text and HTML page.

use crate::bench::{Bench, edit_json};
use cvhost_tests::coco::SIZES;
use cvhost_tests::events::of_event;
use serde_json::{Value, json};

#[test]
fn the_statistics_match_the_dataset() {
    let bench = Bench::new();
    let events = bench.data("stats", &["--json"]).success().events();
    let stats = of_event(&events, "data_stats");
    assert_eq!(
        (&stats[0]["split"], &stats[1]["split"]),
        (&json!("train"), &json!("val"))
    );
    let train = stats[0];
    assert_eq!(train["records"], SIZES.len());
    assert_eq!(train["formats"], json!({"PNG": 8}));
    assert_eq!(train["width"], json!({"min": 64.0, "median": 88.0, "max": 120.0}));
    assert_eq!(train["height"]["max"], 112.0);
    // Two objects in each image but one, plus a crowd in the first.
    assert_eq!(train["objects"]["count"], 15);
    assert_eq!(
        train["objects"]["of_a_record"]["counts"],
        json!([1, 0, 6, 1, 0, 0, 0, 0, 0, 0])
    );
    assert_eq!(train["boxes"]["count"], 15);
    let areas = train["boxes"]["area"]["counts"].as_array().unwrap();
    assert_eq!(areas.iter().map(|c| c.as_u64().unwrap()).sum::<u64>(), 15);
    let classes: Vec<&Value> = train["classes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(classes.len(), 4);
    let mean = train["pixels"]["mean"][0].as_f64().unwrap();
    assert!((0.2..0.8).contains(&mean), "{mean}");
    assert_eq!(train["pixels"]["pictures"], 8);
}

/// The seed determines the sample, so two calls agree, and no more images are decoded than
/// requested.
#[test]
fn the_pixel_sample_has_the_requested_size_and_is_reproducible() {
    let bench = Bench::new();
    let pixels = |arguments: &[&str]| {
        let all = [&["--json", "--split", "train", "--images", "3"], arguments].concat();
        bench.data("stats", &all).success().last_event()["pixels"].clone()
    };
    let first = pixels(&[]);
    assert_eq!(first["pictures"], 3);
    assert_eq!(first, pixels(&[]));
    assert_ne!(first, pixels(&["training.seed=7"]));
}

#[test]
fn text_output_has_bars_and_names() {
    let bench = Bench::new();
    let text = bench.data("stats", &["--split", "val"]).success().stdout;
    for part in [
        "records       8",
        "8 PNG",
        "64 to 120, median 88",
        "disc",
        "█",
        "15, 1.9 per record",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

#[test]
fn the_page_is_complete_html_that_fetches_nothing() {
    let bench = Bench::new();
    // A file name that contains markup.
    let nasty = "a<b>\"&'c.png";
    std::fs::rename(&bench.train.images()[0], bench.train.images.join(nasty)).unwrap();
    edit_json(&bench.train.annotations, |coco| {
        coco["images"][0]["file_name"] = json!(nasty)
    });
    let page = bench.path("page.html");
    bench.data("stats", &["--html", page.to_str().unwrap()]).success();
    let html = std::fs::read_to_string(page).unwrap();
    assert_balanced(&html);
    assert!(html.contains("a&lt;b&gt;&quot;&amp;&#39;c.png"), "escaped");
    assert_eq!(html.matches("<figure>").count(), 16);
    assert_eq!(html.matches("src=\"data:image/jpeg;base64,/9j/").count(), 16);
    for word in ["http:", "https:", "<script", "<link", "@import", "url("] {
        assert!(!html.contains(word), "{word}");
    }
    for word in ["<svg", "prefers-color-scheme", "disc"] {
        assert!(html.contains(word), "{word}");
    }
}

/// Asserts that tags are closed in the right order.
fn assert_balanced(html: &str) {
    assert!(html.starts_with("<!DOCTYPE html>"));
    let mut open = Vec::new();
    for tag in html.split('<').skip(2) {
        let (tag, _) = tag.split_once('>').expect("a tag has an end");
        let name = tag.split(|c: char| c.is_whitespace()).next().unwrap();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "</{name}>");
        } else if !["meta", "img", "br"].contains(&name) {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
