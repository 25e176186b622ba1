//! Arguments in the form in which they cross: prefix structs that borrow from the caller for one call.

use crate::abi;
use crate::data::{OpenArgs, RunInfo, StepContext};
use crate::raw::{lend_slice, lend_str};
use abi_stable::prefix_type::WithMetadata;
use abi_stable::std_types::{RString, RVec};

impl StepContext {
    /// Calls `f` with the context as it crosses.
    pub fn lend<R>(&self, f: impl FnOnce(abi::StepContextRef) -> R) -> R {
        let fields = WithMetadata::new(abi::StepContext {
            mode: self.mode,
            step: self.step,
            epoch: self.epoch,
            normalisers: lend_slice(&self.normalisers),
        });
        f(abi::StepContextRef(crate::raw::as_prefix(&fields)))
    }

    pub(crate) fn from_abi(context: abi::StepContextRef) -> Self {
        StepContext {
            mode: context.mode(),
            step: context.step(),
            epoch: context.epoch(),
            normalisers: context.normalisers().to_vec(),
        }
    }
}

impl OpenArgs {
    /// Calls `f` with the arguments as they cross.
    pub fn lend<R>(&self, f: impl FnOnce(abi::OpenArgsRef) -> R) -> R {
        let config = self.config.to_string();
        let classes: RVec<RString> = self
            .checkpoint_classes
            .iter()
            .map(|c| c.as_str().into())
            .collect();
        let fields = WithMetadata::new(abi::OpenArgs {
            split: lend_str(&self.split),
            images: lend_str(&self.images),
            annotations: lend_str(&self.annotations),
            config: lend_str(&config),
            checkpoint_classes: lend_slice(&classes),
        });
        f(abi::OpenArgsRef(crate::raw::as_prefix(&fields)))
    }

    pub(crate) fn from_abi(args: abi::OpenArgsRef) -> serde_json::Result<Self> {
        Ok(OpenArgs {
            split: args.split().to_string(),
            images: args.images().to_string(),
            annotations: args.annotations().to_string(),
            config: serde_json::from_str(args.config().as_str())?,
            checkpoint_classes: args
                .checkpoint_classes()
                .iter()
                .map(ToString::to_string)
                .collect(),
        })
    }
}

impl RunInfo {
    /// Calls `f` with the information as it crosses.
    pub fn lend<R>(&self, f: impl FnOnce(abi::RunInfoRef) -> R) -> R {
        let (config, parameters) = (self.config.to_string(), self.parameters.to_string());
        let fields = WithMetadata::new(abi::RunInfo {
            name: lend_str(&self.name),
            folder: lend_str(&self.folder),
            config: lend_str(&config),
            parameters: lend_str(&parameters),
        });
        f(abi::RunInfoRef(crate::raw::as_prefix(&fields)))
    }

    pub(crate) fn from_abi(run: abi::RunInfoRef) -> serde_json::Result<Self> {
        Ok(RunInfo {
            name: run.name().to_string(),
            folder: run.folder().to_string(),
            config: serde_json::from_str(run.config().as_str())?,
            parameters: serde_json::from_str(run.parameters().as_str())?,
        })
    }
}
