//! Compares pixels with those of Pillow, recorded by `fixtures/make_pil.py`.

use super::*;

fn fixtures() -> Vec<(String, Vec<u8>, Image)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/pil");
    let mut fixtures = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let answer = folder.join("rgb").join(format!("{name}.png"));
            let answer = image::open(&answer).unwrap().into_rgb8();
            let image = Image::rgb8(answer.width(), answer.height(), answer.into_raw());
            fixtures.push((name, std::fs::read(&path).unwrap(), image));
        }
    }
    fixtures.sort_by(|a, b| a.0.cmp(&b.0));
    fixtures
}

#[test]
fn pixels_equal_pillows_for_every_kind_of_image() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 20, "{} fixtures", fixtures.len());
    for (name, bytes, expected) in fixtures {
        let decoded = decode(&ImageSource::encoded(bytes)).unwrap();
        assert_eq!(
            (decoded.width, decoded.height),
            (expected.width, expected.height),
            "{name}"
        );
        let pairs = decoded.pixels.iter().zip(expected.pixels.iter());
        let differing = pairs.filter(|(a, b)| a != b).count();
        assert_eq!(differing, 0, "{name}: bytes that differ");
    }
}

#[test]
fn the_measured_size_equals_the_decoded_size() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes, expected) in fixtures() {
        let size_of = |source: &ImageSource| size(source).unwrap();
        let path = folder.path().join(&name);
        std::fs::write(&path, &bytes).unwrap();
        let expected = (expected.width, expected.height);
        let file = ImageSource::file(path.to_str().unwrap());
        assert_eq!(size_of(&file), expected, "{name}");
        assert_eq!(
            size_of(&ImageSource::encoded(bytes)),
            expected,
            "{name} in memory"
        );
    }
}

#[test]
fn truncations_of_every_kind_are_errors_or_complete_images() {
    for (name, bytes, expected) in fixtures() {
        for part in 1..40 {
            let truncated = &bytes[..bytes.len() * part / 40];
            match decode_bytes(truncated, None) {
                // Only bytes after the last row are missing.
                Ok(scaled) => assert!(scaled.image == expected, "{name} {part}/40"),
                Err(error) => {
                    let message = error.to_string();
                    assert!(
                        message.contains("truncated or corrupt") || message.contains("not an image"),
                        "{name} {part}/40: {message}"
                    );
                }
            }
            check_promises(truncated).unwrap();
        }
    }
}

#[test]
fn the_fuzz_corpus_violates_no_invariant() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/image");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        check_promises(&bytes).unwrap_or_else(|broken| panic!("{}: {broken}", path.display()));
        count += 1;
    }
    assert!(count >= 30, "{count} files");
}
