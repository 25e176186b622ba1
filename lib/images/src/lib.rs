//! Recognizes image files and lists the files below a folder, in the same order on every machine.

use std::io;
use std::path::Path;

/// Extensions of files that are treated as images.
pub const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "gif", "tif", "tiff", "webp"];
/// Maximum depth of nested folders to visit.
const MAX_DEPTH: usize = 64;

/// Whether a file name has the extension of an image, ignoring case.
pub fn is_image(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(e)))
}

/// The result of [`walk`].
#[derive(Debug, Default, PartialEq)]
pub struct Files {
    /// Paths relative to the folder, with `/` as the separator, sorted.
    pub names: Vec<String>,
    /// The number of skipped names that are not UTF-8.
    pub not_utf8: usize,
}

/// Lists the files below `root` whose file name (without folders) is accepted by `wanted`. Hidden
/// files and folders are skipped, and so are links to folders, which could form a cycle.
///
/// # Errors
/// If a folder can't be listed.
pub fn walk(root: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Files> {
    let mut files = Files::default();
    let mut folders = vec![(String::new(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                files.not_utf8 += 1;
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            let path = format!("{folder}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() && depth < MAX_DEPTH {
                folders.push((format!("{path}/"), depth + 1));
            } else if !kind.is_dir() && wanted(name) && !(kind.is_symlink() && root.join(&path).is_dir()) {
                files.names.push(path);
            }
        }
    }
    files.names.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn files_are_sorted_and_hidden_ones_and_links_to_folders_are_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        std::fs::create_dir_all(root.join("b/.hidden")).unwrap();
        for file in [
            "b/2.JPG",
            "b/.hidden/3.jpg",
            ".4.jpg",
            "a.png",
            "notes.txt",
            "c.jpg",
        ] {
            std::fs::write(root.join(file), "").unwrap();
        }
        std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff.jpg")), "").unwrap();
        std::os::unix::fs::symlink("..", root.join("b/up.jpg")).unwrap();
        std::os::unix::fs::symlink("../a.png", root.join("b/link.png")).unwrap();
        let found = walk(root, is_image).unwrap();
        assert_eq!(found.names, ["a.png", "b/2.JPG", "b/link.png", "c.jpg"]);
        assert_eq!(found.not_utf8, 1);
        assert!(walk(&root.join("gone"), is_image).is_err());
    }
}
