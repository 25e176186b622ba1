//! DETR's network: images → features → encoder → decoder → classes and boxes.

use crate::config::DetrConfig;
use crate::position::{sine_embedding, sine_embedding_unpadded};
use crate::transformer::{Decoder, Encoder, Memory};
use cvhost_detection::{Heads, Images, Network, Predictions};
use cvhost_plugin_api::data::Tags;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::torch::{Init, Scope};
use cvhost_resnet::{Aliases, NormKind, ResNet};
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

/// Prefix of the backbone's parameters in a checkpoint.
const BACKBONE: &str = "model.backbone.conv_encoder.model";

pub struct DetrNetwork {
    /// The backbone's parameter names in the other naming scheme.
    aliases: Aliases,
    backbone: ResNet,
    /// Weight and bias of the 1×1 convolution from the backbone's channels to `d_model`.
    input_projection: (Tensor, Tensor),
    encoder: Encoder,
    decoder: Decoder,
    /// `[Q, d]`, learned.
    query_embeddings: Tensor,
    heads: Heads,
    config: DetrConfig,
}

impl DetrNetwork {
    pub fn new(root: &Scope, config: DetrConfig, classes: i64) -> Self {
        let (d, std) = (config.d_model, config.init_std);
        let mut aliases = Aliases::new();
        let backbone = ResNet::new(
            &root.sub(BACKBONE).tagged(Tags::BACKBONE),
            BACKBONE,
            &config.backbone,
            NormKind::Frozen,
            &mut aliases,
        );
        let channels = config.backbone.output_channels();

        let depth = config.backbone.hidden_sizes.len() as u32 + 1;
        let (encoder_layers, decoder_layers) = (config.encoder.layers as u32, config.decoder.layers as u32);
        let network = root.sub("model").at_depth(depth);
        let heads = root.at_depth(depth + encoder_layers + decoder_layers);
        let projection = network.sub("input_projection");
        DetrNetwork {
            aliases,
            backbone,
            input_projection: (
                projection.parameter("weight", &[d, channels, 1, 1], Init::Normal { std }),
                projection.no_decay("bias", &[d], Init::Constant(0.0)),
            ),
            encoder: Encoder::new(&network.sub("encoder"), &config, depth),
            query_embeddings: network
                .at_depth(depth + encoder_layers)
                .sub("query_position_embeddings")
                .parameter("weight", &[config.num_queries, d], Init::Normal { std }),
            decoder: Decoder::new(&network.sub("decoder"), &config, depth + encoder_layers),
            heads: Heads::linear(&heads, d, classes, std),
            config,
        }
    }
}

impl Network for DetrNetwork {
    fn queries(&self) -> i64 {
        self.config.num_queries
    }

    fn layers(&self, images: &Images<'_>, every_layer: bool) -> Result<Vec<Tensor>> {
        let feature_map = self.backbone.forward(images.pixel_values, images.train);
        let (_, _, rows, columns) = feature_map.size4()?;
        let (weight, bias) = &self.input_projection;
        let features = feature_map
            .conv2d(weight, Some(bias), [1, 1], [0, 0], [1, 1], 1)
            .flatten(2, 3)
            .transpose(1, 2);

        let mask = images
            .pixel_mask
            .map(|mask| downsample(mask, rows, columns))
            .transpose()?;
        let positions = match &mask {
            Some(mask) => sine_embedding(mask, self.config.d_model),
            None => sine_embedding_unpadded(rows, columns, self.config.d_model, feature_map.device()),
        };
        let mask = mask.map(|m| m.flatten(1, 2).unsqueeze(1).unsqueeze(1));
        let memory = Memory {
            positions: &positions,
            mask: mask.as_ref(),
            train: images.train,
        };

        let features = self.encoder.forward(&features, &memory);
        let queries = self.query_embeddings.unsqueeze(0);
        Ok(self.decoder.forward(&queries, &features, &memory, every_layer))
    }

    fn heads(&self, states: &Tensor) -> Predictions {
        self.heads.forward(states)
    }

    fn aliases(&self, name: &str) -> Vec<String> {
        self.aliases.get(name).cloned().into_iter().collect()
    }

    fn write_config(&self, json: &mut Map<String, Value>) {
        self.config.write(json);
    }
}

/// `pixel_mask` `[N, H, W]` to a bool mask of the feature map's size, by nearest-neighbour
/// sampling.
fn downsample(pixel_mask: &Tensor, rows: i64, columns: i64) -> Result<Tensor> {
    let mask = pixel_mask.to_kind(Kind::Float).unsqueeze(0);
    Ok(mask
        .f_upsample_nearest2d([rows, columns], None, None)?
        .squeeze_dim(0)
        .to_kind(Kind::Bool))
}
