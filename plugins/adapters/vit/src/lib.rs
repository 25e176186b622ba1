//! Adapter for image classifiers based on a plain vision transformer: ViT (Dosovitskiy et al. 2021,
//! "An Image is Worth 16x16 Words") and DeiT (Touvron et al. 2021, "Training data-efficient image
//! transformers & distillation through attention").
//!
//! Read `vit` first, then `model`, which adds the heads. The blocks are those of `cvhost_vit`; the
//! code shared by all classifiers is `cvhost_classification`.

mod config;
mod model;
#[cfg(test)]
mod tests;
mod vit;

use crate::config::Family;
use cvhost_classification::{Classifier, ClassifierInput};
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::export_plugin;
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, Input, Model};

struct VitAdapter;

impl Adapter for VitAdapter {
    fn input(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Input>> {
        let defaults = Family::of(&args.checkpoint.config)?.input_defaults(&args.checkpoint.config)?;
        let input = ClassifierInput::new(args.checkpoint, args.config, args.spec, &defaults)?;
        // Errors in the file are reported when the network is built.
        Ok(Box::new(input.with_stride(
            cvhost_vit::patch_size(&args.checkpoint.config).unwrap_or(0),
        )))
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        let build = |root: &_, classes| {
            model::VitClassifier::new(root, &args.checkpoint.config, args.config, classes)
        };
        Ok(Box::new(Classifier::new(
            args.checkpoint,
            args.config,
            args.spec,
            build,
        )?))
    }
}

export_plugin! {
    torch: true,
    schema: "../config.schema.json",
    adapters: { "vit" => |_| Ok(VitAdapter), serves [(cvhost_plugin_api::forms::classification::FORM, "vit"), (cvhost_plugin_api::forms::classification::FORM, "deit")] },
}
