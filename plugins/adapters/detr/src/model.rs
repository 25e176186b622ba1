//! DETR put together: images → features → encoder → decoder → classes and boxes → loss.

use crate::config::DetrConfig;
use crate::input::PIXEL_MASK;
use crate::position::{sine_embedding, sine_embedding_unpadded};
use crate::transformer::{Decoder, Encoder, Memory};
use cvhost_image_processor::PIXEL_VALUES;
use cvhost_layers::{Linear, Mlp};
use cvhost_plugin_api::data::{
    Batch, Fields, LabelSpec, Meta, NamedTensor, Output, Parameter, StepContext, Tags,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{Checkpoint, Model};
use cvhost_plugin_api::torch::{Init, ParameterSet};
use cvhost_resnet::{Aliases, NormKind, ResNet};
use cvhost_set_prediction::detector::{self, Layers};
use cvhost_set_prediction::{Predictions, SetCriterion, Targets, same_size};
use serde_json::Value;
use tch::{Kind, Tensor};

/// Where the backbone hangs in a checkpoint.
const BACKBONE: &str = "model.backbone.conv_encoder.model";

pub struct Detr {
    parameters: ParameterSet,
    /// The backbone's names in the other naming.
    aliases: Aliases,
    backbone: ResNet,
    /// 1×1 convolution from the backbone's channels to the transformer's.
    input_projection: (Tensor, Tensor),
    encoder: Encoder,
    decoder: Decoder,
    /// `[Q, d]`, learned.
    query_embeddings: Tensor,
    class_head: Linear,
    box_head: Mlp,
    criterion: SetCriterion,
    config: DetrConfig,
    original: Value,
    spec: LabelSpec,
}

impl Detr {
    pub fn new(checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Self> {
        let criterion = SetCriterion::from_config(&checkpoint.config, config, spec)?;
        let original = checkpoint.config.clone();
        let config = DetrConfig::new(&checkpoint.config, config)?;
        if spec.names.is_empty() {
            return Err(PluginError::data("a detector needs at least one class, got none"));
        }
        let classes = spec.names.len() as i64;
        let (d, std) = (config.d_model, config.init_std);

        let parameters = ParameterSet::new();
        let root = parameters.root();
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
        Ok(Detr {
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
            // One more class for "no object".
            class_head: Linear::new(
                &heads.sub("class_labels_classifier").tagged(Tags::CLASS_HEAD),
                d,
                classes + 1,
                std,
            ),
            box_head: Mlp::new(&heads.sub("bbox_predictor"), d, 4, std, Tags::NONE),
            parameters,
            aliases,
            backbone,
            criterion,
            config,
            original,
            spec: spec.clone(),
        })
    }

    /// What each decoder layer predicts; layers before the last one only where `every_layer` asks for them.
    ///
    /// In training a batch runs as it is, with its padding masked, as the reference does. Otherwise each image gives what
    /// it gives alone: images of equal size run together, without padding.
    fn predict(&self, batch: &Batch, train: bool, every_layer: bool) -> Result<Layers> {
        let pixel_values = batch.tensor(PIXEL_VALUES)?;
        if !matches!(pixel_values.size().as_slice(), [n, 3, _, _] if *n == batch.len() as i64) {
            return Err(PluginError::failed(format!(
                "`{PIXEL_VALUES}`: expected [{}, 3, H, W], got {:?}",
                batch.len(),
                pixel_values.size()
            )));
        }
        let mut layers = if train {
            let (_, _, height, width) = pixel_values.size4()?;
            let padded = is_padded(&batch.metas, width, height);
            let mask = padded.then(|| batch.tensor(PIXEL_MASK)).transpose()?;
            self.decode(&pixel_values, mask.as_ref(), train, every_layer)?
        } else {
            let groups = same_size::groups(&pixel_values, &batch.metas, 1)?;
            let states = groups
                .iter()
                .map(|g| self.decode(&g.pixel_values, None, train, every_layer));
            same_size::by_layer(&groups, states.collect::<Result<_>>()?)
        };
        Ok(Layers {
            predictions: layers.iter().map(|x| self.heads(x)).collect(),
            last_hidden_state: layers.pop(),
        })
    }

    /// Images `[N, 3, H, W]` to what each decoder layer makes of the queries, `[N, Q, d]` each. `pixel_mask` `[N, H, W]` is
    /// 1 on the image; none means that there is no padding.
    fn decode(
        &self,
        pixel_values: &Tensor,
        pixel_mask: Option<&Tensor>,
        train: bool,
        every_layer: bool,
    ) -> Result<Vec<Tensor>> {
        let feature_map = self.backbone.forward(pixel_values, train);
        let (_, _, rows, columns) = feature_map.size4()?;
        let (weight, bias) = &self.input_projection;
        let features = feature_map
            .conv2d(weight, Some(bias), [1, 1], [0, 0], [1, 1], 1)
            .flatten(2, 3)
            .transpose(1, 2);

        let mask = pixel_mask
            .map(|mask| downsample(mask, rows, columns))
            .transpose()?;
        let positions = match &mask {
            Some(mask) => sine_embedding(mask, self.config.d_model),
            None => sine_embedding_unpadded(rows, columns, self.config.d_model, pixel_values.device()),
        };
        let mask = mask.map(|m| m.flatten(1, 2).unsqueeze(1).unsqueeze(1));
        let memory = Memory {
            positions: &positions,
            mask: mask.as_ref(),
            train,
        };

        let features = self.encoder.forward(&features, &memory);
        let queries = self.query_embeddings.unsqueeze(0);
        Ok(self.decoder.forward(&queries, &features, &memory, every_layer))
    }

    /// A decoder layer's output `[N, Q, d]` to class logits and boxes.
    fn heads(&self, x: &Tensor) -> Predictions {
        // Sigmoid in f32: in half precision it rounds to whole pixels of a large image.
        Predictions {
            logits: self.class_head.forward(x),
            pred_boxes: self.box_head.forward(x).to_kind(Kind::Float).sigmoid(),
        }
    }
}

impl Model for Detr {
    fn parameters(&self) -> Result<Vec<Parameter>> {
        Ok(self
            .parameters
            .list(|name| self.aliases.get(name).cloned().into_iter().collect()))
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        self.criterion
            .normalisers(&Targets::from_batch(batch)?, self.config.num_queries)
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext) -> Result<Output> {
        detector::forward(&self.criterion, batch, context, |train, every_layer| {
            self.predict(batch, train, every_layer)
        })
    }

    fn finish(&mut self, outputs: &[NamedTensor], metas: &[Meta], options: &Value) -> Result<Vec<Fields>> {
        detector::finish(outputs, metas, options)
    }

    fn config_json(&self) -> Result<Value> {
        Ok(self.config.to_json(&self.original, &self.spec))
    }
}

/// Whether an image is smaller than the batch's `width` × `height`. Told from the metas: the mask itself is on the device,
/// and looking at it would wait for all that was queued there.
fn is_padded(metas: &[Meta], width: i64, height: i64) -> bool {
    metas
        .iter()
        .any(|m| i64::from(m.input_width) != width || i64::from(m.input_height) != height)
}

/// `pixel_mask` `[N, H, W]` to a bool mask of the feature map's size, from the nearest pixel.
fn downsample(pixel_mask: &Tensor, rows: i64, columns: i64) -> Result<Tensor> {
    let mask = pixel_mask.to_kind(Kind::Float).unsqueeze(0);
    Ok(mask
        .f_upsample_nearest2d([rows, columns], None, None)?
        .squeeze_dim(0)
        .to_kind(Kind::Bool))
}
