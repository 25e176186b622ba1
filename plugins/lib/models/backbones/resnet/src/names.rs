//! Tensor names on disk.

/// The naming scheme of a ResNet's tensors in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    HuggingFace,
    Timm,
}

/// The position of a convolution in a ResNet. Stages, blocks and convolutions count from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Stem,
    Conv {
        stage: usize,
        block: usize,
        index: usize,
    },
    Shortcut {
        stage: usize,
        block: usize,
    },
}

impl Naming {
    pub(crate) fn other(self) -> Self {
        match self {
            Naming::HuggingFace => Naming::Timm,
            Naming::Timm => Naming::HuggingFace,
        }
    }

    /// The names, relative to the network, of a convolution and of the batch norm after it.
    pub(crate) fn conv_and_norm(self, place: Place) -> (String, String) {
        match (self, place) {
            (Naming::HuggingFace, _) => {
                let layer = match place {
                    Place::Stem => "embedder.embedder".to_owned(),
                    Place::Conv { stage, block, index } => {
                        format!("encoder.stages.{stage}.layers.{block}.layer.{index}")
                    }
                    Place::Shortcut { stage, block } => {
                        format!("encoder.stages.{stage}.layers.{block}.shortcut")
                    }
                };
                (format!("{layer}.convolution"), format!("{layer}.normalization"))
            }
            (Naming::Timm, Place::Stem) => ("conv1".into(), "bn1".into()),
            (Naming::Timm, Place::Conv { stage, block, index }) => {
                let (stage, index) = (stage + 1, index + 1);
                (
                    format!("layer{stage}.{block}.conv{index}"),
                    format!("layer{stage}.{block}.bn{index}"),
                )
            }
            (Naming::Timm, Place::Shortcut { stage, block }) => {
                let downsample = format!("layer{}.{block}.downsample", stage + 1);
                (format!("{downsample}.0"), format!("{downsample}.1"))
            }
        }
    }
}
