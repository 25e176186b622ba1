//! The ResNet that turns pictures into feature maps (He et al. 2016, "Deep Residual Learning"), with batch norms that are
//! frozen: DETR's batches are too small to keep statistics.

use crate::config::{Activation, BackboneConfig, Block, Naming};
use crate::names::{PREFIX, Place};
use cvhost_plugin_api::data::Tags;
use cvhost_plugin_api::torch::{Init, Scope};
use std::collections::HashMap;
use tch::{Tensor, no_grad};

const EPSILON: f64 = 1e-5;

pub struct Backbone {
    stem: ConvNorm,
    stages: Vec<Vec<Residual>>,
    output_stage: usize,
    activation: Activation,
}

impl Backbone {
    /// Builds it below `root`. `aliases` gets, for each name, the name that the tensor has in the other naming.
    pub fn new(root: &Scope, config: &BackboneConfig, aliases: &mut HashMap<String, String>) -> Self {
        let mut builder = Builder {
            scope: root.sub(PREFIX).tagged(Tags::BACKBONE),
            config,
            aliases,
        };
        // A timm backbone ends at the stage that is read; Hugging Face's has, and saves, all of them.
        let stages = match config.naming {
            Naming::HuggingFace => config.hidden_sizes.len(),
            Naming::Timm => config.output_stage + 1,
        };
        Backbone {
            stem: builder.conv_norm(
                Place::Stem,
                3,
                config.embedding_size,
                Kernel {
                    size: 7,
                    stride: 2,
                    dilation: 1,
                },
            ),
            stages: builder.stages(stages),
            output_stage: config.output_stage,
            activation: config.activation,
        }
    }

    /// `pixel_values` `[N, 3, H, W]` to the last feature map `[N, C, H / 32, W / 32]` (rounded up).
    pub fn forward(&self, pixel_values: &Tensor, train: bool) -> Tensor {
        let stem = self.activation.apply(self.stem.forward(pixel_values, train));
        let mut x = stem.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false);
        for stage in self.stages.iter().take(self.output_stage + 1) {
            for block in stage {
                x = block.forward(&x, self.activation, train);
            }
        }
        x
    }
}

/// A residual block: `activation(layers(x) + shortcut(x))`.
struct Residual {
    layers: Vec<ConvNorm>,
    /// Where the shape changes; the input itself otherwise.
    shortcut: Option<ConvNorm>,
}

impl Residual {
    fn forward(&self, input: &Tensor, activation: Activation, train: bool) -> Tensor {
        let mut x = input.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, train);
            if index + 1 < self.layers.len() {
                x = activation.apply(x);
            }
        }
        match &self.shortcut {
            Some(shortcut) => x += shortcut.forward(input, train),
            None => x += input,
        }
        activation.apply(x)
    }
}

#[derive(Clone, Copy)]
struct Kernel {
    size: i64,
    stride: i64,
    dilation: i64,
}

/// A convolution and the frozen batch norm after it.
struct ConvNorm {
    weight: Tensor,
    norm: FrozenBatchNorm,
    kernel: Kernel,
}

impl ConvNorm {
    /// The norm is linear. Outside of training it goes into the convolution, `(w ∗ x) · scale + shift = (w · scale) ∗ x + shift`,
    /// which spares two passes over the feature map. In training that would round the gradients of `w` in another order than
    /// the reference does, and AdamW makes whole steps out of the signs of the smallest ones.
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let (scale, shift) = self.norm.scale_and_shift();
        if !train {
            return self.convolve(x, &(&self.weight * scale.reshape([-1, 1, 1, 1])), Some(shift));
        }
        let mut y = self.convolve(x, &self.weight, None);
        y *= scale.reshape([-1, 1, 1]);
        y += shift.reshape([-1, 1, 1]);
        y
    }

    fn convolve(&self, x: &Tensor, weight: &Tensor, bias: Option<Tensor>) -> Tensor {
        let Kernel {
            size,
            stride,
            dilation,
        } = self.kernel;
        let padding = dilation * (size - 1) / 2;
        x.conv2d(
            weight,
            bias,
            [stride, stride],
            [padding, padding],
            [dilation, dilation],
            1,
        )
    }
}

/// Batch norm whose statistics, weight and bias are fixed: all four are buffers.
struct FrozenBatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl FrozenBatchNorm {
    fn scale_and_shift(&self) -> (Tensor, Tensor) {
        no_grad(|| {
            let scale = &self.weight * (&self.running_var + EPSILON).rsqrt();
            let shift = &self.bias - &self.running_mean * &scale;
            (scale, shift)
        })
    }
}

struct Builder<'a> {
    scope: Scope,
    config: &'a BackboneConfig,
    aliases: &'a mut HashMap<String, String>,
}

impl Builder<'_> {
    /// Each stage but the first halves the resolution in its first block, until `output_stride` is reached; from there on
    /// the 3×3 convolutions dilate instead, from the second block on.
    fn stages(&mut self, count: usize) -> Vec<Vec<Residual>> {
        let config = self.config;
        let mut inputs = config.embedding_size;
        let (mut reached, mut dilation) = (4, 1);
        let mut stages = Vec::with_capacity(count);
        for (stage, (&outputs, &depth)) in config
            .hidden_sizes
            .iter()
            .zip(&config.depths)
            .enumerate()
            .take(count)
        {
            self.scope = self.scope.at_depth(stage as u32 + 1);
            let halves = stage > 0 || config.downsample_in_first_stage;
            let first_dilation = dilation;
            let stride = match (halves, reached < config.output_stride || stage == 0) {
                (true, true) => {
                    reached *= 2;
                    2
                }
                (true, false) => {
                    dilation *= 2;
                    1
                }
                (false, _) => 1,
            };
            let mut blocks = Vec::with_capacity(depth as usize);
            for block in 0..depth as usize {
                let (stride, first_dilation) = if block == 0 {
                    (stride, first_dilation)
                } else {
                    (1, dilation)
                };
                blocks.push(self.residual(
                    stage,
                    block,
                    (inputs, outputs),
                    stride,
                    [first_dilation, dilation],
                ));
                inputs = outputs;
            }
            stages.push(blocks);
        }
        stages
    }

    fn residual(
        &mut self,
        stage: usize,
        block: usize,
        (inputs, outputs): (i64, i64),
        stride: i64,
        [first_dilation, dilation]: [i64; 2],
    ) -> Residual {
        let one = |stride| Kernel {
            size: 1,
            stride,
            dilation: 1,
        };
        let three = |stride, dilation| Kernel {
            size: 3,
            stride,
            dilation,
        };
        let layers = match self.config.block {
            Block::Basic => {
                vec![
                    (inputs, outputs, three(stride, first_dilation)),
                    (outputs, outputs, three(1, dilation)),
                ]
            }
            Block::Bottleneck => {
                let narrow = outputs / 4;
                let (early, late) = if self.config.downsample_in_bottleneck {
                    (stride, 1)
                } else {
                    (1, stride)
                };
                vec![
                    (inputs, narrow, one(early)),
                    (narrow, narrow, three(late, first_dilation)),
                    (narrow, outputs, one(1)),
                ]
            }
        };
        let shortcut = inputs != outputs || stride != 1;
        Residual {
            shortcut: shortcut
                .then(|| self.conv_norm(Place::Shortcut { stage, block }, inputs, outputs, one(stride))),
            layers: layers
                .into_iter()
                .enumerate()
                .map(|(index, (from, to, kernel))| {
                    self.conv_norm(Place::Conv { stage, block, index }, from, to, kernel)
                })
                .collect(),
        }
    }

    fn conv_norm(&mut self, place: Place, inputs: i64, outputs: i64, kernel: Kernel) -> ConvNorm {
        let (conv, norm) = self.config.naming.conv_and_norm(place);
        let (other_conv, other_norm) = self.config.naming.other().conv_and_norm(place);
        let mut alias = |layer: &str, other: &str, tensor: &str| {
            self.aliases.insert(
                format!("{PREFIX}.{layer}.{tensor}"),
                format!("{PREFIX}.{other}.{tensor}"),
            );
        };
        alias(&conv, &other_conv, "weight");
        for tensor in ["weight", "bias", "running_mean", "running_var"] {
            alias(&norm, &other_norm, tensor);
        }

        let shape = [outputs, inputs, kernel.size, kernel.size];
        let norm = self.scope.sub(norm);
        ConvNorm {
            weight: self
                .scope
                .sub(conv)
                .parameter("weight", &shape, Init::KaimingNormalFanOut),
            norm: FrozenBatchNorm {
                weight: norm.buffer("weight", &[outputs], Init::Constant(1.0)),
                bias: norm.buffer("bias", &[outputs], Init::Constant(0.0)),
                running_mean: norm.buffer("running_mean", &[outputs], Init::Constant(0.0)),
                running_var: norm.buffer("running_var", &[outputs], Init::Constant(1.0)),
            },
            kernel,
        }
    }
}
