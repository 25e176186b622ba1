//! `config.json` of a DETR checkpoint, in the layouts that transformers has written over the years.

use cvhost_plugin_api::data::LabelSpec;
use cvhost_plugin_api::error::{PluginError, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// No layer of a real checkpoint comes near; a size from a broken file must not exhaust the memory.
const LARGEST: i64 = 1 << 16;

#[derive(Debug, Clone, PartialEq)]
pub struct DetrConfig {
    pub backbone: BackboneConfig,
    pub num_queries: i64,
    pub d_model: i64,
    pub encoder: StackConfig,
    pub decoder: StackConfig,
    pub dropout: f64,
    pub attention_dropout: f64,
    pub activation_dropout: f64,
    pub activation: Activation,
    pub init_std: f64,
    /// With `auxiliary_loss`, transformers' decoder hands each layer's normed output to the next layer, and norms the last
    /// one twice. Such a checkpoint was trained that way, so its outputs depend on it, in prediction too.
    pub norm_between_layers: bool,
}

/// Encoder or decoder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StackConfig {
    pub layers: i64,
    pub heads: i64,
    pub ffn_dim: i64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    Relu,
    Gelu,
    Silu,
}

/// How a file names the backbone's tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Naming {
    HuggingFace,
    Timm,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Block {
    /// Two 3×3 convolutions.
    Basic,
    /// 1×1, 3×3, 1×1.
    Bottleneck,
}

/// A ResNet (He et al. 2016).
#[derive(Debug, Clone, PartialEq)]
pub struct BackboneConfig {
    pub naming: Naming,
    pub block: Block,
    /// Channels of the stem.
    pub embedding_size: i64,
    /// Channels and blocks of each stage.
    pub hidden_sizes: Vec<i64>,
    pub depths: Vec<i64>,
    pub downsample_in_first_stage: bool,
    /// Stride in a bottleneck's first convolution instead of the 3×3 one.
    pub downsample_in_bottleneck: bool,
    /// Stages whose stride would exceed it dilate instead.
    pub output_stride: i64,
    /// The stage that the transformer reads, from 0.
    pub output_stage: usize,
    pub activation: Activation,
}

impl DetrConfig {
    /// `json` is `config.json`; `config` is the whole resolved configuration, of which `model.dropout` is honoured. Fails
    /// where a value has the wrong type or can't be built, naming its key.
    pub fn new(json: &Value, config: &Value) -> Result<Self> {
        let stack = |name: &str| -> Result<StackConfig> {
            Ok(StackConfig {
                layers: whole(json, &format!("{name}_layers"), 6)?,
                heads: size(json, &format!("{name}_attention_heads"), 8)?,
                ffn_dim: size(json, &format!("{name}_ffn_dim"), 2048)?,
            })
        };
        let this = DetrConfig {
            backbone: BackboneConfig::new(json)?,
            num_queries: size(json, "num_queries", 100)?,
            d_model: size(json, "d_model", 256)?,
            encoder: stack("encoder")?,
            decoder: stack("decoder")?,
            dropout: match config.pointer("/model/dropout").filter(|v| !v.is_null()) {
                Some(value) => value.as_f64().filter(|p| (0.0..1.0).contains(p)).ok_or_else(|| {
                    PluginError::config(
                        "model.dropout",
                        format!("expected a number from 0 to below 1, got {value}"),
                    )
                })?,
                None => probability(json, "dropout", 0.1)?,
            },
            attention_dropout: probability(json, "attention_dropout", 0.0)?,
            activation_dropout: probability(json, "activation_dropout", 0.0)?,
            activation: Activation::read(json, "activation_function")?,
            init_std: read(json, "init_std", 0.02)?,
            norm_between_layers: read(json, "auxiliary_loss", false)?,
        };
        for (name, stack) in [("encoder", this.encoder), ("decoder", this.decoder)] {
            if this.d_model % stack.heads != 0 {
                return Err(invalid(
                    &format!("{name}_attention_heads"),
                    format!("a divisor of d_model {}", this.d_model),
                ));
            }
        }
        if this.decoder.layers == 0 {
            return Err(invalid("decoder_layers", "at least 1".into()));
        }
        // A sine and a cosine for each of the two directions.
        if this.d_model % 4 != 0 {
            return Err(invalid(
                "d_model",
                format!("a multiple of 4, got {}", this.d_model),
            ));
        }
        let positions: String = read(json, "position_embedding_type", "sine".into())?;
        if positions != "sine" {
            return Err(PluginError::unsupported(format!(
                "config.json: position_embedding_type \"{positions}\": this adapter has \"sine\" only"
            )));
        }
        Ok(this)
    }

    /// `config.json` to save: the original one with the classes of `spec` and the values that were overridden.
    pub fn to_json(&self, original: &Value, spec: &LabelSpec) -> Value {
        let mut json = original.as_object().cloned().unwrap_or_default();
        let id2label: Map<String, Value> = spec
            .names
            .iter()
            .enumerate()
            .map(|(id, name)| (id.to_string(), json!(name.as_str())))
            .collect();
        let label2id: Map<String, Value> = spec
            .names
            .iter()
            .enumerate()
            .map(|(id, name)| (name.to_string(), json!(id)))
            .collect();
        json.insert("id2label".into(), id2label.into());
        json.insert("label2id".into(), label2id.into());
        json.insert("num_labels".into(), json!(spec.names.len()));
        json.insert("architectures".into(), json!(["DetrForObjectDetection"]));
        json.insert("model_type".into(), json!("detr"));
        json.insert("dropout".into(), json!(self.dropout));
        // The weights are saved in float32, whatever they were read in.
        for key in ["dtype", "torch_dtype"] {
            if let Some(value) = json.get_mut(key) {
                *value = json!("float32");
            }
        }
        // `dilation: true` beside a timm backbone_config: only the latter's stride says so to transformers.
        let backbone = json.get_mut("backbone_config").and_then(Value::as_object_mut);
        if let Some(backbone) = backbone.filter(|_| self.backbone.output_stride < 32) {
            backbone.insert("output_stride".into(), json!(self.backbone.output_stride));
        }
        Value::Object(json)
    }
}

impl BackboneConfig {
    fn new(json: &Value) -> Result<Self> {
        let channels: i64 = read(json, "num_channels", 3)?;
        if channels != 3 {
            return Err(PluginError::unsupported(format!(
                "config.json: num_channels {channels}: pictures come with 3 channels"
            )));
        }
        let dilation: bool = read(json, "dilation", false)?;
        match json.get("backbone_config").filter(|v| !v.is_null()) {
            Some(own) => match read::<String>(own, "model_type", "resnet".into())?.as_str() {
                "timm_backbone" => Self::timm(
                    &read::<String>(own, "backbone", "resnet50".into())?,
                    own,
                    read(own, "output_stride", if dilation { 16 } else { 32 })?,
                ),
                "resnet" if dilation => Err(PluginError::unsupported(
                    "config.json: `dilation` with a backbone_config of model_type \"resnet\"",
                )
                .with_help(
                    "only timm-named backbones dilate: set backbone_config.model_type to \"timm_backbone\"",
                )),
                "resnet" => Self::hugging_face(own),
                other => Err(PluginError::unsupported(format!(
                    "config.json: backbone_config.model_type \"{other}\": expected \"resnet\" or \"timm_backbone\""
                ))),
            },
            // Before transformers 4.3x there was only the backbone's name.
            None => {
                let arguments = json.get("backbone_kwargs").cloned().unwrap_or(Value::Null);
                let name: String = read(json, "backbone", String::new())?;
                if read(json, "use_timm_backbone", true)? {
                    let name = if name.is_empty() { "resnet50" } else { &name };
                    Self::timm(
                        name,
                        &arguments,
                        read(&arguments, "output_stride", if dilation { 16 } else { 32 })?,
                    )
                } else if name.is_empty() {
                    Self::hugging_face(&arguments)
                } else {
                    let mut this = Self::timm(&name, &arguments, 32)?;
                    this.naming = Naming::HuggingFace;
                    Ok(this)
                }
            }
        }
    }

    /// A ResNet by its name in timm; `own` may have `out_indices`.
    fn timm(name: &str, own: &Value, output_stride: i64) -> Result<Self> {
        let (block, depths) = match name
            .rsplit('/')
            .next()
            .unwrap_or(name)
            .replacen("resnet-", "resnet", 1)
            .as_str()
        {
            "resnet18" => (Block::Basic, vec![2, 2, 2, 2]),
            "resnet34" => (Block::Basic, vec![3, 4, 6, 3]),
            "resnet50" => (Block::Bottleneck, vec![3, 4, 6, 3]),
            "resnet101" => (Block::Bottleneck, vec![3, 4, 23, 3]),
            "resnet152" => (Block::Bottleneck, vec![3, 8, 36, 3]),
            _ => {
                return Err(PluginError::unsupported(format!(
                    "config.json: backbone \"{name}\": expected resnet18, resnet34, resnet50, resnet101 or resnet152"
                )));
            }
        };
        if ![8, 16, 32].contains(&output_stride) {
            return Err(invalid(
                "backbone_config.output_stride",
                format!("8, 16 or 32, got {output_stride}"),
            ));
        }
        let expansion = if block == Block::Basic { 1 } else { 4 };
        let indices: Vec<i64> = read(own, "out_indices", vec![1, 2, 3, 4])?;
        Ok(BackboneConfig {
            naming: Naming::Timm,
            block,
            embedding_size: 64,
            hidden_sizes: [64, 128, 256, 512].map(|c| c * expansion).to_vec(),
            depths,
            downsample_in_first_stage: false,
            downsample_in_bottleneck: false,
            output_stride,
            output_stage: stage_of(&indices, 4)?,
            activation: Activation::Relu,
        })
    }

    /// transformers' own ResNetConfig.
    fn hugging_face(own: &Value) -> Result<Self> {
        let layer_type: String = read(own, "layer_type", "bottleneck".into())?;
        let hidden_sizes: Vec<i64> = read(own, "hidden_sizes", vec![256, 512, 1024, 2048])?;
        let depths: Vec<i64> = read(own, "depths", vec![3, 4, 6, 3])?;
        let stages = hidden_sizes.len();
        let sizes_fit = hidden_sizes
            .iter()
            .chain(&depths)
            .all(|v| (1..LARGEST).contains(v));
        if stages == 0 || stages != depths.len() || !sizes_fit {
            return Err(invalid(
                "backbone_config",
                format!(
                    "as many hidden_sizes as depths, all at least 1, got {hidden_sizes:?} and {depths:?}"
                ),
            ));
        }
        let names: Vec<String> = read(own, "out_features", Vec::new())?;
        let output_stage = match names.last() {
            Some(name) => name
                .strip_prefix("stage")
                .and_then(|number| number.parse::<usize>().ok())
                .filter(|number| (1..=stages).contains(number))
                .map(|number| number - 1)
                .ok_or_else(|| {
                    invalid(
                        "backbone_config.out_features",
                        format!("stage1 to stage{stages}, got {name}"),
                    )
                })?,
            None => stage_of(&read(own, "out_indices", Vec::new())?, stages)?,
        };
        Ok(BackboneConfig {
            naming: Naming::HuggingFace,
            block: match layer_type.as_str() {
                "basic" => Block::Basic,
                "bottleneck" if hidden_sizes.iter().all(|c| c % 4 == 0) => Block::Bottleneck,
                "bottleneck" => {
                    let expected = format!("multiples of 4 for bottleneck layers, got {hidden_sizes:?}");
                    return Err(invalid("backbone_config.hidden_sizes", expected));
                }
                other => {
                    return Err(invalid(
                        "backbone_config.layer_type",
                        format!("basic or bottleneck, got {other}"),
                    ));
                }
            },
            embedding_size: size(own, "embedding_size", 64)?,
            hidden_sizes,
            depths,
            downsample_in_first_stage: read(own, "downsample_in_first_stage", false)?,
            downsample_in_bottleneck: read(own, "downsample_in_bottleneck", false)?,
            output_stride: 32,
            output_stage,
            activation: Activation::read(own, "hidden_act")?,
        })
    }
}

impl Activation {
    fn read(json: &Value, key: &str) -> Result<Self> {
        match read::<String>(json, key, "relu".into())?.as_str() {
            "relu" => Ok(Activation::Relu),
            "gelu" => Ok(Activation::Gelu),
            "silu" | "swish" => Ok(Activation::Silu),
            other => Err(PluginError::unsupported(format!(
                "config.json: {key} \"{other}\": expected relu, gelu or silu"
            ))),
        }
    }
}

/// The stage, from 0, of the last of `out_indices`, where 0 is the stem and negative ones count from the end.
fn stage_of(indices: &[i64], stages: usize) -> Result<usize> {
    let Some(&last) = indices.last() else {
        return Ok(stages - 1);
    };
    let index = if last < 0 { last + stages as i64 + 1 } else { last };
    usize::try_from(index - 1)
        .ok()
        .filter(|stage| *stage < stages)
        .ok_or_else(|| {
            invalid(
                "backbone_config.out_indices",
                format!("a last index from 1 to {stages}, got {last}"),
            )
        })
}

/// The value of `key`, or `default` where it is missing or null.
fn read<T: DeserializeOwned>(json: &Value, key: &str, default: T) -> Result<T> {
    match json.get(key).filter(|v| !v.is_null()) {
        None => Ok(default),
        Some(value) => serde_json::from_value(value.clone())
            .map_err(|e| PluginError::checkpoint(format!("config.json: `{key}`: {e}"))),
    }
}

/// A count that may be 0.
fn whole(json: &Value, key: &str, default: i64) -> Result<i64> {
    let value = read(json, key, default)?;
    if (0..LARGEST).contains(&value) {
        Ok(value)
    } else {
        Err(invalid(key, format!("0 to {LARGEST}, got {value}")))
    }
}

fn size(json: &Value, key: &str, default: i64) -> Result<i64> {
    let value = whole(json, key, default)?;
    if value > 0 {
        Ok(value)
    } else {
        Err(invalid(key, "at least 1, got 0".into()))
    }
}

fn probability(json: &Value, key: &str, default: f64) -> Result<f64> {
    let value: f64 = read(json, key, default)?;
    let fits = (0.0..1.0).contains(&value);
    if fits {
        Ok(value)
    } else {
        Err(invalid(key, format!("a number from 0 to below 1, got {value}")))
    }
}

fn invalid(key: &str, expected: String) -> PluginError {
    PluginError::checkpoint(format!("config.json: `{key}`: expected {expected}"))
}
