use super::*;
use crate::buffer::Buffer;
use cvhost_plugin_api::data::{DType, Meta};

/// Samples of 1×4×4 whose pixels all equal the sample's number, with the classes 0, 1, 2, 3.
fn batch(count: u64) -> HostBatch {
    let item = |name: &str, dims: Vec<u64>, values: Vec<f32>, role| {
        let mut data = Buffer::filled(DType::F32, values.len() as u64, 0.0).unwrap();
        data.elements_mut::<f32>().copy_from_slice(&values);
        HostItem {
            name: name.to_owned(),
            dims,
            data,
            offsets: Vec::new(),
            role,
        }
    };
    let pixels = (0..count).flat_map(|i| [i as f32; 16]).collect();
    let classes = (0..count)
        .flat_map(|i| (0..count).map(move |c| f32::from(u8::from(c == i))))
        .collect();
    let meta = Meta {
        input_width: 4,
        input_height: 4,
        ..Meta::default()
    };
    HostBatch {
        items: vec![
            item("pixel_values", vec![count, 1, 4, 4], pixels, None),
            item("classes", vec![count, count], classes, Some(Role::DISTRIBUTION)),
        ],
        metas: vec![meta; count as usize],
        targets: vec![Fields::new(); count as usize],
        names: (0..count).map(|i| format!("image {i}")).collect(),
    }
}

fn random(batch: u64) -> Random {
    Random::new(1, 2, batch)
}

fn values(batch: &HostBatch, item: usize) -> &[f32] {
    batch.items[item].data.elements::<f32>()
}

#[test]
fn mixup_blends_images_and_distributions_with_the_same_weight() {
    let mut mixed = batch(4);
    let mixing = Mixing::new(0.8, 0.0).unwrap();
    mix(&mut mixed, mixing, &mut random(0)).unwrap();
    let classes = values(&mixed, 1);
    let own = classes[0];
    assert!(own > 0.0 && own < 1.0, "{own}");
    assert_eq!(&classes[..4], [own, 0.0, 0.0, 1.0 - own]);
    assert_eq!(&classes[4..8], [0.0, own, 1.0 - own, 0.0]);
    let pixels = values(&mixed, 0);
    assert!((pixels[0] - 3.0 * (1.0 - own)).abs() < 1e-6, "{}", pixels[0]);
    assert!((pixels[48] - 3.0 * own).abs() < 1e-6);
}

#[test]
fn cutmix_pastes_a_rectangle_and_weights_by_its_area() {
    let mixing = Mixing::new(0.0, 1.0).unwrap();
    let mut areas = Vec::new();
    for number in 0..20 {
        let mut mixed = batch(4);
        mix(&mut mixed, mixing, &mut random(number)).unwrap();
        let pixels = &values(&mixed, 0)[..16];
        assert!(pixels.iter().all(|v| [0.0, 3.0].contains(v)), "{pixels:?}");
        let pasted = pixels.iter().filter(|v| **v == 3.0).count();
        let classes = &values(&mixed, 1)[..4];
        assert!((f64::from(classes[3]) - pasted as f64 / 16.0).abs() < 1e-6);
        assert!((classes.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        areas.push(pasted);
    }
    areas.sort_unstable();
    areas.dedup();
    assert!(areas.len() > 3, "{areas:?}");
}

#[test]
fn the_middle_sample_of_an_odd_number_is_unchanged() {
    let mut mixed = batch(3);
    mix(&mut mixed, Mixing::new(1.0, 0.0).unwrap(), &mut random(0)).unwrap();
    assert_eq!(&values(&mixed, 0)[16..32], [1.0; 16]);
    assert_eq!(&values(&mixed, 1)[3..6], [0.0, 1.0, 0.0]);
    assert_ne!(values(&mixed, 0)[0], 0.0);
}

#[test]
fn mixing_is_deterministic() {
    let mixing = Mixing::new(0.4, 0.7).unwrap();
    let mixed = |number| {
        let mut batch = batch(4);
        mix(&mut batch, mixing, &mut random(number)).unwrap();
        batch
    };
    assert_eq!(mixed(5), mixed(5));
    assert_ne!(mixed(5), mixed(6));
}

#[test]
fn images_of_different_sizes_and_boxes_are_rejected() {
    let mixing = Mixing::new(1.0, 0.0).unwrap();
    let mut uneven = batch(4);
    uneven.metas[2].input_width = 3;
    let error = mix(&mut uneven, mixing, &mut random(0)).unwrap_err().to_string();
    assert!(error.contains("image 2 is 3x4 in a batch of 4x4"), "{error}");
    let mut bytes = batch(4);
    bytes.items[0].data = Buffer::filled(DType::U8, 64, 0.0).unwrap();
    let error = mix(&mut bytes, mixing, &mut random(0)).unwrap_err().to_string();
    assert!(
        error.contains("`pixel_values` with type and shape u8[4, 1, 4, 4] can't be mixed"),
        "{error}"
    );
    let mut ragged = batch(4);
    ragged.items[1].offsets = vec![0, 1, 2, 3, 4];
    assert!(mix(&mut ragged, mixing, &mut random(0)).is_err());
    let mut boxes = batch(4);
    boxes.items[1].role = Some(Role::BOXES);
    let error = mix(&mut boxes, mixing, &mut random(0)).unwrap_err().to_string();
    assert!(error.contains("`classes` (boxes) can't be mixed"), "{error}");
}

#[test]
fn only_distributions_without_positions_fit() {
    use cvhost_plugin_api::data::Array;
    let distribution = Fields::new().with("c", Role::DISTRIBUTION, Array::vector(&[1.0f32]));
    assert!(Mixing::fits(&distribution));
    assert!(!Mixing::fits(&Fields::new()));
    assert!(!Mixing::fits(&distribution.with(
        "b",
        Role::BOXES,
        Array::rows(&[[0.0f32; 4]])
    )));
    assert_eq!(Mixing::new(0.0, 0.0), None);
}
