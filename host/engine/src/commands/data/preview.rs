//! `cvhost data preview`: draws augmented samples with their targets on a contact sheet.

use super::DataContext;
use crate::session::shown;
use crate::splits::{SplitData, Splits};
use cvhost::cli::{DataPreviewArgs, Global, Split};
use cvhost::error::{Error, Kind, Result};
use cvhost::interrupt;
use cvhost::output;
use cvhost::progress::Pass;
use cvhost_plugin_api::abi::{Input, Input_TO, InputBox, PrepareArgsRef, ShapeArgsRef};
use cvhost_plugin_api::abi_stable::erased_types::TD_Opaque;
use cvhost_plugin_api::abi_stable::std_types::RResult;
use cvhost_plugin_api::data::{ArrayMut, CollateRule, List, Prepared, Shape, Text};
use cvhost_plugin_api::error::{AbiResult, PluginError};
use cvhost_report::sketch::{Cell, sheet};
use image::{ImageFormat, RgbImage};
use serde_json::json;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

/// JPEG quality of the sheet, high enough for readable text.
const QUALITY: u8 = 92;

/// Draws the first samples of an epoch in order, as in training before the adapter's input side.
pub fn preview(args: &DataPreviewArgs, global: &Global) -> Result<()> {
    let format = format_of(&args.out)?;
    let changes: &[&str] = if args.no_augment {
        &["data.augment=false"]
    } else {
        &[]
    };
    let context = DataContext::open(&args.configured, global, changes)?;
    let SplitData { spec, source } = Splits::new(&context.session, &context.classes).open(args.split)?;
    let input = match &context.model {
        Ok(folder) => context.session.input(folder, &spec)?,
        Err(why) => Input_TO::from_value(NoModel(why.clone()), TD_Opaque),
    };
    let input: Arc<InputBox> = Arc::new(input);
    let loader = if args.split == Split::Train {
        context.session.train_loader(source, &input, Vec::new())?
    } else {
        context.session.eval_loader(source, &input)?
    };
    let order = loader.order(args.epoch);
    let indices: Vec<usize> = order.into_iter().take(args.count as usize).collect();
    let pass = Pass::new("preview", indices.len() as u64, 0);
    let (mut cells, mut names) = (Vec::new(), Vec::new());
    for &index in &indices {
        if interrupt::requested() {
            return Err(interrupt::error());
        }
        let (sample, _) = loader.sample(args.epoch, index)?;
        names.push(sample.name.to_string());
        cells.push(Cell::new(&sample, &spec)?);
        pass.step(String::new);
    }
    write(&sheet(&cells)?, &args.out, format)?;
    if global.json {
        let fields = json!({
            "file": args.out, "split": args.split.name(), "epoch": args.epoch, "records": names,
        });
        output::event("data_preview", fields);
    } else {
        let epoch = if args.split == Split::Train {
            format!(" of epoch {}", args.epoch)
        } else {
            String::new()
        };
        output::line(&format!(
            "{} {} samples{epoch}: {}",
            cells.len(),
            args.split,
            shown(&args.out)
        ));
    }
    Ok(())
}

fn format_of(path: &Path) -> Result<ImageFormat> {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("jpg" | "jpeg") => Ok(ImageFormat::Jpeg),
        Some("png") => Ok(ImageFormat::Png),
        _ => Err(
            Error::usage(format!("--out {}: unknown image format", path.display()))
                .with_expected("a name ending in .jpg, .jpeg or .png"),
        ),
    }
}

fn write(sheet: &RgbImage, path: &Path, format: ImageFormat) -> Result<()> {
    let mut bytes = Cursor::new(Vec::new());
    let encoded = match format {
        ImageFormat::Jpeg => {
            let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, QUALITY);
            sheet.write_with_encoder(encoder)
        }
        other => sheet.write_to(&mut bytes, other),
    };
    encoded.map_err(|e| Error::failed(format!("cannot encode {}: {e}", path.display())))?;
    std::fs::write(path, bytes.into_inner()).map_err(|e| Error::io(Kind::Failed, "write", path, &e))
}

/// Replaces the input side if the model is not on this machine. Augmentation only needs the input
/// size for random resizing.
struct NoModel(String);

impl NoModel {
    fn refused<T>(&self) -> AbiResult<T> {
        let message = format!(
            "data.augmentations.random_resize needs the model's input size: {}",
            self.0
        );
        RResult::RErr(PluginError::data(message).with_help(
            "download the model first, for example with a short `cvhost run`, or preview with --no-augment",
        ))
    }
}

impl Input for NoModel {
    fn shape(&self, _args: ShapeArgsRef) -> AbiResult<Shape> {
        self.refused()
    }

    fn prepare(&self, _args: PrepareArgsRef<'_>, _out: ArrayMut<'_>) -> AbiResult<Prepared> {
        self.refused()
    }

    fn collate(&self) -> AbiResult<List<CollateRule>> {
        self.refused()
    }

    fn config_json(&self) -> AbiResult<Text> {
        self.refused()
    }

    fn stride(&self) -> AbiResult<u64> {
        self.refused()
    }
}
