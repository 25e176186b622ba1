use super::*;
use crate::packed::Packed;
use cvhost_plugin_api::data::TensorHandle;
use tch::{Device, Kind, Tensor};

fn ones(shape: &[i64]) -> Tensor {
    Tensor::ones(shape, (Kind::Float, Device::Cpu))
}

fn parameter(name: &str, aliases: &[&str], shape: &[i64], tags: Tags) -> Parameter {
    let tensor = Tensor::zeros(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true);
    Parameter {
        name: name.into(),
        aliases: aliases.iter().map(|a| (*a).into()).collect(),
        tensor: TensorHandle::new(tensor),
        tags,
        depth: 0,
        extra: Default::default(),
    }
}

fn weights(tensors: Vec<(&str, Tensor)>) -> (tempfile::TempDir, Weights) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let tensors: Vec<(String, Tensor)> = tensors.into_iter().map(|(n, t)| (n.to_owned(), t)).collect();
    Packed::new(&tensors, Vec::new()).unwrap().write(&path).unwrap();
    let weights = Weights::open(&[path]).unwrap();
    (folder, weights)
}

fn sum(parameter: &Parameter) -> f64 {
    parameter.tensor.tensor().sum(Kind::Double).double_value(&[])
}

#[test]
fn names_aliases_and_dtypes_load_in_place() {
    let model = [
        parameter("a", &[], &[2], Tags::NONE),
        parameter("b.new", &["b.older", "b.old"], &[3], Tags::BACKBONE),
        parameter("c", &["c.old"], &[1], Tags::NONE),
        parameter("d.num_batches_tracked", &[], &[1], Tags::BUFFER),
    ];
    let held = model[0].tensor.tensor();
    let (_folder, weights) = weights(vec![
        ("a", ones(&[2]).to_kind(Kind::Half)),
        ("b.old", ones(&[3]).to_kind(Kind::Double)),
        ("c", ones(&[1])),
        ("c.old", ones(&[1]) * 5),
        ("e.num_batches_tracked", Tensor::from(1i64)),
        ("f.position_ids", Tensor::from(1i64)),
    ]);
    let report = load_into(&model, &weights, LoadPolicy::default()).unwrap();
    assert_eq!((report.loaded, report.by_alias), (3, 1));
    assert_eq!(report.rows, []);
    assert_eq!(report.to_initialise, ["d.num_batches_tracked"]);
    assert_eq!(held.sum(Kind::Double).double_value(&[]), 2.0, "the same storage");
    assert!(held.requires_grad() && held.is_leaf());
    assert_eq!((sum(&model[1]), sum(&model[2])), (3.0, 1.0));
    assert_eq!(
        report.to_string(),
        "loaded 3 tensors (1 under other names, such as `b.old` for `b.new`)"
    );
}

#[test]
fn a_head_with_another_class_count_is_reinitialised_and_reported() {
    let model = [
        parameter("body", &[], &[2], Tags::NONE),
        parameter("head.weight", &[], &[4, 2], Tags::CLASS_HEAD),
        parameter("head.bias", &[], &[4], Tags::CLASS_HEAD.and(Tags::NO_DECAY)),
    ];
    let (_folder, weights) = weights(vec![
        ("body", ones(&[2])),
        ("head.weight", ones(&[92, 2])),
        ("extra", ones(&[])),
    ]);
    let report = load_into(&model, &weights, LoadPolicy::default()).unwrap();
    assert_eq!(report.to_initialise, ["head.weight", "head.bias"]);
    assert_eq!(
        report.warning().unwrap(),
        "the model has no parameter for the checkpoint's tensor `extra`; it is ignored"
    );
    let expected = "loaded 1 tensor, 2 re-initialised, 1 unexpected\n  \
        tensor       checkpoint  model\n  \
        head.weight  [92, 2]     [4, 2]  re-initialised: depends on the number of classes\n  \
        head.bias    -           [4]     re-initialised: depends on the number of classes\n  \
        extra        []          -       unexpected, ignored";
    assert_eq!(report.to_string(), expected);
}

#[test]
fn any_other_mismatch_is_an_error_and_nothing_is_copied() {
    let model = [
        parameter("a", &[], &[2], Tags::NONE),
        parameter("b", &[], &[2], Tags::NONE),
        parameter("c", &[], &[2], Tags::NONE),
    ];
    let (_folder, weights) = weights(vec![("a", ones(&[2])), ("b", ones(&[3]))]);
    let text = load_into(&model, &weights, LoadPolicy::default())
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("1 of its 3 tensors are missing, 1 have a different shape"),
        "{text}"
    );
    assert!(
        text.contains("b       [3]         [2]    different shape"),
        "{text}"
    );
    assert!(text.contains("c       -           [2]    missing"), "{text}");
    assert!(
        text.contains("model.safetensors") && text.contains("help: "),
        "{text}"
    );
    assert_eq!(sum(&model[0]), 0.0);
    // Missing tensors may be allowed; different shapes never are.
    let allow = LoadPolicy { allow_missing: true };
    assert!(load_into(&model, &weights, allow).is_err());
    let (_folder, weights) = super::tests::weights(vec![("a", ones(&[2]))]);
    assert_eq!(
        load_into(&model, &weights, allow).unwrap().to_initialise,
        ["b", "c"]
    );
    assert_eq!(sum(&model[0]), 2.0);
}

#[test]
fn a_file_of_another_family_is_reported_as_such() {
    let (_folder, weights) = weights(vec![("x", ones(&[1]))]);
    let model = [parameter("a", &[], &[2], Tags::NONE)];
    let text = load_into(&model, &weights, LoadPolicy::default())
        .unwrap_err()
        .to_string();
    assert!(text.contains("another model family"), "{text}");
}

#[test]
fn from_scratch_everything_is_initialised() {
    let report = LoadReport::from_scratch(&[parameter("a", &[], &[2], Tags::NONE)]);
    assert_eq!(report.to_initialise, ["a"]);
    assert_eq!(report.to_string(), "no weights loaded; 1 tensor initialised");
}
