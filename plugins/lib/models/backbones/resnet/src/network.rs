//! The network: a stem, and stages of residual blocks.

use crate::config::{Block, ResNetConfig};
use crate::names::{Naming, Place};
use crate::norm::{BatchNorm, NormKind};
use cvhost_layers::Activation;
use cvhost_plugin_api::torch::{Init, Scope};
use std::collections::HashMap;
use tch::{Device, Tensor};

/// Maps each tensor's name to its name in the other [`Naming`].
pub type Aliases = HashMap<String, String>;

/// On the CPU the stem uses the channels-last memory format if its number of channels is a multiple
/// of this: the convolution of a large map with few channels then takes half the time, pooling a
/// tenth. This is limited to channel counts that fill oneDNN's registers, and excludes the stages
/// after the stem: with other counts, oneDNN's kernel for gradients of 1×1 convolutions writes out
/// of bounds in this format (libtorch 2.11, AVX-512).
const CHANNELS_AT_ONCE: i64 = 16;

/// The network up to its output feature map.
pub struct ResNet {
    stem: ConvNorm,
    stages: Vec<Vec<Residual>>,
    output_stage: usize,
    activation: Activation,
}

impl ResNet {
    /// Builds the network in `scope`, which is located at the path `prefix`. `aliases` receives
    /// each tensor's name in the other naming.
    pub fn new(
        scope: &Scope,
        prefix: &str,
        config: &ResNetConfig,
        norms: NormKind,
        aliases: &mut Aliases,
    ) -> Self {
        let mut builder = Builder {
            scope: scope.clone(),
            prefix,
            config,
            norms,
            aliases,
        };
        // A timm backbone ends at the output stage; Hugging Face's has, and saves, all stages.
        let stages = match config.naming {
            Naming::HuggingFace => config.hidden_sizes.len(),
            Naming::Timm => config.output_stage + 1,
        };
        let stem = Kernel {
            size: 7,
            stride: 2,
            dilation: 1,
        };
        ResNet {
            stem: builder.conv_norm(Place::Stem, 3, config.embedding_size, stem),
            stages: builder.stages(stages),
            output_stage: config.output_stage,
            activation: config.activation,
        }
    }

    /// Maps `pixel_values` `[N, 3, H, W]` to the last feature map `[N, C, H / 32, W / 32]` (rounded
    /// up). Gradients are recorded only in training.
    pub fn forward(&self, pixel_values: &Tensor, train: bool) -> Tensor {
        let stem = |x: &Tensor| {
            let x = self.activation.apply(self.stem.forward(x, train));
            x.max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)
        };
        let mut x = if pixel_values.device() == Device::Cpu && self.stem.channels() % CHANNELS_AT_ONCE == 0 {
            stem(&channels_last(pixel_values)).contiguous()
        } else {
            stem(pixel_values)
        };
        for stage in self.stages.iter().take(self.output_stage + 1) {
            for block in stage {
                x = block.forward(&x, self.activation, train);
            }
        }
        x
    }
}

/// Converts `[N, C, H, W]` to the channels-last memory format; the shape is unchanged.
fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// A residual block: `activation(layers(x) + shortcut(x))`. Between its layers there is always
/// ReLU, regardless of the activation, as in transformers, with which checkpoints with other
/// activations were trained.
struct Residual {
    layers: Vec<ConvNorm>,
    /// Present if the shape changes; otherwise the shortcut is the input itself.
    shortcut: Option<ConvNorm>,
}

impl Residual {
    fn forward(&self, input: &Tensor, activation: Activation, train: bool) -> Tensor {
        let mut x = input.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, train);
            if index + 1 < self.layers.len() {
                x = Activation::Relu.apply(x);
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

/// A convolution followed by a batch norm.
struct ConvNorm {
    weight: Tensor,
    norm: BatchNorm,
    kernel: Kernel,
}

impl ConvNorm {
    /// With fixed statistics, the norm is affine. Outside of training it is folded into the
    /// convolution, `(w ∗ x) · scale + shift = (w · scale) ∗ x + shift`, which saves two passes
    /// over the feature map. In training, folding would round the gradients of `w` in a different
    /// order than the reference, and AdamW turns the signs of the smallest ones into full steps.
    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        if train {
            return self.norm.train(self.convolve(x, &self.weight, None));
        }
        let (scale, shift) = self.norm.scale_and_shift();
        self.convolve(x, &(&self.weight * scale.reshape([-1, 1, 1, 1])), Some(shift))
    }

    /// Number of output channels.
    fn channels(&self) -> i64 {
        self.weight.size().first().copied().unwrap_or(0)
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

struct Builder<'a> {
    scope: Scope,
    prefix: &'a str,
    config: &'a ResNetConfig,
    norms: NormKind,
    aliases: &'a mut Aliases,
}

impl Builder<'_> {
    /// Each stage except the first halves the resolution in its first block, until `output_stride`
    /// is reached; from there on, the 3×3 convolutions use dilation instead, starting with the
    /// second block.
    fn stages(&mut self, count: usize) -> Vec<Vec<Residual>> {
        let config = self.config;
        let mut inputs = config.embedding_size;
        let (mut reached, mut dilation) = (4i64, 1i64);
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
                    reached = reached.saturating_mul(2);
                    2
                }
                (true, false) => {
                    dilation = dilation.saturating_mul(2);
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
        let prefix = self.prefix;
        let mut alias = |layer: &str, other: &str, tensor: &str| {
            self.aliases.insert(
                format!("{prefix}.{layer}.{tensor}"),
                format!("{prefix}.{other}.{tensor}"),
            );
        };
        alias(&conv, &other_conv, "weight");
        for tensor in ["weight", "bias", "running_mean", "running_var"] {
            alias(&norm, &other_norm, tensor);
        }

        let shape = [outputs, inputs, kernel.size, kernel.size];
        ConvNorm {
            weight: self
                .scope
                .sub(conv)
                .parameter("weight", &shape, Init::KaimingNormalFanOut),
            norm: BatchNorm::new(&self.scope.sub(norm), self.norms, outputs),
            kernel,
        }
    }
}
