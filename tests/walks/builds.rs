//! Plugins built outside the workspace reuse its builds of torch-sys and tch, which take minutes.

use cvhost_tests::programs::{built, cargo, target};
use cvhost_tests::{root, third_party};
use serde_json::Value;
use std::collections::BTreeSet;

/// The files of torch-sys and tch that a build uses.
fn libraries(arguments: &[&str]) -> BTreeSet<String> {
    let output = cargo()
        .args([
            "build",
            "--offline",
            "--message-format",
            "json-render-diagnostics",
        ])
        .args(arguments)
        .env("CARGO_BUILD_BUILD_DIR", target())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut found = BTreeSet::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let artifact: Value = serde_json::from_str(line).unwrap_or_default();
        let name = artifact["target"]["name"].as_str().unwrap_or_default();
        if artifact["reason"] == "compiler-artifact" && ["torch_sys", "tch"].contains(&name) {
            let files = artifact["filenames"].as_array().unwrap();
            found.extend(files.iter().map(|f| f.as_str().unwrap().to_owned()));
        }
    }
    found
}

#[test]
fn plugins_outside_the_workspace_reuse_its_build_of_tch() {
    built();
    third_party::built("walks_plugin");
    let workspace = libraries(&["--workspace"]);
    let products = target().join("tmp/third-party");
    let manifest = root().join("tests/plugins/Cargo.toml");
    let outside = libraries(&[
        "--target-dir",
        products.to_str().unwrap(),
        "--manifest-path",
        manifest.to_str().unwrap(),
    ]);
    assert!(workspace.len() >= 2, "{workspace:?}");
    assert_eq!(
        outside, workspace,
        "tests/plugins/alike/Cargo.toml lacks features that the workspace enables for tch's dependencies; \
         `cargo tree --workspace -e normal -f '{{p}} {{f}}'` here and in tests/plugins shows which"
    );
}
