use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cvhost_plugin_api::note::{API_VERSION, LIBTORCH_VERSION, SCHEMA, TARGET};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::config::Draft;
use crate::error::Kind;

/// Builds a shared library with `note` as its cvhost note, if any, using the C compiler.
fn library(file: &Path, note: Option<&str>) {
    let source = file.with_extension("s");
    let mut assembly = ".data\n.globl x\nx: .long 1\n".to_owned();
    if let Some(note) = note {
        let content = file.with_extension("json");
        fs::write(&content, note).unwrap();
        assembly.push_str(&format!(
            ".section .note.cvhost,\"a\",@note\n.balign 4\n.long 7, {}, 1\n.asciz \
             \"cvhost\"\n.balign 4\n.incbin \"{}\"\n.balign 4\n",
            note.len(),
            content.display()
        ));
    }
    fs::write(&source, assembly).unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-nostdlib", "-o"])
        .arg(file)
        .arg(&source)
        .status()
        .unwrap();
    assert!(status.success());
}

fn note_json(name: &str, version: &str, components: Value) -> Value {
    json!({"schema": SCHEMA, "name": name, "version": version, "api": API_VERSION, "libtorch": LIBTORCH_VERSION,
        "target": TARGET, "rustc": "rustc", "panic": "unwind", "license": "MIT", "description": "d", "components": components})
}

fn task(name: &str) -> Value {
    json!([{"kind": "task", "name": name}])
}

fn plugin(folder: &Path, file: &str, note: &Value) -> PathBuf {
    let file = folder.join(file);
    library(&file, Some(&note.to_string()));
    file
}

fn catalogue(folders: &[&Path]) -> Catalogue {
    let folders = folders.iter().map(|p| Folder {
        path: p.to_path_buf(),
        origin: Origin::PluginsDir,
        exists: true,
    });
    Catalogue::discover(
        &Search {
            files: Vec::new(),
            folders: folders.collect(),
        },
        Host::this(),
    )
    .unwrap()
}

fn reason(file: &Path) -> String {
    let found = Found::read(file, Origin::PluginsDir, Host::this());
    found
        .rejection
        .unwrap_or_else(|| panic!("{} was accepted", file.display()))
        .to_string()
}

#[test]
fn a_plugin_is_read_from_its_note() {
    let folder = TempDir::new().unwrap();
    plugin(folder.path(), "libt.so", &note_json("t", "0.1.0", task("toy")));
    let catalogue = catalogue(&[folder.path()]);
    assert_eq!(catalogue.found[0].rejection, None);
    assert_eq!(catalogue.require("task", "toy").unwrap().1.name, "toy");
    assert_eq!(catalogue.by_name("toy").len(), 1);
}

#[test]
fn invalid_plugins_are_reported_and_do_not_stop_others() {
    let folder = TempDir::new().unwrap();
    let good = plugin(folder.path(), "good.so", &note_json("t", "0.1.0", task("toy")));
    let bytes = fs::read(&good).unwrap();
    let write = |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
    let patched = |at: usize, value: u8| {
        let mut copy = bytes.clone();
        copy[at] = value;
        copy
    };
    write("text.so", b"hello\nworld\n");
    write("empty.so", b"");
    write("noise.so", &[0, 1, 2, 200]);
    write("short.so", &bytes[..20]);
    write("truncated.so", &bytes[..bytes.len() / 2]);
    write("narrow.so", &patched(4, 1));
    write("arm.so", &patched(18, 183));
    write("program.so", &patched(16, 2));
    library(&folder.path().join("nonote.so"), None);
    library(&folder.path().join("nojson.so"), Some("{x"));
    library(
        &folder.path().join("partial.so"),
        Some(r#"{"schema":1,"name":"x"}"#),
    );
    library(&folder.path().join("layout.so"), Some(r#"{"schema":99}"#));
    let cases = [
        ("text", "a text file"),
        ("empty", "the file is empty"),
        ("noise", "not an ELF file (found unknown bytes"),
        ("short", "truncated"),
        ("truncated", "truncated"),
        ("narrow", "a 32-bit library"),
        ("arm", "aarch64"),
        ("program", "a program"),
        ("nonote", "no cvhost note"),
        ("nojson", "not JSON"),
        ("partial", "incomplete"),
        ("layout", "schema 99"),
    ];
    for (name, message) in cases {
        let reason = reason(&folder.path().join(format!("{name}.so")));
        assert!(reason.contains(message), "{name}: {reason}");
    }
    let catalogue = catalogue(&[folder.path()]);
    assert_eq!(catalogue.found.len(), 13);
    assert_eq!(catalogue.usable().count(), 1);
}

#[test]
fn no_damage_to_a_file_panics() {
    let folder = TempDir::new().unwrap();
    let good = plugin(folder.path(), "good.so", &note_json("t", "0.1.0", task("toy")));
    let bytes = fs::read(&good).unwrap();
    let file = folder.path().join("bad.so");
    let headers = usize::try_from(u64::from_le_bytes(bytes[40..48].try_into().unwrap())).unwrap();
    for at in (0..64).chain((headers..bytes.len()).step_by(3)) {
        for value in [0, 0xff] {
            let mut copy = bytes.clone();
            copy[at] = value;
            fs::write(&file, copy).unwrap();
            let _ = Found::read(&file, Origin::PluginsDir, Host::this());
        }
    }
    for length in (0..bytes.len()).step_by(97) {
        fs::write(&file, &bytes[..length]).unwrap();
        assert!(
            Found::read(&file, Origin::PluginsDir, Host::this())
                .rejection
                .is_some()
        );
    }
}

#[test]
fn a_plugin_that_does_not_fit_is_rejected_with_what_was_found() {
    let folder = TempDir::new().unwrap();
    let mut newer = note_json("t", "0.1.0", task("toy"));
    newer["api"] = json!("1.999.0");
    let file = plugin(folder.path(), "newer.so", &newer);
    assert!(reason(&file).contains("found cvhost-plugin-api 1.999.0"));
    let error = catalogue(&[folder.path()]).require("task", "toy").unwrap_err();
    assert_eq!(error.kind, Kind::Environment);
    assert!(error.to_string().contains("newer.so"), "{error}");
}

#[test]
fn the_first_folder_and_the_highest_version_win_with_a_warning() {
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let low = plugin(a.path(), "a-low.so", &note_json("t", "0.2.0", task("toy")));
    let high = plugin(a.path(), "b-high.so", &note_json("t", "0.10.0", task("toy")));
    let later = plugin(b.path(), "later.so", &note_json("t", "9.0.0", task("toy")));
    let catalogue = catalogue(&[a.path(), b.path()]);
    assert_eq!(catalogue.require("task", "toy").unwrap().0.file, high);
    assert_eq!(catalogue.warnings.len(), 2);
    for (file, warning) in [&low, &later].into_iter().zip(&catalogue.warnings) {
        assert!(
            warning.contains(&file.display().to_string()) && warning.contains("b-high.so"),
            "{warning}"
        );
    }
}

#[test]
fn a_rejected_file_shadows_nothing() {
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(a.path().join("libt.so"), "not a plugin").unwrap();
    plugin(b.path(), "libt.so", &note_json("t", "0.1.0", task("toy")));
    assert_eq!(catalogue(&[a.path(), b.path()]).usable().count(), 1);
}

#[test]
fn an_unknown_task_is_reported_with_the_nearest_name() {
    let folder = TempDir::new().unwrap();
    plugin(
        folder.path(),
        "libt.so",
        &note_json("t", "0.1.0", task("detection")),
    );
    let catalogue = catalogue(&[folder.path()]);
    let error = catalogue.require("task", "detectoin").unwrap_err();
    assert_eq!(error.help.as_deref(), Some("did you mean `detection`?"));
    assert!(
        catalogue
            .require("task", "ocr")
            .unwrap_err()
            .expected
            .unwrap()
            .ends_with("detection")
    );
    assert!(Catalogue::default().require("task", "ocr").is_err());
}

#[test]
fn two_adapters_for_one_pair_are_ambiguous() {
    let folder = TempDir::new().unwrap();
    let adapter = |name: &str| json!([{"kind": "adapter", "name": name, "serves": [{"form": "detection/1", "model_type": "detr"}]}]);
    plugin(
        folder.path(),
        "one.so",
        &note_json("one", "0.1.0", adapter("detr")),
    );
    let catalogue_of_one = catalogue(&[folder.path()]);
    assert_eq!(
        catalogue_of_one
            .adapter("detection/1", "detr", None)
            .unwrap()
            .1
            .name,
        "detr"
    );
    let error = catalogue_of_one
        .adapter("detection/1", "yolos", None)
        .unwrap_err();
    assert!(error.expected.unwrap().contains("detr"));
    plugin(
        folder.path(),
        "two.so",
        &note_json("two", "0.1.0", adapter("detr-fast")),
    );
    let both = catalogue(&[folder.path()]);
    let error = both.adapter("detection/1", "detr", None).unwrap_err().to_string();
    for part in ["one.so", "two.so", "model.adapter="] {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(
        both.adapter("detection/1", "detr", Some("detr-fast"))
            .unwrap()
            .1
            .name,
        "detr-fast"
    );
}

#[test]
fn an_explicit_plugin_file_must_be_valid_and_comes_first() {
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let named = plugin(a.path(), "x.so", &note_json("t", "0.1.0", task("toy")));
    plugin(b.path(), "y.so", &note_json("t", "5.0.0", task("toy")));
    let folders = vec![Folder {
        path: b.path().to_path_buf(),
        origin: Origin::PluginsDir,
        exists: true,
    }];
    let search = Search {
        files: vec![named.clone()],
        folders,
    };
    let catalogue = Catalogue::discover(&search, Host::this()).unwrap();
    assert_eq!(catalogue.require("task", "toy").unwrap().0.file, named);
    let search = Search {
        files: vec![a.path().join("missing.so")],
        folders: Vec::new(),
    };
    assert!(
        Catalogue::discover(&search, Host::this())
            .unwrap_err()
            .to_string()
            .contains("missing.so")
    );
}

#[test]
fn an_adapter_from_an_explicit_file_wins_and_a_chosen_one_wins_over_all() {
    let (a, b) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let adapter = |folder: &TempDir, name: &str, form: &str| {
        let serves = json!([{"form": form, "model_type": "m"}]);
        let components = json!([{"kind": "adapter", "name": name, "serves": serves}]);
        plugin(
            folder.path(),
            &format!("{name}.so"),
            &note_json(name, "0.1.0", components),
        )
    };
    let fast = adapter(&a, "fast", "d/1");
    adapter(&b, "plain", "d/1");
    adapter(&b, "other", "e/1");
    let folder = Folder {
        path: b.path().to_path_buf(),
        origin: Origin::PluginsDir,
        exists: true,
    };
    let search = |files: &[&PathBuf]| Search {
        files: files.iter().map(|f| f.to_path_buf()).collect(),
        folders: vec![folder.clone()],
    };
    let catalogue = Catalogue::discover(&search(&[&fast]), Host::this()).unwrap();
    let chosen =
        |form: &str, choice: Option<&str>| catalogue.adapter(form, "m", choice).unwrap().1.name.clone();
    assert_eq!(chosen("d/1", None), "fast");
    assert_eq!(chosen("e/1", None), "other");
    assert_eq!(chosen("d/1", Some("plain")), "plain");
    // The keys of an adapter that is replaced for all of its pairs are ignored.
    let model = TempDir::new().unwrap();
    fs::write(model.path().join("config.json"), r#"{"model_type": "m"}"#).unwrap();
    let text = format!("model: {{model_name: {}}}", model.path().display());
    let plan = relevant(&catalogue, &draft(&text), None).unwrap();
    let plugins: Vec<_> = plan.schemas.iter().map(|s| s.plugin.as_str()).collect();
    assert_eq!(plugins, ["fast", "other"]);
    let faster = adapter(&a, "faster", "d/1");
    let both = Catalogue::discover(&search(&[&fast, &faster]), Host::this()).unwrap();
    let error = both.adapter("d/1", "m", None).unwrap_err().to_string();
    assert!(
        error.contains("fast.so") && error.contains("faster.so") && !error.contains("plain.so"),
        "{error}"
    );
}

fn draft(text: &str) -> Draft {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("c.yaml");
    fs::write(&file, text).unwrap();
    Draft::read(&file, &[]).unwrap()
}

#[test]
fn the_task_of_the_file_and_of_the_command_line_must_agree() {
    let folder = TempDir::new().unwrap();
    plugin(folder.path(), "a.so", &note_json("a", "0.1.0", task("detection")));
    let catalogue = catalogue(&[folder.path()]);
    let draft = draft("model:\n  model_name: x\n  task_type: detection\n");
    assert_eq!(
        relevant(&catalogue, &draft, None).unwrap().task.as_deref(),
        Some("detection")
    );
    assert!(relevant(&catalogue, &draft, Some("detection")).is_ok());
    let error = relevant(&catalogue, &draft, Some("ocr")).unwrap_err();
    assert_eq!(error.place.unwrap().line, 3);
}

#[test]
fn only_relevant_plugins_extend_the_allowed_keys() {
    let folder = TempDir::new().unwrap();
    let adapter = |kind: &str| json!([{"kind": "adapter", "name": kind, "serves": [{"form": "d/1", "model_type": kind}]}]);
    plugin(folder.path(), "a.so", &note_json("a", "0.1.0", adapter("detr")));
    plugin(folder.path(), "b.so", &note_json("b", "0.1.0", adapter("yolos")));
    plugin(
        folder.path(),
        "c.so",
        &note_json("c", "0.1.0", json!([{"kind": "logger", "name": "lines"}])),
    );
    let catalogue = catalogue(&[folder.path()]);
    let model = TempDir::new().unwrap();
    fs::write(model.path().join("config.json"), r#"{"model_type": "yolos"}"#).unwrap();
    let names = |text: &str| {
        let plan = relevant(&catalogue, &draft(text), None).unwrap();
        plan.schemas.into_iter().map(|s| s.plugin).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&format!("model: {{model_name: {}}}", model.path().display())),
        ["b"]
    );
    assert_eq!(names("model: {model_name: x, adapter: detr}"), ["a"]);
    assert_eq!(
        names("model: {model_name: some/hub-id}\nloggers: {lines: }"),
        ["a", "b", "c"]
    );
    let error = relevant(&catalogue, &draft("loggers:\n  linse: {}\n"), None).unwrap_err();
    assert_eq!(
        (error.place.unwrap().line, error.help.as_deref()),
        (2, Some("did you mean `lines`?"))
    );
    let warnings = relevant(&catalogue, &draft("mlflow: {run_name: x}"), None)
        .unwrap()
        .warnings;
    assert!(warnings[0].contains("no effect"));
}

#[test]
fn component_keys_apply_where_the_component_is_used() {
    let folder = TempDir::new().unwrap();
    let key = |name: &str, default: u32| json!({"properties": {"data": {"properties": {name: {"default": default}}}}});
    let mut note = note_json(
        "several",
        "0.1.0",
        json!([{"kind": "task", "name": "one"}, {"kind": "task", "name": "two"}]),
    );
    note["config_schema"] = key("shared", 1);
    note["config_schema"]["components"] = json!({
        "task": {"one": key("shared", 2), "two": key("own", 3)},
        "adapter": {"one": key("foreign", 4)},
    });
    plugin(folder.path(), "several.so", &note);
    let catalogue = catalogue(&[folder.path()]);
    let schema = |task: &str| {
        let draft = draft(&format!("model: {{model_name: x, task_type: {task}}}"));
        let mut schemas = relevant(&catalogue, &draft, None).unwrap().schemas;
        assert_eq!(schemas.len(), 1, "one schema per plugin");
        assert_eq!(schemas[0].schema, schemas[0].defaults);
        schemas.remove(0).schema
    };
    assert_eq!(
        schema("one"),
        key("shared", 2),
        "the task's, not those of an adapter of the same name"
    );
    let two = schema("two");
    let keys = &two["properties"]["data"]["properties"];
    assert_eq!(
        (&keys["shared"]["default"], &keys["own"]["default"]),
        (&json!(1), &json!(3))
    );
    assert!(two.get("components").is_none(), "{two}");
}
