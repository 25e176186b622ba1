use super::*;
use serde_json::json;

const ONE: &str = r#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;

fn safetensors(name: &str) -> Vec<u8> {
    let header = ONE.replace('w', name);
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[7]].concat()
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn refusal(files: &[(&str, &[u8])]) -> String {
    let folder = folder(files);
    ModelFolder::open(folder.path())
        .and_then(|f| f.weights().map(|_| f))
        .unwrap_err()
        .to_string()
}

#[test]
fn a_folder_opens_with_either_processor_file() {
    let weights = safetensors("w");
    let mut files: Vec<(&str, &[u8])> = vec![(CONFIG, b"{\"model_type\":\"x\"}"), (WEIGHTS, &weights)];
    let open = |files: &[(&str, &[u8])]| ModelFolder::open(folder(files).path()).unwrap();
    assert_eq!(open(&files).preprocessor, Value::Null);
    files.push((PROCESSOR, b"{\"image_processor\":{\"size\":1}}"));
    assert_eq!(open(&files).preprocessor, json!({"size": 1}));
    files.push((PREPROCESSOR, b"{\"size\":2}"));
    assert_eq!(open(&files).preprocessor, json!({"size": 2}));
    assert_eq!(open(&files).config, json!({"model_type": "x"}));
}

#[test]
fn shards_are_found_through_the_index() {
    let index = json!({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}).to_string();
    let (a, b) = (safetensors("a"), safetensors("b"));
    let mut files: Vec<(&str, &[u8])> = vec![
        (CONFIG, b"{}"),
        (WEIGHTS_INDEX, index.as_bytes()),
        ("model-1.safetensors", &a),
    ];
    assert!(refusal(&files).contains("model-2.safetensors"));
    files.push(("model-2.safetensors", &b));
    let good = folder(&files);
    let weights = ModelFolder::open(good.path()).unwrap().weights().unwrap();
    assert_eq!(weights.names(), ["a", "b"]);
    let mixed = safetensors("c");
    files.pop();
    files.push(("model-2.safetensors", &mixed));
    assert!(refusal(&files).contains("`b` is not in model-2.safetensors"));
}

#[test]
fn an_index_cannot_escape_the_folder() {
    for file in ["../x.safetensors", "/etc/x.safetensors", "..", "a/b.safetensors"] {
        let index = json!({"weight_map": {"w": file}}).to_string();
        assert!(
            refusal(&[(CONFIG, b"{}"), (WEIGHTS_INDEX, index.as_bytes())]).contains("same folder"),
            "{file}"
        );
    }
}

#[test]
fn pickles_are_refused_with_conversion_help() {
    for name in [
        "pytorch_model.bin",
        "best.pt",
        "model.pth",
        "last.ckpt",
        "pytorch_model.bin.index.json",
    ] {
        let text = refusal(&[(CONFIG, b"{}"), (name, b"x")]);
        assert!(
            text.contains(name) && text.contains("can run arbitrary code"),
            "{text}"
        );
        assert!(
            text.contains("save_pretrained(\"out\", safe_serialization=True)"),
            "{text}"
        );
    }
    let there = folder(&[("best.pt", b"x")]);
    let text = ModelFolder::open(&there.path().join("best.pt"))
        .unwrap_err()
        .to_string();
    assert!(text.contains("can run arbitrary code"), "{text}");
    // A pickle next to safetensors is ignored.
    let weights = safetensors("w");
    let both = folder(&[(CONFIG, b"{}"), ("pytorch_model.bin", b"x"), (WEIGHTS, &weights)]);
    assert!(ModelFolder::open(both.path()).is_ok());
}

#[test]
fn incomplete_folders_are_errors_that_list_the_expected_files() {
    let weights = safetensors("w");
    let text = refusal(&[(WEIGHTS, &weights)]);
    assert!(
        text.contains("no config.json") && text.contains("preprocessor_config.json"),
        "{text}"
    );
    let text = refusal(&[(CONFIG, b"{}"), ("notes.txt", b"")]);
    assert!(
        text.contains("no model.safetensors; it contains config.json, notes.txt"),
        "{text}"
    );
    assert!(refusal(&[(CONFIG, b"{"), (WEIGHTS, &weights)]).contains("config.json is not valid JSON"));
    assert!(refusal(&[(CONFIG, b"[]"), (WEIGHTS, &weights)]).contains("not a JSON object"));
    assert!(
        ModelFolder::open(Path::new("/no/such"))
            .unwrap_err()
            .to_string()
            .contains("no folder /no/such")
    );
}

#[test]
fn label_names_come_in_the_order_of_their_ids() {
    let names = |labels: Value| label_names(&json!({"id2label": labels}));
    assert_eq!(
        names(json!({"10": "k", "2": "c", "0": "a"})).unwrap().unwrap()[..4],
        ["a", "LABEL_1", "c", "LABEL_3"].map(String::from)
    );
    assert_eq!(names(json!({"0": "LABEL_0", "1": "LABEL_1"})).unwrap(), None);
    assert_eq!(names(json!({})).unwrap(), None);
    assert_eq!(label_names(&json!({})).unwrap(), None);
    assert!(names(json!({"99999999999": "x"})).is_err());
    assert!(
        names(json!({"0": 1}))
            .unwrap_err()
            .to_string()
            .contains("\"0\": 1")
    );
}
