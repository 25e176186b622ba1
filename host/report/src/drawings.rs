//! Draws predictions onto images and writes them as JPEG.

use cvhost::error::{Error, Kind, Result};
use cvhost::plugin_error::checked;
use cvhost_data::decode;
use cvhost_plugin_api::abi::TaskBox;
use cvhost_plugin_api::data::{Fields, Image, ImageSource, LabelSpec};
use cvhost_plugin_api::sdk::PredictionArgs;
use image::{ExtendedColorType, ImageEncoder};
use serde_json::Value;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Unique file names for drawn images: `name.jpg`, or `name-2.jpg` if an image in another folder
/// has the same name.
#[derive(Default)]
pub struct FileNames(HashSet<String>);

impl FileNames {
    pub fn unused(&mut self, path: &Path) -> String {
        let stem = path
            .file_stem()
            .map(|s| s.to_string_lossy().into_owned())
            .unwrap_or_default();
        let candidates =
            std::iter::once(format!("{stem}.jpg")).chain((2..).map(|n| format!("{stem}-{n}.jpg")));
        candidates
            .filter(|name| self.0.insert(name.clone()))
            .take(1)
            .collect()
    }
}

/// JPEG quality of drawn images.
const QUALITY: u8 = 92;

/// A drawn image, and the prediction files saved next to it.
pub struct Drawn {
    pub image: Image,
    pub files: Vec<PathBuf>,
}

/// Draws predictions onto an image and writes it to `path`, along with the files that the task
/// creates from the predictions.
pub fn draw(
    task: &TaskBox,
    prediction: &Fields,
    spec: &LabelSpec,
    source: &ImageSource,
    options: &Value,
    path: &Path,
) -> Result<Drawn> {
    let mut canvas = decode(source)?;
    let args = PredictionArgs::new(prediction, spec, options.clone());
    args.lend(|args| checked(task.draw(args, &mut canvas)))?;
    write(&canvas, path)?;
    Ok(Drawn {
        image: canvas,
        files: write_files(task, &args, path)?,
    })
}

/// Writes a task's files next to a drawn image; their names start with its name.
fn write_files(task: &TaskBox, args: &PredictionArgs<'_>, drawn: &Path) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for file in args.lend(|args| checked(task.files(args)))? {
        let name = file.file_name.as_str();
        if !name.starts_with(['.', '-']) || name.contains(['/', '\\']) || name.contains("..") {
            return Err(
                Error::failed(format!("the task plugin asked to write a file named {name:?}"))
                    .with_expected("a file name suffix, such as -depth.png")
                    .with_help("this is a bug in the task plugin; report it to its authors"),
            );
        }
        let stem = drawn.with_extension("");
        let mut path = stem.into_os_string();
        path.push(name);
        let path = PathBuf::from(path);
        std::fs::write(&path, &file.bytes).map_err(|e| Error::io(Kind::Failed, "write", &path, &e))?;
        written.push(path);
    }
    Ok(written)
}

fn write(image: &Image, path: &Path) -> Result<()> {
    let (width, height) = (image.width, image.height);
    if image.pixels.len() as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err(Error::failed(format!(
            "a drawn image of {width}x{height} has the wrong number of bytes"
        ))
        .with_help("this is a bug in the task plugin; report it to its authors"));
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| Error::io(Kind::Failed, "create the folder", folder, &e))?;
    }
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    encoder
        .write_image(&image.pixels, width, height, ExtendedColorType::Rgb8)
        .map_err(|e| Error::failed(format!("cannot encode {}: {e}", path.display())))?;
    std::fs::write(path, bytes).map_err(|e| Error::io(Kind::Failed, "write", path, &e))
}
