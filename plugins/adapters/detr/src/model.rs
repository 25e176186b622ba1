//! DETR put together: pictures → features → encoder → decoder → classes and boxes → loss.

use crate::backbone::Backbone;
use crate::config::DetrConfig;
use crate::input::PIXEL_MASK;
use crate::layers::Linear;
use crate::position::{sine_embedding, sine_embedding_unpadded};
use crate::transformer::{Decoder, Encoder, Memory};
use cvhost_image_processor::PIXEL_VALUES;
use cvhost_plugin_api::abi_stable::std_types::ROption;
use cvhost_plugin_api::data::{
    Batch, Fields, LabelSpec, Meta, Mode, NamedTensor, Output, Parameter, StepContext, Tags, TensorHandle,
};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::{Checkpoint, Model};
use cvhost_plugin_api::torch::{Init, ParameterSet, named};
use cvhost_set_prediction::{
    AuxiliaryLoss, DetectionOptions, Predictions, SetCriterion, Targets, detections, same_size,
};
use serde_json::Value;
use std::collections::HashMap;
use tch::{Kind, Tensor};

pub struct Detr {
    parameters: ParameterSet,
    /// The backbone's names in the other naming.
    aliases: HashMap<String, String>,
    backbone: Backbone,
    /// 1×1 convolution from the backbone's channels to the transformer's.
    input_projection: (Tensor, Tensor),
    encoder: Encoder,
    decoder: Decoder,
    /// `[Q, d]`, learned.
    query_embeddings: Tensor,
    class_head: Linear,
    /// Three layers with ReLU between them.
    box_head: [Linear; 3],
    criterion: SetCriterion,
    config: DetrConfig,
    original: Value,
    spec: LabelSpec,
}

impl Detr {
    pub fn new(checkpoint: &Checkpoint, config: &Value, spec: &LabelSpec) -> Result<Self> {
        let criterion = SetCriterion::from_config(&checkpoint.config, config)?;
        let original = checkpoint.config.clone();
        let config = DetrConfig::new(&checkpoint.config, config)?;
        if spec.names.is_empty() {
            return Err(PluginError::data("a detector needs at least one class, got none"));
        }
        let classes = spec.names.len() as i64;
        let (d, std) = (config.d_model, config.init_std);

        let parameters = ParameterSet::new();
        let root = parameters.root();
        let mut aliases = HashMap::new();
        let backbone = Backbone::new(&root, &config.backbone, &mut aliases);
        let channels = config
            .backbone
            .hidden_sizes
            .get(config.backbone.output_stage)
            .copied()
            .unwrap_or(d);

        let depth = config.backbone.hidden_sizes.len() as u32 + 1;
        let (encoder_layers, decoder_layers) = (config.encoder.layers as u32, config.decoder.layers as u32);
        let network = root.sub("model").at_depth(depth);
        let heads = root.at_depth(depth + encoder_layers + decoder_layers);
        let projection = network.sub("input_projection");
        let box_layer =
            |index, outputs| Linear::new(&heads.sub("bbox_predictor.layers").sub(index), d, outputs, std);
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
            box_head: [box_layer(0, d), box_layer(1, d), box_layer(2, 4)],
            parameters,
            aliases,
            backbone,
            criterion,
            config,
            original,
            spec: spec.clone(),
        })
    }

    /// What each decoder layer predicts, the last one last; earlier ones only where `every_layer` asks for them. With the last
    /// layer's states `[N, Q, d]`.
    ///
    /// In training a batch runs as it is, with its padding masked, as the reference does. Otherwise each picture gives what
    /// it gives alone: pictures of equal size run together, without padding.
    fn predict(
        &self,
        batch: &Batch,
        train: bool,
        every_layer: bool,
    ) -> Result<(Vec<Predictions>, Option<Tensor>)> {
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
        let predictions = layers.iter().map(|x| self.heads(x)).collect();
        Ok((predictions, layers.pop()))
    }

    /// Pictures `[N, 3, H, W]` to what each decoder layer makes of the queries, `[N, Q, d]` each. `pixel_mask` `[N, H, W]` is
    /// 1 on the picture; none means that there is no padding.
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
        let [first, second, third] = &self.box_head;
        let boxes = third.forward(&second.forward(&first.forward(x).relu()).relu());
        // Sigmoid in f32: in half precision it rounds to whole pixels of a large picture.
        Predictions {
            logits: self.class_head.forward(x),
            pred_boxes: boxes.to_kind(Kind::Float).sigmoid(),
        }
    }
}

impl Model for Detr {
    fn parameters(&self) -> Vec<Parameter> {
        self.parameters
            .list(|name| self.aliases.get(name).cloned().into_iter().collect())
    }

    fn initialise(&mut self, names: &[&str]) -> Result<()> {
        self.parameters.initialise(names)
    }

    fn normalisers(&self, batch: &Batch) -> Result<Vec<f64>> {
        Ok(self
            .criterion
            .normalisers(&Targets::from_batch(batch)?, self.config.num_queries))
    }

    fn forward(&mut self, batch: &Batch, context: &StepContext) -> Result<Output> {
        let scored = context.mode != Mode::PREDICT;
        let every_layer = scored && self.criterion.auxiliary != AuxiliaryLoss::Off;
        let (layers, last_hidden_state) = self.predict(batch, context.mode == Mode::TRAIN, every_layer)?;

        let mut output = Output::default();
        if scored {
            let loss = self
                .criterion
                .loss(&layers, &Targets::from_batch(batch)?, &context.normalisers)?;
            output.loss = ROption::RSome(TensorHandle::new(loss.loss));
            output.parts = loss.parts.into();
        }
        if let Some(last) = layers.last() {
            output.outputs.push(named("logits", last.logits.detach()));
            output.outputs.push(named("pred_boxes", last.pred_boxes.detach()));
        }
        output
            .outputs
            .extend(last_hidden_state.map(|x| named("last_hidden_state", x.detach())));
        Ok(output)
    }

    fn finish(&mut self, outputs: &[NamedTensor], metas: &[Meta], options: &Value) -> Result<Vec<Fields>> {
        let output = |name: &str| {
            let found = outputs.iter().find(|o| o.name == name).map(|o| o.tensor.tensor());
            found.ok_or_else(|| PluginError::failed(format!("finish: the outputs have no `{name}`")))
        };
        detections(
            &output("logits")?,
            &output("pred_boxes")?,
            metas,
            &DetectionOptions::from_json(options)?,
        )
    }

    fn config_json(&self) -> Result<Value> {
        Ok(self.config.to_json(&self.original, &self.spec))
    }
}

/// Whether a picture is smaller than the batch's `width` × `height`. Told from the metas: the mask itself is on the device,
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
