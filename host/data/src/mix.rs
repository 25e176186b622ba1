//! Mixes pairs of samples, by role alone: images by blending or pasting, class distributions by
//! weighted averages.
//!
//! Mixing operates on the finished batch, as in both reference implementations: there, both
//! partners have the same size, and the mixed image is exactly what the model sees.

use crate::random::Random;
use crate::{HostBatch, HostItem};
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::{DType, Fields, Role};

/// How the samples of a batch are mixed. An alpha of 0 disables the method; if both are enabled,
/// each batch uses one of them at random.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixing {
    /// Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization": images and distributions are
    /// blended with a weight from Beta(alpha, alpha).
    pub mixup_alpha: f64,
    /// Yun et al. 2019, "CutMix": a rectangle, whose fraction of the image area is drawn from
    /// Beta(alpha, alpha), is replaced by the partner's; distributions are blended in proportion to
    /// the areas.
    pub cutmix_alpha: f64,
}

impl Mixing {
    /// The mixing for these settings; `None` if both are 0.
    pub fn new(mixup_alpha: f64, cutmix_alpha: f64) -> Option<Self> {
        (mixup_alpha > 0.0 || cutmix_alpha > 0.0).then_some(Mixing {
            mixup_alpha,
            cutmix_alpha,
        })
    }

    /// Whether targets can be mixed: they contain a distribution and no fields with positions in
    /// the image.
    pub fn fits(targets: &Fields) -> bool {
        let has = |role| targets.items.iter().any(|f| f.role == role);
        has(Role::DISTRIBUTION) && targets.items.iter().all(|f| mixable(f.role))
    }
}

fn mixable(role: Role) -> bool {
    matches!(role, Role::DISTRIBUTION | Role::OPAQUE)
}

/// The mixing drawn for one batch.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mix {
    /// The weight of a sample's own image.
    Blend(f64),
    /// The rectangle taken from the partner: left, top, right, bottom, in pixels of the input.
    Paste([usize; 4]),
}

/// Mixes each sample of a batch with its partner: the first with the last, the second with the
/// second last, and so on. The epoch's order is random, so the pairs are random, too. The middle
/// sample of an odd number remains unchanged.
///
/// # Errors
/// If the main input isn't f32 `[N, C, H, W]` without padding, or a prepared field can't be mixed.
pub fn mix(batch: &mut HostBatch, mixing: Mixing, random: &mut Random) -> Result<()> {
    let [height, width] = main_size(batch)?;
    check(batch)?;
    let mix = draw(mixing, [height, width], random);
    let own = match mix {
        Mix::Blend(own) => own,
        Mix::Paste([left, top, right, bottom]) => {
            1.0 - ((right - left) * (bottom - top)) as f64 / (height * width).max(1) as f64
        }
    };
    for (index, item) in batch.items.iter_mut().enumerate() {
        match (index, item.role) {
            (0, _) => mix_images(item, mix, width, height),
            (_, Some(Role::DISTRIBUTION)) => blend(item, own),
            (_, None | Some(Role::OPAQUE)) => {}
            (_, Some(role)) => {
                return Err(
                    Error::failed(format!("`{}` ({role:?}) can't be mixed", item.name))
                        .with_help("set model.mixup_alpha and model.cutmix_alpha to 0"),
                );
            }
        }
    }
    Ok(())
}

/// Checks that all mixed items are f32 with one row per sample.
fn check(batch: &HostBatch) -> Result<()> {
    let mixed = |(index, item): &(usize, &HostItem)| *index == 0 || item.role == Some(Role::DISTRIBUTION);
    for (_, item) in batch.items.iter().enumerate().filter(mixed) {
        let rows = item.dims.first().copied().unwrap_or(0) as usize;
        if item.data.dtype() != DType::F32 || rows != batch.len() || !item.offsets.is_empty() {
            return Err(Error::failed(format!(
                "`{}` with type and shape {:?}{:?} can't be mixed in a batch of {}",
                item.name,
                item.data.dtype(),
                item.dims,
                batch.len()
            ))
            .with_expected("f32 with one row per sample")
            .with_help("set model.mixup_alpha and model.cutmix_alpha to 0"));
        }
    }
    Ok(())
}

/// The common height and width of the batch's samples.
fn main_size(batch: &HostBatch) -> Result<[usize; 2]> {
    let main = batch.items.first();
    let dims = main.map(|i| i.dims.as_slice()).unwrap_or_default();
    let &[_, _, height, width] = dims else {
        return Err(
            Error::failed(format!("a main input of shape {dims:?} can't be mixed"))
                .with_expected("[N, C, H, W]"),
        );
    };
    let full = |m: &cvhost_plugin_api::data::Meta| {
        (u64::from(m.input_height), u64::from(m.input_width)) == (height, width)
    };
    if let Some((meta, name)) = batch.metas.iter().zip(&batch.names).find(|(m, _)| !full(m)) {
        return Err(Error::input(format!(
            "images of different sizes can't be mixed: {name} is {}x{} in a batch of {width}x{height}",
            meta.input_width, meta.input_height
        ))
        .with_help(
            "give all images the same size with data.image_size=[height, width], or set \
             model.mixup_alpha to 0",
        ));
    }
    Ok([height as usize, width as usize])
}

fn draw(mixing: Mixing, [height, width]: [usize; 2], random: &mut Random) -> Mix {
    let both = mixing.mixup_alpha > 0.0 && mixing.cutmix_alpha > 0.0;
    let cutmix = if both {
        random.probability(0.5)
    } else {
        mixing.cutmix_alpha > 0.0
    };
    if !cutmix {
        return Mix::Blend(random.beta(mixing.mixup_alpha));
    }
    // The rectangle has the image's aspect ratio and a random centre; it is clipped at the edges.
    let side = (1.0 - random.beta(mixing.cutmix_alpha)).sqrt();
    let mut span = |length: usize| {
        let half = length as f64 * side / 2.0;
        let centre = random.uniform(0.0, length as f64);
        let end = |at: f64| at.round().clamp(0.0, length as f64) as usize;
        (end(centre - half), end(centre + half))
    };
    let ((left, right), (top, bottom)) = (span(width), span(height));
    Mix::Paste([left, top, right, bottom])
}

fn mix_images(item: &mut HostItem, mix: Mix, width: usize, height: usize) {
    match mix {
        Mix::Blend(own) => blend(item, own),
        Mix::Paste([left, top, right, bottom]) => for_partners(item, |sample, partner| {
            let planes = sample.chunks_mut((width * height).max(1));
            for (plane, other) in planes.zip(partner.chunks_mut((width * height).max(1))) {
                for row in top..bottom {
                    let part = row * width + left..row * width + right;
                    if let (Some(a), Some(b)) = (plane.get_mut(part.clone()), other.get_mut(part)) {
                        a.swap_with_slice(b);
                    }
                }
            }
        }),
    }
}

/// Computes `own · sample + (1 - own) · partner` for both samples of each pair.
fn blend(item: &mut HostItem, own: f64) {
    let (own, other) = (own as f32, (1.0 - own) as f32);
    for_partners(item, |sample, partner| {
        for (a, b) in sample.iter_mut().zip(partner) {
            (*a, *b) = (own * *a + other * *b, own * *b + other * *a);
        }
    });
}

/// Calls `f` with the elements of each pair of partners. The item must have passed [`check`].
fn for_partners(item: &mut HostItem, f: impl Fn(&mut [f32], &mut [f32])) {
    let count = item.dims.first().copied().unwrap_or(0) as usize;
    let size = item.dims.iter().skip(1).product::<u64>() as usize;
    let (first, second) = item
        .data
        .elements_mut::<f32>()
        .split_at_mut_checked(count.div_ceil(2) * size)
        .unwrap_or_default();
    if size == 0 {
        return;
    }
    // The second half is traversed backwards: its last sample is the first one's partner. The
    // middle sample of an odd number is left out.
    for (sample, partner) in first.chunks_mut(size).zip(second.chunks_mut(size).rev()) {
        f(sample, partner);
    }
}

#[cfg(test)]
mod tests;
