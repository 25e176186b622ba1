//! Targets and batches for classification cases.

use super::Case;
use cvhost_plugin_api::data::{Array, Batch, Fields, Role};
use cvhost_plugin_api::torch::batch_item;
use tch::{Kind, Tensor};

/// The class distribution of image `i`, as a task would provide it.
pub(super) fn targets(case: &Case, i: usize) -> Fields {
    let values = Vec::<f32>::try_from(distributions(case).get(i as i64)).unwrap();
    Fields::new().with("class_distribution", Role::DISTRIBUTION, Array::vector(&values))
}

/// The reference's own input and labels.
pub(super) fn reference_batch(case: &Case) -> Batch {
    let items = vec![
        batch_item("pixel_values", case.tensor("input.pixel_values").copy(), vec![]),
        batch_item("class_distribution", distributions(case), vec![]),
    ];
    Batch {
        items: items.into(),
        metas: case.batch(case.records()).metas.into(),
        extra: Default::default(),
    }
}

/// One-hot labels `[N, C]` f32.
fn distributions(case: &Case) -> Tensor {
    let classes = case.spec.names.len() as i64;
    case.tensor("labels").one_hot(classes).to_kind(Kind::Float)
}
