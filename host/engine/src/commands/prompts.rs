//! Prompts for prediction: `cvhost predict --prompt`.

use cvhost::error::{Error, Kind, Result};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The prompt of each image: lines printed by `cvhost predict --json`, keyed by their `image`.
#[derive(Default)]
pub struct Prompts(HashMap<PathBuf, Value>);

impl Prompts {
    /// Reads a file. Warns about `images` without a line in it, and about lines for none of the
    /// images.
    pub fn read(file: &Path, images: &[PathBuf]) -> Result<Self> {
        let text = std::fs::read_to_string(file).map_err(|e| Error::io(Kind::Input, "read", file, &e))?;
        let mut prompts = HashMap::new();
        let mut skipped = 0;
        for (number, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let wrong = |what: String| {
                Error::input(format!("{}:{}: {what}", file.display(), number + 1)).with_expected(
                    "a JSON object per line with the path of the image, as printed by `cvhost predict \
                     --json`: {\"image\": \"a.jpg\", …}",
                )
            };
            let value: Value =
                serde_json::from_str(line).map_err(|e| wrong(format!("the line is not valid JSON: {e}")))?;
            // A line without an event was written by the user. Events of failed images and the
            // final error are skipped.
            if value["event"].as_str().is_some_and(|event| event != "prediction") {
                skipped += 1;
                continue;
            }
            let image = value["image"].as_str().map(PathBuf::from);
            let image = image.ok_or_else(|| wrong("the line has no `image`".to_owned()))?;
            if prompts.insert(same_path(&image), value).is_some() {
                return Err(wrong(format!(
                    "{} already occurs in an earlier line",
                    image.display()
                )));
            }
        }
        let prompts = Prompts(prompts);
        let known = images
            .iter()
            .filter(|image| prompts.0.contains_key(&same_path(image)));
        let known = known.collect::<HashSet<_>>().len();
        let without = images.iter().collect::<HashSet<_>>().len() - known;
        let foreign = prompts.0.len() - known;
        for (count, what) in [
            (skipped, "lines are not predictions and are skipped"),
            (foreign, "lines match none of the images"),
            (without, "images have no line in it"),
        ] {
            if count > 0 {
                tracing::warn!("--prompt {}: {count} {what}", file.display());
            }
        }
        Ok(prompts)
    }

    /// The prompt of an image; null if the file has none.
    pub fn of(&self, image: &Path) -> Value {
        self.0.get(&same_path(image)).cloned().unwrap_or_default()
    }
}

/// A canonical form of the path for comparison.
fn same_path(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
