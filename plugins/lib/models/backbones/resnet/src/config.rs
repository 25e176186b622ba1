//! ResNet architectures, from transformers' `config.json` or timm model names.

use crate::names::Naming;
use cvhost_layers::Activation;
use cvhost_layers::config_json::{LARGEST, invalid, read, size};
use cvhost_plugin_api::error::{PluginError, Result};
use serde_json::Value;

/// The type of a residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// Convolutions 1×1, 3×3, 1×1.
    Bottleneck,
}

/// The architecture of a ResNet.
#[derive(Debug, Clone, PartialEq)]
pub struct ResNetConfig {
    pub naming: Naming,
    pub block: Block,
    /// Output channels of the stem.
    pub embedding_size: i64,
    /// Output channels of each stage; `depths` are their numbers of blocks.
    pub hidden_sizes: Vec<i64>,
    pub depths: Vec<i64>,
    pub downsample_in_first_stage: bool,
    /// Puts a bottleneck's stride into its first convolution instead of the 3×3 one.
    pub downsample_in_bottleneck: bool,
    /// Stages that would exceed this stride use dilation instead.
    pub output_stride: i64,
    /// The stage whose feature map is the output, counted from 0.
    pub output_stage: usize,
    /// Applied after the stem and after each block.
    pub activation: Activation,
}

impl ResNetConfig {
    /// The ResNet with this timm name; `own` may have `out_indices`. Errors name keys with the
    /// prefix `place`, e.g. `backbone_config.`.
    pub fn timm(name: &str, own: &Value, output_stride: i64, place: &str) -> Result<Self> {
        let short = name.rsplit('/').next().unwrap_or(name);
        let (block, depths) = match short.replacen("resnet-", "resnet", 1).as_str() {
            "resnet18" => (Block::Basic, vec![2, 2, 2, 2]),
            "resnet34" => (Block::Basic, vec![3, 4, 6, 3]),
            "resnet50" => (Block::Bottleneck, vec![3, 4, 6, 3]),
            "resnet101" => (Block::Bottleneck, vec![3, 4, 23, 3]),
            "resnet152" => (Block::Bottleneck, vec![3, 8, 36, 3]),
            _ => {
                return Err(PluginError::unsupported(format!(
                    "config.json: backbone \"{name}\": expected resnet18, resnet34, resnet50, resnet101 or \
                     resnet152"
                )));
            }
        };
        if ![8, 16, 32].contains(&output_stride) {
            return Err(invalid(
                &format!("{place}output_stride"),
                format!("8, 16 or 32, got {output_stride}"),
            ));
        }
        let expansion = if block == Block::Basic { 1 } else { 4 };
        let indices: Vec<i64> = read(own, "out_indices", vec![1, 2, 3, 4])?;
        Ok(ResNetConfig {
            naming: Naming::Timm,
            block,
            embedding_size: 64,
            hidden_sizes: [64, 128, 256, 512].map(|c| c * expansion).to_vec(),
            depths,
            downsample_in_first_stage: false,
            downsample_in_bottleneck: false,
            output_stride,
            output_stage: stage_of(&indices, 4, place)?,
            activation: Activation::Relu,
        })
    }

    /// Reads transformers' ResNetConfig. Errors name keys with the prefix `place`.
    pub fn hugging_face(own: &Value, place: &str) -> Result<Self> {
        let hidden_sizes: Vec<i64> = read(own, "hidden_sizes", vec![256, 512, 1024, 2048])?;
        let depths: Vec<i64> = read(own, "depths", vec![3, 4, 6, 3])?;
        let stages = hidden_sizes.len();
        let sizes_fit = hidden_sizes
            .iter()
            .chain(&depths)
            .all(|v| (1..=LARGEST).contains(v));
        if stages == 0 || stages != depths.len() || !sizes_fit {
            return Err(invalid(
                &format!("{place}hidden_sizes"),
                format!(
                    "the same number of values as depths, all from 1 to {LARGEST}, got \
                     {hidden_sizes:?} and depths {depths:?}"
                ),
            ));
        }
        let layer_type: String = read(own, "layer_type", "bottleneck".into())?;
        Ok(ResNetConfig {
            naming: Naming::HuggingFace,
            block: match layer_type.as_str() {
                "basic" => Block::Basic,
                "bottleneck" if hidden_sizes.iter().all(|c| c % 4 == 0) => Block::Bottleneck,
                "bottleneck" => {
                    let expected = format!("multiples of 4 for bottleneck layers, got {hidden_sizes:?}");
                    return Err(invalid(&format!("{place}hidden_sizes"), expected));
                }
                other => {
                    let expected = format!("basic or bottleneck, got {other}");
                    return Err(invalid(&format!("{place}layer_type"), expected));
                }
            },
            embedding_size: size(own, "embedding_size", 64)?,
            output_stage: output_stage(own, stages, place)?,
            hidden_sizes,
            depths,
            downsample_in_first_stage: read(own, "downsample_in_first_stage", false)?,
            downsample_in_bottleneck: read(own, "downsample_in_bottleneck", false)?,
            // There is no such key: every stage except the first halves the resolution, without a
            // limit.
            output_stride: i64::MAX,
            activation: Activation::read(own, "hidden_act", Activation::Relu)?,
        })
    }

    /// Stride of the output feature map in image pixels: 4 for the stem, times 2 for each stage
    /// that halves the resolution.
    pub fn stride(&self) -> i64 {
        let mut reached = 4i64;
        for stage in 0..=self.output_stage {
            let halves = stage > 0 || self.downsample_in_first_stage;
            if halves && (reached < self.output_stride || stage == 0) {
                reached = reached.saturating_mul(2);
            }
        }
        reached
    }

    /// Channels of the output feature map.
    pub fn output_channels(&self) -> i64 {
        self.hidden_sizes.get(self.output_stage).copied().unwrap_or(1)
    }
}

/// The stage, counted from 0, of the last of `out_features`, or of `out_indices` if no features are
/// named.
fn output_stage(own: &Value, stages: usize, place: &str) -> Result<usize> {
    let names: Vec<String> = read(own, "out_features", Vec::new())?;
    let Some(name) = names.last() else {
        return stage_of(&read(own, "out_indices", Vec::new())?, stages, place);
    };
    name.strip_prefix("stage")
        .and_then(|number| number.parse::<usize>().ok())
        .filter(|number| (1..=stages).contains(number))
        .map(|number| number - 1)
        .ok_or_else(|| {
            let expected = format!("stage1 to stage{stages}, got {name}");
            invalid(&format!("{place}out_features"), expected)
        })
}

/// The stage, counted from 0, of the last of `out_indices`, in which 0 is the stem and negative
/// values count from the end.
fn stage_of(indices: &[i64], stages: usize, place: &str) -> Result<usize> {
    let Some(&last) = indices.last() else {
        return Ok(stages - 1);
    };
    let index = if last < 0 { last + stages as i64 + 1 } else { last };
    usize::try_from(index - 1)
        .ok()
        .filter(|stage| *stage < stages)
        .ok_or_else(|| {
            let expected = format!("the last index to be from 1 to {stages}, got {last}");
            invalid(&format!("{place}out_indices"), expected)
        })
}
