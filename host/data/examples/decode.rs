//! Decodes images to raw RGB, for comparison with other decoders.
//!
//! Each line of standard input is `IMAGE<tab>OUTPUT`. `OUTPUT` receives `height * width * 3` bytes,
//! and the line `width height` is printed. If an image can't be read, the line is `error: ` and the
//! reason.

use cvhost_data::decode;
use cvhost_plugin_api::data::ImageSource;
use std::error::Error;
use std::io::{Write, stdin, stdout};

fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lines() {
        let line = line?;
        let (image, output) = line
            .split_once('\t')
            .ok_or_else(|| format!("line {line:?} isn't `IMAGE<tab>OUTPUT`"))?;
        match decode(&ImageSource::file(image)) {
            Ok(image) => {
                std::fs::write(output, image.pixels.as_slice())?;
                writeln!(stdout(), "{} {}", image.width, image.height)?;
            }
            Err(error) => writeln!(stdout(), "error: {}", error.to_string().replace('\n', " "))?,
        }
    }
    Ok(())
}
