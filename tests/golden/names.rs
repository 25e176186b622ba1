//! Tensor names and shapes of well-known checkpoints.

use cvhost_checkpoint::ModelFolder;
use cvhost_engine::session::checkpoint_spec;
use cvhost_tests::fixture;
use cvhost_tests::golden::{CLASSIFICATION, DETECTION, network};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[test]
fn well_known_checkpoints_map_without_a_missing_or_unexpected_tensor() {
    for (name, form, classes) in [
        ("facebook--detr-resnet-50", DETECTION, 91),
        ("hustvl--yolos-tiny", DETECTION, 91),
        ("hustvl--yolos-small", DETECTION, 91),
        ("google--vit-base-patch16-224", CLASSIFICATION, 1000),
        ("microsoft--resnet-50", CLASSIFICATION, 1000),
    ] {
        let text = std::fs::read_to_string(fixture(&format!("names/{name}.json"))).unwrap();
        let mut listing: Value = serde_json::from_str(&text).unwrap();
        let labels: serde_json::Map<String, Value> = (0..classes)
            .map(|i| (i.to_string(), json!(format!("LABEL_{i}"))))
            .collect();
        listing["config"]["id2label"] = Value::Object(labels);
        listing["config"]["num_labels"] = json!(classes);
        let mut folder = ModelFolder::open(&fixture("golden/detr")).unwrap();
        folder.config = listing["config"].clone();
        let spec = checkpoint_spec(form, &folder).unwrap();
        assert_eq!(spec.names.len(), classes);
        let network = network(&listing["config"], &spec);
        let mut left: BTreeSet<String> = listing["tensors"].as_object().unwrap().keys().cloned().collect();
        for parameter in network.parameters() {
            let names = std::iter::once(&parameter.name).chain(&parameter.aliases);
            let found = names.map(ToString::to_string).find(|n| left.remove(n));
            let found =
                found.unwrap_or_else(|| panic!("{name}: `{}` is missing in the file", parameter.name));
            let shape: Vec<i64> = serde_json::from_value(listing["tensors"][&found][1].clone()).unwrap();
            assert_eq!(parameter.tensor.tensor().size(), shape, "{name}: {found}");
            assert_eq!(
                parameter.name, found,
                "{name}: saved under another name than it was read from"
            );
        }
        assert!(left.is_empty(), "{name}: unexpected {left:?}");
    }
}
