//! A plugin binary keeps working after additive changes to the interface: methods with a default,
//! fields, constructors.

use cvhost_tests::programs::{Run, target};
use cvhost_tests::{root, toy};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Additions of a later version of the interface: file, a text that occurs in it once, its
/// replacement.
const CHANGES: [(&str, &str, &str); 12] = [
    ("Cargo.toml", "version = \"1.0.0\"", "version = \"1.1.0\""),
    (
        "src/abi.rs",
        "// Later methods of Task go here, each with a default body.\n",
        "fn added_later(&self) -> u32 { 41 }\n",
    ),
    (
        "src/abi.rs",
        "// Later fields of OpenArgs go here.\n",
        "pub added_later: u64,\n",
    ),
    (
        "src/abi.rs",
        "// Later fields of StepContext go here.\n",
        "pub added_later: u64,\n",
    ),
    (
        "src/abi.rs",
        "// Constructors of later kinds go here.\n",
        "pub added_later: extern \"C\" fn() -> u32,\n",
    ),
    (
        "src/lend.rs",
        "WithMetadata::new(abi::OpenArgs {",
        "WithMetadata::new(abi::OpenArgs { added_later: 7,",
    ),
    (
        "src/lend.rs",
        "WithMetadata::new(abi::StepContext {",
        "WithMetadata::new(abi::StepContext { added_later: 7,",
    ),
    (
        "src/data/fields.rs",
        "    /// Whether dimension 0 counts instances.\n",
        "    pub const LATER: Self = Self(99 | MOVES);\n    /// Whether dimension 0 counts instances.\n",
    ),
    (
        "src/data/array.rs",
        "    const fn of(number: u32, size: u32) -> Self {",
        "    pub const LATER: Self = Self::of(99, 16);\n    const fn of(number: u32, size: u32) -> Self {",
    ),
    (
        "src/data/run.rs",
        "    pub const MODEL: Self = Self(10);\n",
        "    pub const MODEL: Self = Self(10);\n    pub const LATER: Self = Self(99);\n",
    ),
    ("src/sdk/export.rs", "abi::Plugin {", "abi::Plugin { added_later,"),
    (
        "src/sdk/export.rs",
        "extern \"C\" fn init<",
        "extern \"C\" fn added_later() -> u32 { 0 }\n\nextern \"C\" fn init<",
    ),
];

/// Copies the program of `tests/plugins/newer_host` and the changed interface to a folder outside
/// the source tree.
fn lay_out(folder: &Path) {
    let (package, api) = (root().join("tests/plugins/newer_host"), root().join("plugin-api"));
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let shared = &workspace[workspace.find("[workspace.package]").unwrap()..];
    let own = fs::read_to_string(package.join("Cargo.toml")).unwrap();
    write(&folder.join("Cargo.toml"), &format!("{own}\n{shared}"));
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    for file in files(&package.join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        write(&folder.join(file.strip_prefix(&package).unwrap()), &text);
    }
    let mut applied = 0;
    for file in files(&api) {
        let name = file.strip_prefix(&api).unwrap();
        let mut text = fs::read_to_string(&file).unwrap();
        for (_, from, to) in CHANGES.iter().filter(|(file, ..)| name == Path::new(file)) {
            assert_eq!(text.matches(from).count(), 1, "`{from}` in {}", file.display());
            text = text.replace(from, to);
            applied += 1;
        }
        write(&folder.join("api").join(name), &text);
    }
    assert_eq!(applied, CHANGES.len());
}

/// Writes a file unless its content is already the same, so that cargo recompiles only what
/// changed.
fn write(file: &Path, text: &str) {
    if fs::read_to_string(file).is_ok_and(|before| before == text) {
        return;
    }
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .collect()
}

#[test]
fn a_plugin_built_before_the_interface_grew_still_loads() {
    let folder = target().join("tmp/newer_host");
    lay_out(&folder);
    toy::build(&folder);
    let run = Run::of(
        Command::new(target().join("debug/newer-host"))
            .arg(toy::plugin())
            .arg("halves"),
    )
    .success();
    let expected = "\
added constructor: absent
form: halves/1
added method: 41
records: 32
field: side
role and type of a later version: role 99 dtype 99 of 16 bytes
logger: {\"items\":1}
checkpoint: {\"tokenizer\":{\"b\":2},\"folder\":\"\",\"config\":{\"a\":1},\"preprocessor\":null}
adapter extra: {\"later\":true}
event: {\"phase\":{\"name\":\"warmup\"}}
";
    assert_eq!(run.stdout, expected);
}
