use crate::same_size::{by_layer, groups, is_padded};
use cvhost_plugin_api::data::Meta;
use tch::{Device, Kind, Tensor};

fn metas(sizes: &[(u32, u32)]) -> Vec<Meta> {
    let meta = |&(input_height, input_width): &(u32, u32)| Meta {
        input_height,
        input_width,
        ..Meta::default()
    };
    sizes.iter().map(meta).collect()
}

fn numbered(images: i64, height: i64, width: i64) -> Tensor {
    let index = Tensor::arange(images, (Kind::Float, Device::Cpu)).reshape([images, 1, 1, 1]);
    index.expand([images, 3, height, width], false)
}

#[test]
fn groups_lose_their_padding_and_return_to_batch_order() {
    let metas = metas(&[(4, 6), (5, 3), (4, 6), (5, 3)]);
    let pixel_values = numbered(4, 5, 6);
    assert!(is_padded(&pixel_values, &metas).unwrap());
    let groups = groups(&pixel_values, &metas, 3).unwrap();
    let sizes: Vec<_> = groups.iter().map(|g| g.pixel_values.size()).collect();
    assert_eq!(sizes, [[2, 3, 4, 6], [2, 3, 5, 3]]);

    let states = groups
        .iter()
        .map(|g| vec![g.pixel_values.amax([1, 2, 3], false)])
        .collect();
    let layers = by_layer(&groups, states);
    assert_eq!(layers.len(), 1);
    let order = Vec::<f32>::try_from(&layers[0]).unwrap();
    assert_eq!(order, [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn a_batch_of_one_size_is_not_padded() {
    let metas = metas(&[(5, 6), (5, 6)]);
    assert!(!is_padded(&numbered(2, 5, 6), &metas).unwrap());
    assert!(is_padded(&numbered(3, 5, 6), &metas).is_err());
}
