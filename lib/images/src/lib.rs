//! Which files are images, and the files below a folder, in the same order on every machine.

use std::io;
use std::path::Path;

/// Endings of files that are taken for images.
pub const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "gif", "tif", "tiff", "webp"];
/// So many folders within folders are gone into.
const DEEPEST: usize = 64;

/// Whether a file's name ends as an image's does, in any case.
pub fn is_image(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(e)))
}

/// What [`walk`] found.
#[derive(Debug, Default, PartialEq)]
pub struct Files {
    /// Names from the folder on, with `/` between parts, sorted.
    pub names: Vec<String>,
    /// So many names are not UTF-8 and were passed over.
    pub not_utf8: usize,
}

/// The files below `root` whose name, without folders, `wanted` accepts. Hidden files and folders, and links to folders, which
/// could lead in a circle, are passed over.
///
/// # Errors
/// A folder that can't be listed.
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
            if kind.is_dir() && depth < DEEPEST {
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
    fn files_come_sorted_and_without_what_is_hidden_or_a_link_to_a_folder() {
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
