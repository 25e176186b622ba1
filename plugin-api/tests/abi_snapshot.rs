//! The layout of everything that crosses, as a text file. A change of it needs a version of the
//! interface and a line in the changelog; `cargo xtask abi-snapshot` checks that, and
//! `cargo xtask abi-snapshot --update` writes the file.

use abi_stable::StableAbi;
use abi_stable::type_layout::TypeLayout;
use cvhost_plugin_api::PluginError;
use cvhost_plugin_api::abi::*;
use cvhost_plugin_api::data::{
    ArrayMut, Artifact, Batch, CollateRule, Fields, Image, LabelSpec, LogItem, Meta, MetricInfo, Output,
    Parameter, Prepared, Problem, Record, RecordMeta, Repair, Report, Sample, Shape, Status,
};
use cvhost_plugin_api::note::API_VERSION;
use std::collections::BTreeMap;
use std::path::Path;

/// A block per type: its size, alignment and fields with their types, sorted by the type's name.
fn snapshot() -> String {
    let mut types = BTreeMap::new();
    macro_rules! roots {
        ($($root:ty),* $(,)?) => {
            $(describe(<$root as StableAbi>::LAYOUT, &mut types);)*
        };
    }
    // What is a parameter or a result only isn't reached from the modules.
    roots![
        PluginRef,
        HostRef,
        TaskBox,
        DataSetBox,
        EvaluatorBox,
        AdapterBox,
        InputBox,
        ModelBox,
        LoggerBox,
        NewArgsRef<'static>,
        OpenArgsRef<'static>,
        RecordArgsRef,
        ExpandArgsRef<'static>,
        EvaluatorArgsRef<'static>,
        PredictionArgsRef<'static>,
        AdapterArgsRef<'static>,
        ShapeArgsRef,
        PrepareArgsRef<'static>,
        FinishArgsRef<'static>,
        StepContextRef<'static>,
        RunInfoRef<'static>,
        ArrayMut<'static>,
        Artifact,
        Batch,
        CollateRule,
        Fields,
        Image,
        LabelSpec,
        LogItem,
        Meta,
        MetricInfo,
        Output,
        Parameter,
        Prepared,
        Problem,
        Record,
        RecordMeta,
        Repair,
        Report,
        Sample,
        Shape,
        Status,
        PluginError,
    ];
    let blocks: Vec<String> = types.into_values().collect();
    format!("interface {API_VERSION}\n\n{}", blocks.join("\n"))
}

fn describe(layout: &'static TypeLayout, types: &mut BTreeMap<String, String>) {
    let name = layout.full_type().to_string();
    if types.contains_key(&name) {
        return;
    }
    types.insert(name.clone(), String::new());
    let mut text = format!(
        "{name}: {} bytes, alignment {}\n",
        layout.size(),
        layout.alignment()
    );
    for field in layout.get_fields().into_iter().flatten() {
        text += &format!("    {}: {}\n", field.name(), field.full_type());
        for function in field.function_range().iter() {
            text += &format!("        {function}\n");
        }
        describe(field.layout(), types);
    }
    types.insert(name, text);
}

#[test]
fn a_layout_changes_only_with_a_version_and_a_line_in_the_changelog() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = folder.join("abi.txt");
    let current = snapshot();
    if std::env::var_os("CVHOST_UPDATE_ABI").is_some() {
        std::fs::write(&file, &current).unwrap();
    }
    let stored = std::fs::read_to_string(&file).unwrap();
    let difference = current
        .lines()
        .zip(stored.lines())
        .find(|(now, before)| now != before);
    assert!(
        current == stored,
        "the layout of the interface differs from {}, first in {difference:?}. Raise the version in \
         plugin-api/Cargo.toml, describe the change in CHANGELOG.md, and run `cargo xtask abi-snapshot --update`",
        file.display()
    );
    let changelog = std::fs::read_to_string(folder.join("../CHANGELOG.md")).unwrap();
    assert!(
        changelog.contains(&format!("plugin-api {API_VERSION}")),
        "CHANGELOG.md has no line about `plugin-api {API_VERSION}`"
    );
}
