//! A JSON Lines file that a resumed run continues.

use crate::files::io_error;
use cvhost_plugin_api::Result;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

pub struct LineFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LineFile {
    /// Opens a file for appending. With `keep`, everything after this many bytes is truncated; an
    /// incomplete last line left by a crash is always removed.
    pub fn open(path: &Path, keep: Option<u64>) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| io_error("open", path, &e))?;
        let failed = |e: std::io::Error| io_error("continue", path, &e);
        let length = file.metadata().map_err(failed)?.len();
        let whole = end_of_last_line(&mut file, length.min(keep.unwrap_or(length))).map_err(failed)?;
        file.set_len(whole).map_err(failed)?;
        file.seek(SeekFrom::Start(whole)).map_err(failed)?;
        Ok(LineFile {
            path: path.to_owned(),
            file,
            bytes: whole,
        })
    }

    /// Appends lines with one write.
    pub fn append(&mut self, lines: &[Value]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for line in lines {
            text += &line.to_string();
            text.push('\n');
        }
        if let Err(e) = self.file.write_all(text.as_bytes()) {
            // A partially written line would corrupt the next one.
            let _ = self
                .file
                .set_len(self.bytes)
                .and_then(|()| self.file.seek(SeekFrom::Start(self.bytes)));
            return Err(io_error("write", &self.path, &e));
        }
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// The current length of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Waits until the lines are on disk.
    pub fn sync(&self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|e| io_error("write", &self.path, &e))
    }
}

/// The end of the last complete line in the first `length` bytes.
fn end_of_last_line(file: &mut File, length: u64) -> std::io::Result<u64> {
    const STEP: u64 = 4096;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(STEP);
        let mut block = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        if let Some(position) = block.iter().rposition(|&b| b == b'\n') {
            return Ok(start + position as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_after_the_kept_part_and_incomplete_lines_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.jsonl");
        let mut file = LineFile::open(&path, None).unwrap();
        file.append(&[json!({"step": 1})]).unwrap();
        let kept = file.bytes();
        file.append(&[json!({"step": 2}), json!({"long": "x".repeat(10_000)})])
            .unwrap();
        file.append(&[]).unwrap();
        drop(file);
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"half").unwrap();

        let file = LineFile::open(&path, None).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
        drop(file);
        let mut file = LineFile::open(&path, Some(kept)).unwrap();
        file.append(&[json!({"step": 3})]).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"step\":1}\n{\"step\":3}\n"
        );
        // A state beyond the end of the file keeps everything.
        assert_eq!(LineFile::open(&path, Some(1 << 40)).unwrap().bytes(), 22);
    }
}
