use super::*;
use cvhost_plugin_api::data::Scalar;

fn item(kind: LogKind, step: u64) -> LogItem {
    LogItem::new(kind, step, 1000 + step, "")
}

fn metrics(step: u64) -> LogItem {
    LogItem {
        values: vec![Scalar::new("loss", step as f64 + 0.5)].into(),
        ..item(LogKind::METRICS, step)
    }
}

fn info(folder: &Path) -> RunInfo {
    RunInfo {
        name: "run-1".to_owned(),
        folder: folder.display().to_string(),
        config: Value::Null,
        parameters: json!({"model": {"model_name": "m"}}),
        extra: Value::Null,
    }
}

fn read(folder: &Path, file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join(file)).unwrap()).unwrap()
}

fn lines(folder: &Path, file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn steps(folder: &Path) -> Vec<u64> {
    lines(folder, "metrics.jsonl")
        .iter()
        .map(|l| l["step"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_run_writes_parameters_metrics_and_status() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("new");
    let mut logger = JsonlLogger::default();
    logger.start(&info(&folder), &Value::Null).unwrap();
    assert_eq!(read(&folder, "status.json")["status"], "running");
    let more = LogItem {
        json: r#"{"extra": 1}"#.into(),
        ..item(LogKind::PARAMETERS, 0)
    };
    let tags = LogItem {
        json: r#"{"site": "lab"}"#.into(),
        ..item(LogKind::TAGS, 0)
    };
    let clash = LogItem {
        values: vec![Scalar::new("step", 9.0), Scalar::new("val_map", f64::NAN)].into(),
        ..item(LogKind::METRICS, 2)
    };
    logger
        .log(&[more, tags, metrics(1), clash, item(LogKind(77), 3)])
        .unwrap();
    logger.shutdown(Duration::from_secs(1), Status::OK).unwrap();

    assert_eq!(
        read(&folder, "params.json"),
        json!({"model": {"model_name": "m"}, "extra": 1})
    );
    assert_eq!(read(&folder, "tags.json"), json!({"site": "lab"}));
    let logged = lines(&folder, "metrics.jsonl");
    assert_eq!(logged[0], json!({"step": 1, "time_ms": 1001, "loss": 1.5}));
    assert_eq!(logged[1], json!({"step": 2, "time_ms": 1002, "val_map": null}));
    let status = read(&folder, "status.json");
    assert_eq!(
        (&status["status"], &status["name"]),
        (&json!("ok"), &json!("run-1"))
    );
    assert!(status["ended_ms"].as_u64() >= status["started_ms"].as_u64());
}

#[test]
fn each_outcome_has_its_status() {
    for (status, text) in [
        (Status::FAILED, "failed"),
        (Status::INTERRUPTED, "interrupted"),
        (Status(9), "failed"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut logger = JsonlLogger::default();
        logger.start(&info(folder.path()), &Value::Null).unwrap();
        logger.shutdown(Duration::ZERO, status).unwrap();
        assert_eq!(read(folder.path(), "status.json")["status"], text);
    }
}

#[test]
fn a_resumed_run_has_no_duplicate_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut logger = JsonlLogger::default();
    logger.start(&info(folder.path()), &Value::Null).unwrap();
    logger.log(&[metrics(1), metrics(2)]).unwrap();
    let state = logger.state().unwrap();
    logger.log(&[metrics(3)]).unwrap(); // after the checkpoint, before the run is killed
    drop(logger);

    let mut logger = JsonlLogger::default();
    logger.start(&info(folder.path()), &state).unwrap();
    assert_eq!(steps(folder.path()), [1, 2]);
    logger.log(&[metrics(3), metrics(4)]).unwrap();
    assert_eq!(steps(folder.path()), [1, 2, 3, 4]);
    assert_eq!(logger.state().unwrap()["started_ms"], state["started_ms"]);
}

#[test]
fn a_new_run_drops_earlier_lines_and_one_without_a_state_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    for (resume, expected) in [(json!({}), &[1][..]), (Value::Null, &[1, 1]), (json!({}), &[1])] {
        let mut logger = JsonlLogger::default();
        logger.start(&info(folder.path()), &resume).unwrap();
        logger.log(&[metrics(1)]).unwrap();
        assert_eq!(steps(folder.path()), expected);
    }
}

#[test]
fn images_become_png_files_inside_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut logger = JsonlLogger::default();
    logger.start(&info(folder.path()), &Value::Null).unwrap();
    let image = Image::filled(4, 3, [1, 2, 3]);
    let logged = LogItem {
        name: "../val/a.jpg".into(),
        image: Some(image.clone()).into(),
        ..item(LogKind::IMAGE, 7)
    };
    logger.log(&[logged]).unwrap();
    let read = image::open(folder.path().join("pictures/val/a.jpg-7.png"))
        .unwrap()
        .to_rgb8();
    assert_eq!(read.into_raw(), image.pixels.to_vec());

    let broken = Image::rgb8(9, 9, vec![0]);
    let logged = LogItem {
        name: "b".into(),
        image: Some(broken).into(),
        ..item(LogKind::IMAGE, 7)
    };
    assert!(logger.log(&[logged]).is_err());
}

#[test]
fn artifacts_outside_the_run_are_copied_and_those_inside_are_referenced() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let outside = folder.path().join("outside");
    std::fs::create_dir_all(outside.join("deep")).unwrap();
    std::fs::write(outside.join("a.txt"), "a").unwrap();
    std::fs::write(outside.join("deep/b.txt"), "b").unwrap();
    let mut logger = JsonlLogger::default();
    logger.start(&info(&run), &Value::Null).unwrap();
    std::fs::write(run.join("report.json"), "{}").unwrap();

    let artifact = |path: PathBuf, name: &str| LogItem {
        name: name.into(),
        path: path.display().to_string().as_str().into(),
        ..item(LogKind::ARTIFACT, 5)
    };
    let items = [
        artifact(run.join("report.json"), "report"),
        artifact(outside.join("a.txt"), ""),
        artifact(outside.clone(), "../model"),
    ];
    logger.log(&items).unwrap();
    let paths: Vec<Value> = lines(&run, "artifacts.jsonl")
        .iter()
        .map(|l| l["path"].clone())
        .collect();
    assert_eq!(paths, ["report.json", "artifacts/a.txt", "artifacts/model"]);
    assert_eq!(std::fs::read_to_string(run.join("artifacts/a.txt")).unwrap(), "a");
    assert_eq!(
        std::fs::read_to_string(run.join("artifacts/model/deep/b.txt")).unwrap(),
        "b"
    );

    let error = logger
        .log(&[artifact(folder.path().join("gone"), "x")])
        .unwrap_err();
    assert!(error.message.contains("gone"), "{error}");
    let error = logger
        .log(&[artifact(folder.path().to_owned(), "all")])
        .unwrap_err();
    assert!(error.message.contains("contains the run folder"), "{error}");
}

#[test]
fn invalid_calls_are_errors_with_the_path() {
    let mut logger = JsonlLogger::default();
    assert!(logger.log(&[metrics(1)]).is_err());
    assert!(logger.state().is_err());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = logger.start(&info(&file), &Value::Null).unwrap_err();
    assert!(error.message.contains("file"), "{error}");
    logger.start(&info(folder.path()), &Value::Null).unwrap();
    let bad = LogItem {
        json: "[1]".into(),
        ..item(LogKind::TAGS, 1)
    };
    assert!(logger.log(&[bad]).unwrap_err().message.contains("[1]"));
}

#[test]
fn a_drawn_image_in_the_run_folder_is_listed_and_not_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut logger = JsonlLogger::default();
    logger.start(&info(folder), &Value::Null).unwrap();
    std::fs::create_dir(folder.join("pictures")).unwrap();
    let path = folder.join("pictures/a.jpg");
    std::fs::write(&path, "jpeg").unwrap();
    let drawn = LogItem {
        name: "a.jpg".into(),
        path: path.display().to_string().as_str().into(),
        image: Some(Image::filled(2, 2, [0, 0, 0])).into(),
        ..item(LogKind::IMAGE, 4)
    };
    logger.log(&[drawn]).unwrap();
    let listed = json!({"name": "a.jpg", "path": "pictures/a.jpg", "step": 4, "time_ms": 1004});
    assert_eq!(lines(folder, "artifacts.jsonl"), [listed]);
    assert_eq!(std::fs::read_dir(folder.join("pictures")).unwrap().count(), 1);
}

#[test]
fn checkpoints_are_listed_from_anywhere_and_never_copied() {
    let folder = tempfile::tempdir().unwrap();
    let (run, elsewhere) = (folder.path().join("run"), folder.path().join("elsewhere"));
    std::fs::create_dir_all(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("model.safetensors"), "weights").unwrap();
    let mut logger = JsonlLogger::default();
    logger.start(&info(&run), &Value::Null).unwrap();
    let checkpoint = |path: &Path| LogItem {
        name: "epoch-001".into(),
        json: r#"{"kind": "checkpoint"}"#.into(),
        path: path.display().to_string().as_str().into(),
        ..item(LogKind::ARTIFACT, 5)
    };
    // The first one has been removed by now.
    let items = [run.join("checkpoints/epoch-001"), elsewhere.clone()].map(|path| checkpoint(&path));
    logger.log(&items).unwrap();
    let paths: Vec<Value> = lines(&run, "artifacts.jsonl")
        .iter()
        .map(|l| l["path"].clone())
        .collect();
    assert_eq!(paths, [json!("checkpoints/epoch-001"), json!(elsewhere)]);
    assert!(!run.join("artifacts").exists());
}
