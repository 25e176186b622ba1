//! What is known of images before they are predicted: `cvhost predict --prompt`.

use cvhost::error::{Error, Kind, Result};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// What goes with each image: lines that `cvhost predict --json` printed, by their `image`.
#[derive(Default)]
pub struct Prompts(HashMap<PathBuf, Value>);

impl Prompts {
    /// Reads a file and says which of `images` it has nothing about, and how many of its lines are about none of them.
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
                    r#"a JSON object a line with the image's path, as `cvhost predict --json` prints it: {"image": "a.jpg", …}"#,
                )
            };
            let value: Value =
                serde_json::from_str(line).map_err(|e| wrong(format!("the line is not valid JSON: {e}")))?;
            // A line without an event is somebody's own; images that failed and the error at the end say nothing.
            if value["event"].as_str().is_some_and(|event| event != "prediction") {
                skipped += 1;
                continue;
            }
            let image = value["image"].as_str().map(PathBuf::from);
            let image = image.ok_or_else(|| wrong("the line has no `image`".to_owned()))?;
            if prompts.insert(same_path(&image), value).is_some() {
                return Err(wrong(format!(
                    "{} stands in an earlier line already",
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
            (skipped, "lines are no predictions and are passed over"),
            (foreign, "lines are about none of the images"),
            (without, "images have no line in it"),
        ] {
            if count > 0 {
                tracing::warn!("--prompt {}: {count} {what}", file.display());
            }
        }
        Ok(prompts)
    }

    /// What goes with an image; null where the file says nothing of it.
    pub fn of(&self, image: &Path) -> Value {
        self.0.get(&same_path(image)).cloned().unwrap_or_default()
    }
}

/// A path that is the same however it was written.
fn same_path(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}
