use super::*;

fn write(header: &str, data: usize) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend((0..data).map(|i| i as u8));
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn error_of(header: &str, data: usize) -> String {
    let (_folder, path) = write(header, data);
    let text = Weights::open(&[path]).unwrap_err().to_string();
    assert!(text.contains("model.safetensors"), "names the file: {text}");
    text
}

#[test]
fn tensors_of_all_dtypes_are_read() {
    let header = r#"{"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[2],"data_offsets":[8,10]},
        "a":{"dtype":"I32","shape":[2,1],"data_offsets":[0,8]},"h":{"dtype":"BF16","shape":[],"data_offsets":[10,12]}}"#;
    let (_folder, path) = write(header, 12);
    let weights = Weights::open(&[path]).unwrap();
    assert_eq!(weights.names(), ["a", "b", "h"]);
    assert_eq!(weights.shape("a"), Some(vec![2, 1]));
    assert_eq!(Vec::<u8>::try_from(weights.read("b").unwrap()).unwrap(), [8, 9]);
    let a = weights.read("a").unwrap();
    assert_eq!(a.kind(), Kind::Int);
    assert_eq!(a.int64_value(&[1, 0]), 0x0706_0504);
    assert_eq!(weights.read("h").unwrap().kind(), Kind::BFloat16);
    assert!(
        weights
            .read("c")
            .unwrap_err()
            .to_string()
            .contains("no tensor `c`")
    );
}

#[test]
fn invalid_files_are_refused_with_file_and_tensor() {
    let entry = |shape: &str, begin: u64, end: u64| {
        format!(r#"{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#)
    };
    let one =
        |name: &str, shape: &str, begin: u64, end: u64| format!(r#""{name}":{}"#, entry(shape, begin, end));
    for (header, data, expected) in [
        (
            format!("{{{}}}", one("w", "[4]", 0, 16)),
            12,
            "`w`: bytes 0..16 are not within",
        ),
        (
            format!("{{{}}}", one("w", "[3]", 0, 16)),
            16,
            "`w`: F32 of shape [3] needs 12 bytes",
        ),
        (
            format!("{{{}}}", one("w", "[4]", 0, 16)),
            20,
            "20 bytes of data, but its tensors only need 16",
        ),
        (
            format!("{{{},{}}}", one("v", "[4]", 0, 16), one("w", "[4]", 8, 24)),
            24,
            "`v` and `w` overlap",
        ),
        (
            format!("{{{},{}}}", one("v", "[1]", 0, 4), one("w", "[1]", 8, 12)),
            12,
            "4..8 before tensor `w`",
        ),
        (
            format!("{{{},{}}}", one("w", "[1]", 0, 4), one("w", "[1]", 4, 8)),
            8,
            "`w` occurs twice",
        ),
        (
            format!("{{{}}}", one("w", "[9223372036854775807,4]", 0, 0)),
            0,
            "`w`: the size of shape",
        ),
        (format!("{{{}}}", one("w", "[-1]", 0, 4)), 4, "tensor `w`"),
        (format!("{{{}}}", one("w", "[1]", 4, 0)), 4, "`w`: bytes 4..0"),
        (
            r#"{"w":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#.into(),
            4,
            "tensor `w`",
        ),
        ("[]".into(), 0, "its header is invalid"),
        ("{} x".into(), 0, "its header is invalid"),
    ] {
        let text = error_of(&header, data);
        assert!(text.contains(expected), "{expected:?} in {text:?}");
    }
}

#[test]
fn oversized_headers_and_a_million_tensors_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
    let text = Weights::open(std::slice::from_ref(&path))
        .unwrap_err()
        .to_string();
    assert!(text.contains("at most 100000000 are allowed"), "{text}");
    std::fs::write(&path, 5000u64.to_le_bytes()).unwrap();
    assert!(
        Weights::open(std::slice::from_ref(&path))
            .unwrap_err()
            .to_string()
            .contains("the file ends after 8")
    );
    std::fs::write(&path, "abc").unwrap();
    assert!(
        Weights::open(&[path])
            .unwrap_err()
            .to_string()
            .contains("at least 8")
    );

    let entries: Vec<String> = (0..1_000_000)
        .map(|i| format!(r#""{i}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    assert!(error_of(&format!("{{{}}}", entries.join(",")), 0).contains("more than 100000 tensors"));
}

#[test]
fn a_name_in_two_shards_is_refused() {
    let header = r#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#;
    let ((_a, first), (_b, second)) = (write(header, 1), write(header, 1));
    let text = Weights::open(&[first, second]).unwrap_err().to_string();
    assert!(text.contains("tensor `w` is also in"), "{text}");
}

#[test]
fn a_file_truncated_after_opening_is_an_error() {
    let (_folder, path) = write(r#"{"w":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#, 16);
    let weights = Weights::open(std::slice::from_ref(&path)).unwrap();
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(20)
        .unwrap();
    assert!(weights.read("w").unwrap_err().to_string().contains("tensor `w`"));
}

#[test]
fn a_dtype_without_torch_equivalent_is_named() {
    let (_folder, path) = write(r#"{"w":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}"#, 8);
    let text = Weights::open(&[path]).unwrap().read("w").unwrap_err().to_string();
    assert!(text.contains("`w` has dtype U64"), "{text}");
}
