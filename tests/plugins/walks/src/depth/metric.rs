//! Depth errors (Eigen et al. 2014, "Depth Map Prediction from a Single Image using a Multi-Scale
//! Deep Network", section 4): per image over its measured pixels, then averaged over the images, as
//! in evaluations on KITTI.

use cvhost_plugin_api::error::{PluginError, Result};

/// abs_rel = mean(|p - t| / t), rmse = √mean((p - t)²) in metres, delta1 = the fraction of pixels
/// with max(p/t, t/p) < 1.25. Pixels with t = 0 were not measured. Empty for an image without
/// measured pixels.
pub fn errors(prediction: &[f32], target: &[f32]) -> Result<Vec<f64>> {
    if prediction.len() != target.len() {
        return Err(PluginError::failed(format!(
            "the predicted depth map has {} pixels, the image {}",
            prediction.len(),
            target.len()
        )));
    }
    let measured = prediction.iter().zip(target).filter(|(_, t)| **t > 0.0);
    let (mut count, mut relative, mut squares, mut close) = (0.0, 0.0, 0.0, 0.0);
    for (p, t) in measured {
        let (p, t) = (f64::from(*p), f64::from(*t));
        count += 1.0;
        relative += (p - t).abs() / t;
        squares += (p - t) * (p - t);
        // A prediction of 0 or less is off by more than any factor.
        close += f64::from(u8::from(p > 0.0 && (p / t).max(t / p) < 1.25));
    }
    Ok(if count > 0.0 {
        vec![relative / count, (squares / count).sqrt(), close / count]
    } else {
        Vec::new()
    })
}
