//! Top-down keypoints: several records per image, each with a region; boxes from a file or from an
//! earlier stage.

use cvhost_plugin_api::data::{Array, Fields, Record, Role};
use cvhost_tests::events::path_in;
use cvhost_tests::walks::{Task, Walk, image, record};
use serde_json::{Value, json};

const KEYPOINTS: usize = 7;

fn points(record: &Record) -> Vec<f32> {
    record
        .fields
        .require("keypoints")
        .unwrap()
        .values::<f32>()
        .unwrap()
        .to_vec()
}

fn bounds(record: &Record) -> [f64; 4] {
    record.fields.require("boxes").unwrap().to_rows::<4>().unwrap()[0]
}

/// A prediction of one person.
fn person(points: &[f32]) -> Fields {
    let points = Array::new(&[1, KEYPOINTS as u64, 3], points).unwrap();
    Fields::new().with("keypoints", Role::KEYPOINTS, points)
}

/// The records of the first image with at least `min_people` people.
fn people(task: &Task, images: usize, min_people: usize) -> Vec<Record> {
    let data = task.open(images);
    let all: Vec<Record> = (0..data.len().into_result().unwrap())
        .map(|i| record(&data, i))
        .collect();
    let mut groups = all.chunk_by(|a, b| image(a) == image(b));
    groups.find(|g| g.len() >= min_people).unwrap().to_vec()
}

/// Mean distance between printed keypoints and a record's, in pixels.
fn distance(printed: &Value, record: &Record) -> f64 {
    let points = points(record);
    let mut distances = Vec::new();
    for (k, point) in printed["keypoints"].as_array().unwrap().iter().enumerate() {
        let [x, y, visibility] = [0, 1, 2].map(|i| f64::from(points[3 * k + i]));
        if visibility > 0.0 {
            distances.push((point["x"].as_f64().unwrap() - x).hypot(point["y"].as_f64().unwrap() - y));
        }
    }
    distances.iter().sum::<f64>() / distances.len() as f64
}

#[test]
fn keypoints_train_with_a_record_per_person_and_are_predicted_in_given_boxes() {
    let walk = Walk::new(
        "walk-keypoints",
        "pictures: 160, batch_size: 16, augmentations: {horizontal_flip: 0.5, random_crop: 0.2, rotation: 10, random_resize: [0.9, 1.1]}",
        "max_epochs: 8, learning_rate: 0.01, monitor_metric: val_pck",
    );
    let trained = walk.train(6, 0.5);
    let drawn = std::fs::read_dir(trained.folder.join("pictures")).unwrap();
    for file in drawn {
        let name = file.unwrap().file_name().into_string().unwrap();
        assert!(
            name.ends_with("person 0.jpg"),
            "{name}: the people in an image are drawn together"
        );
    }
    let data = walk.task.open(160);
    // The baseline puts everything in the middle of the box.
    let baseline = walk.task.report(&data, |record| {
        let [x1, y1, x2, y2] = bounds(record);
        person(&[((x1 + x2) / 2.0) as f32, ((y1 + y2) / 2.0) as f32, 1.0].repeat(KEYPOINTS))
    });
    let (learned, baseline) = (trained.metric("val_pck"), baseline.get("pck").unwrap());
    assert!(
        learned > 0.85 && learned > baseline + 0.3,
        "{learned}, the baseline has {baseline}"
    );
    assert!(trained.metric("val_oks") > 0.75, "{}", trained.event);
    walk.check_eval(&trained);

    // Boxes from a file, as `cvhost predict --json` prints them.
    let people = people(&walk.task, 160, 2);
    let file = walk.save(image(&people[0]));
    let boxes: Vec<Value> = people
        .iter()
        .map(|p| json!({"label": "person", "score": 0.9, "box_xyxy": bounds(p)}))
        .collect();
    let mut boxes = boxes;
    boxes.push(json!({"label": "dog", "score": 0.9, "box_xyxy": [1, 1, 20, 20]}));
    let prompt = walk.setup.folder.path().join("boxes.jsonl");
    let write = |boxes: &Value| {
        std::fs::write(&prompt, json!({"image": file, "predictions": boxes}).to_string()).unwrap()
    };
    write(&json!(boxes));
    let given = ["--prompt", prompt.to_str().unwrap(), "--threshold", "0.1"];
    let prediction = walk.predict_file(&trained, &file, &given).success().last_event();
    let printed = prediction["predictions"].as_array().unwrap();
    assert_eq!(printed.len(), people.len(), "a dog isn't a person: {prediction}");
    for (printed, person) in printed.iter().zip(&people) {
        assert_eq!(printed["keypoints"][3]["name"], "left_hand", "{printed}");
        let off = distance(printed, person);
        assert!(off < 3.5, "{off} pixels off: {printed}");
        for (a, b) in printed["box_xyxy"].as_array().unwrap().iter().zip(bounds(person)) {
            assert!((a.as_f64().unwrap() - b).abs() < 1e-3, "{printed}");
        }
        // The score includes the box's own score as a factor.
        assert!(printed["score"].as_f64().unwrap() <= 0.9, "{printed}");
    }
    let drawn = image::open(path_in(&prediction, "drawn")).unwrap();
    assert_eq!(drawn.width(), 4 * image(&people[0]).width);

    // An empty list or no prompt: nobody is predicted, but the image is still drawn.
    write(&json!([]));
    for more in [&given[..], &[]] {
        let nobody = walk.predict_file(&trained, &file, more).success().last_event();
        assert_eq!(nobody["predictions"], json!([]), "{nobody}");
        image::open(path_in(&nobody, "drawn")).unwrap();
    }
    // An invalid box is reported with its image.
    write(&json!([{"box_xyxy": [30, 30, 10, 40]}]));
    let wrong = walk.predict_file(&trained, &file, &given);
    assert_eq!(wrong.code, 3, "{}", wrong.stderr);
    assert!(
        wrong.stdout.contains("box_xyxy") && wrong.stdout.contains("picture.png"),
        "{}",
        wrong.stdout
    );
}

#[test]
fn keypoints_take_their_boxes_from_an_earlier_stage() {
    let training = "max_epochs: 3, learning_rate: 0.02";
    let spots = Walk::new(
        "walk-spots",
        "pictures: 64, batch_size: 8, augmentations: {horizontal_flip: 0.5}",
        training,
    );
    let found = spots.train(6, 0.9);
    assert!(found.metric("val_f1") > 0.8, "{}", found.event);
    spots.check_eval(&found);
    let walk = Walk::new("walk-keypoints", "pictures: 64, batch_size: 8", training);
    let trained = walk.train(6, 0.9);

    let people = people(&walk.task, 64, 2);
    let stage = format!("walk-spots={}", found.checkpoint("last"));
    let more = ["--stage", &stage, "--threshold", "0"];
    let prediction = walk.predict(&trained, image(&people[0]), &more);
    let printed = prediction["predictions"].as_array().unwrap();
    assert_eq!(printed.len(), people.len(), "{prediction}");
    for person in &people {
        let wanted = bounds(person);
        let near = |p: &&Value| {
            let sides = p["box_xyxy"].as_array().unwrap().iter().zip(wanted);
            sides
                .map(|(a, b)| (a.as_f64().unwrap() - b).abs())
                .fold(0.0, f64::max)
                <= 4.0
        };
        assert!(
            printed.iter().any(|p| near(&p)),
            "no box near {wanted:?}: {prediction}"
        );
    }
}

#[test]
fn pck_and_oks_are_computed_as_in_the_papers() {
    let task = Task::load("walk-keypoints");
    let data = task.open(40);
    let sigma = 0.05;
    // Every keypoint is off by a fraction of the box's longer side: up to a tenth is correct.
    for (fraction, right) in [(0.0, 1.0), (0.09, 1.0), (0.11, 0.0)] {
        let report = task.report(&data, |record| {
            let [x1, y1, x2, y2] = bounds(record);
            let off = (fraction * (x2 - x1).max(y2 - y1)) as f32;
            let mut points = points(record);
            points.as_chunks_mut::<3>().0.iter_mut().for_each(|p| p[1] += off);
            person(&points)
        });
        assert_eq!(report.get("pck"), Some(right), "{fraction}");
        let similarities: Vec<f64> = (0..data.len().into_result().unwrap())
            .map(|i| {
                let [x1, y1, x2, y2] = bounds(&record(&data, i));
                let off = fraction * (x2 - x1).max(y2 - y1);
                let k = 2.0 * sigma;
                (-off * off / (2.0 * (x2 - x1) * (y2 - y1) * k * k)).exp()
            })
            .collect();
        let expected = similarities.iter().sum::<f64>() / similarities.len() as f64;
        assert!(
            (report.get("oks").unwrap() - expected).abs() < 1e-4,
            "{report:?}, {expected}"
        );
    }
}

#[test]
fn keypoint_evaluators_merge_bit_identically() {
    let task = Task::load("walk-keypoints");
    task.check_merging(&task.open(40), |record| {
        let mut points = points(record);
        for (i, p) in points.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            p[0] += i as f32 * 1.3;
        }
        person(&points)
    });
    let spots = Task::load("walk-spots");
    spots.check_merging(&spots.open(40), |record| {
        let boxes = record.fields.require("boxes").unwrap().to_rows::<4>().unwrap();
        let kept: Vec<[f32; 4]> = boxes.iter().skip(1).map(|b| b.map(|v| v as f32 + 2.0)).collect();
        let scores = Array::vector(&vec![0.5f32; kept.len()]);
        Fields::new()
            .with("boxes", Role::BOXES, Array::rows(&kept))
            .with("scores", Role::COLUMN, scores)
    });
}
