//! Adapter for ResNet as an image classifier (He et al. 2016, "Deep Residual Learning for Image
//! Recognition"): residual stages, average pooling of the last feature map, one linear layer.
//!
//! The network is `cvhost_resnet` with trained batch norms; the code shared by all classifiers is
//! `cvhost_classification`. `model` combines them.

mod model;
#[cfg(test)]
mod tests;

use cvhost_classification::{Classifier, ClassifierInput};
use cvhost_image_processor::Defaults;
use cvhost_plugin_api::error::Result;
use cvhost_plugin_api::export_plugin;
use cvhost_plugin_api::sdk::{Adapter, AdapterArgs, Input, Model};

struct ResNetAdapter;

impl Adapter for ResNetAdapter {
    fn input(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Input>> {
        // ResNet checkpoints ship with ConvNeXT's image processor.
        let defaults = Defaults::conv_next();
        let input = ClassifierInput::new(args.checkpoint, args.config, args.spec, &defaults)?;
        // Errors in the file are reported when the network is built.
        let stride = model::shape(&args.checkpoint.config).map_or(0, |shape| shape.stride());
        Ok(Box::new(input.with_stride(stride)))
    }

    fn model(&self, args: &AdapterArgs<'_>) -> Result<Box<dyn Model>> {
        let build = |root: &_, classes| {
            model::ResNetClassifier::new(root, &args.checkpoint.config, args.config, classes)
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
    adapters: { "resnet" => |_| Ok(ResNetAdapter), serves [(cvhost_plugin_api::forms::classification::FORM, "resnet")] },
}
