//! Decodes pictures to raw RGB, for comparison with other decoders.
//!
//! Each line of the standard input is `PICTURE<tab>OUTPUT`. `OUTPUT` gets `height * width * 3` bytes, and a line `width height`
//! is printed; for a picture that can't be read the line is `error: ` and why.

use cvhost_data::decode;
use cvhost_plugin_api::data::PictureSource;
use std::error::Error;
use std::io::{Write, stdin, stdout};

fn main() -> Result<(), Box<dyn Error>> {
    for line in stdin().lines() {
        let line = line?;
        let (picture, output) = line
            .split_once('\t')
            .ok_or_else(|| format!("line {line:?} isn't `PICTURE<tab>OUTPUT`"))?;
        match decode(&PictureSource::file(picture)) {
            Ok(picture) => {
                std::fs::write(output, picture.pixels.as_slice())?;
                writeln!(stdout(), "{} {}", picture.width, picture.height)?;
            }
            Err(error) => writeln!(stdout(), "error: {}", error.to_string().replace('\n', " "))?,
        }
    }
    Ok(())
}
