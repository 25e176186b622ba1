//! Reads safetensors files. The header is validated completely before any data is read.
//!
//! Tensors are read with positioned reads rather than through a memory map: if another process
//! truncates a file, that is then an I/O error with a message, not a signal that kills the program.

use cvhost::error::{Error, Kind as ErrorKind, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::Deserializer as _;
use serde::de::{self, MapAccess, Visitor};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// The limit of the format, in bytes. Real checkpoints have headers of a few megabytes.
const MAX_HEADER: u64 = 100_000_000;
const MAX_TENSORS: usize = 100_000;

/// The tensors of one or more safetensors files.
#[derive(Debug)]
pub struct Weights {
    files: Vec<OneFile>,
    /// Maps a name to (file index, tensor index in that file).
    index: HashMap<String, (usize, usize)>,
    /// Names in file order.
    names: Vec<String>,
}

#[derive(Debug)]
struct OneFile {
    path: PathBuf,
    file: File,
    /// The byte offset of the data.
    data: u64,
    tensors: Vec<TensorInfo>,
}

impl Weights {
    /// Opens the files and checks their headers.
    ///
    /// # Errors
    /// A file can't be read or isn't safetensors; a header is over 100 MB; there are over 100,000
    /// tensors; a name occurs twice; the size of a shape overflows or doesn't match its byte range;
    /// ranges overlap, leave gaps or exceed the file. Messages name the file and the tensor.
    pub fn open(paths: &[PathBuf]) -> Result<Weights> {
        let mut weights = Weights {
            files: Vec::new(),
            index: HashMap::new(),
            names: Vec::new(),
        };
        for path in paths {
            let (file, names) = open_one(path)?;
            for (at, name) in names.into_iter().enumerate() {
                if let Some((other, _)) = weights.index.insert(name.clone(), (weights.files.len(), at)) {
                    let other = weights.files.get(other).map(|f| f.path.display().to_string());
                    return Err(bad(
                        path,
                        format!("tensor `{name}` is also in {}", other.unwrap_or_default()),
                    ));
                }
                weights.names.push(name);
            }
            weights.files.push(file);
        }
        Ok(weights)
    }

    /// All names, file by file, in the order of their data.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn has(&self, name: &str) -> bool {
        self.index.contains_key(name)
    }

    /// The shape of a tensor, if it exists.
    pub fn shape(&self, name: &str) -> Option<Vec<i64>> {
        let (_, info) = self.find(name)?;
        // The header check ensures that every dimension fits into i64.
        Some(info.shape.iter().map(|d| *d as i64).collect())
    }

    /// The file that contains a tensor.
    pub fn file_of(&self, name: &str) -> Option<&Path> {
        self.find(name).map(|(file, _)| file.path.as_path())
    }

    /// Reads a tensor: on the CPU, contiguous, with the dtype of the file.
    pub fn read(&self, name: &str) -> Result<Tensor> {
        let (file, info) = self
            .find(name)
            .ok_or_else(|| Error::input(format!("there is no tensor `{name}` in {}", self.places())))?;
        let kind = kind_of(info.dtype).ok_or_else(|| {
            bad(
                &file.path,
                format!(
                    "tensor `{name}` has dtype {}, which has no torch equivalent",
                    info.dtype
                ),
            )
            .with_expected("F64, F32, F16, BF16, an integer or BOOL")
        })?;
        let (begin, end) = info.data_offsets;
        let mut bytes = vec![0u8; end - begin];
        file.file
            .read_exact_at(&mut bytes, file.data + begin as u64)
            .map_err(|e| {
                Error::io(ErrorKind::Input, "read", &file.path, &e).within(format!("tensor `{name}`"))
            })?;
        let shape: Vec<i64> = info.shape.iter().map(|d| *d as i64).collect();
        Tensor::f_from_data_size(&bytes, &shape, kind)
            .map_err(|e| torch_error(&e).within(format!("tensor `{name}`")))
    }

    /// Describes the files, for messages.
    pub fn places(&self) -> String {
        match self.files.as_slice() {
            [one] => one.path.display().to_string(),
            files => {
                let folder = files
                    .first()
                    .and_then(|f| f.path.parent())
                    .unwrap_or(Path::new(""));
                format!("{} files in {}", files.len(), folder.display())
            }
        }
    }

    fn find(&self, name: &str) -> Option<(&OneFile, &TensorInfo)> {
        let (file, at) = self.index.get(name)?;
        let file = self.files.get(*file)?;
        Some((file, file.tensors.get(*at)?))
    }
}

fn open_one(path: &Path) -> Result<(OneFile, Vec<String>)> {
    let cannot = |e: &std::io::Error| Error::io(ErrorKind::Input, "read", path, e);
    let file = File::open(path).map_err(|e| cannot(&e))?;
    let size = file.metadata().map_err(|e| cannot(&e))?.len();
    if size < 8 {
        return Err(bad(
            path,
            format!("it has {size} bytes; a safetensors file has at least 8"),
        ));
    }
    let mut length = [0u8; 8];
    file.read_exact_at(&mut length, 0).map_err(|e| cannot(&e))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(bad(
            path,
            format!("its header is declared as {length} bytes; at most {MAX_HEADER} are allowed"),
        ));
    }
    if length > size - 8 {
        return Err(bad(
            path,
            format!("its header is declared as {length} bytes, but the file ends after {size}"),
        ));
    }
    let mut header = vec![0u8; length as usize];
    file.read_exact_at(&mut header, 8).map_err(|e| cannot(&e))?;
    let mut entries = parse_header(&header).map_err(|e| bad(path, format!("its header is invalid: {e}")))?;
    entries.sort_by_key(|(_, info)| info.data_offsets);
    let data = 8 + length;
    check_ranges(path, &entries, size - data)?;
    let (names, tensors) = entries.into_iter().unzip();
    Ok((
        OneFile {
            path: path.to_owned(),
            file,
            data,
            tensors,
        },
        names,
    ))
}

/// Parses the entries of a header in order, without `__metadata__`.
fn parse_header(bytes: &[u8]) -> serde_json::Result<Vec<(String, TensorInfo)>> {
    struct Entries;
    impl<'de> Visitor<'de> for Entries {
        type Value = Vec<(String, TensorInfo)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of tensors")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            let mut seen = HashSet::new();
            while let Some(name) = map.next_key::<String>()? {
                if !seen.insert(name.clone()) {
                    return Err(de::Error::custom(format!("`{name}` occurs twice")));
                }
                if name == "__metadata__" {
                    map.next_value::<HashMap<String, String>>()?;
                    continue;
                }
                if entries.len() == MAX_TENSORS {
                    return Err(de::Error::custom(format!(
                        "it lists more than {MAX_TENSORS} tensors"
                    )));
                }
                let info: TensorInfo = map
                    .next_value()
                    .map_err(|e| de::Error::custom(format!("tensor `{name}`: {e}")))?;
                entries.push((name, info));
            }
            Ok(entries)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let entries = deserializer.deserialize_map(Entries)?;
    deserializer.end()?;
    Ok(entries)
}

/// Checks that the ranges, sorted by offset, cover the data of `size` bytes without overlap or gap
/// and match their shapes.
fn check_ranges(path: &Path, entries: &[(String, TensorInfo)], size: u64) -> Result<()> {
    let mut at = 0u64;
    let mut before: Option<&str> = None;
    for (name, info) in entries {
        let (begin, end) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        let bytes = size_of(info).ok_or_else(|| {
            bad(
                path,
                format!("tensor `{name}`: the size of shape {:?} overflows", info.shape),
            )
        })?;
        if end < begin || end > size {
            return Err(bad(
                path,
                format!(
                    "tensor `{name}`: bytes {begin}..{end} are not within the file's {size} bytes of data"
                ),
            )
            .with_help(
                "the file was probably truncated while it was copied or downloaded: download it again",
            ));
        }
        if end - begin != bytes {
            return Err(bad(
                path,
                format!(
                    "tensor `{name}`: {} of shape {:?} needs {bytes} bytes, but its range has {}",
                    info.dtype,
                    info.shape,
                    end - begin
                ),
            ));
        }
        if begin < at {
            let before = before.unwrap_or_default();
            return Err(bad(
                path,
                format!("tensors `{before}` and `{name}` overlap at byte {begin}"),
            ));
        }
        if begin > at {
            return Err(bad(
                path,
                format!("bytes {at}..{begin} before tensor `{name}` belong to no tensor"),
            ));
        }
        at = end;
        before = Some(name);
    }
    if at != size {
        return Err(bad(
            path,
            format!("it has {size} bytes of data, but its tensors only need {at}"),
        ));
    }
    Ok(())
}

/// The size of a tensor in bytes; `None` if that overflows or is not a whole number.
fn size_of(info: &TensorInfo) -> Option<u64> {
    let mut bits = info.dtype.bitsize() as u64;
    for dimension in &info.shape {
        i64::try_from(*dimension).ok()?;
        bits = bits.checked_mul(*dimension as u64)?;
    }
    bits.is_multiple_of(8).then_some(bits / 8)
}

fn kind_of(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::BOOL => Kind::Bool,
        Dtype::U8 => Kind::Uint8,
        Dtype::I8 => Kind::Int8,
        Dtype::I16 => Kind::Int16,
        Dtype::I32 => Kind::Int,
        Dtype::I64 => Kind::Int64,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F32 => Kind::Float,
        Dtype::F64 => Kind::Double,
        _ => return None,
    })
}

/// The safetensors dtype of a torch kind, if it has one.
pub(super) fn dtype_of(kind: Kind) -> Option<Dtype> {
    [
        Dtype::BOOL,
        Dtype::U8,
        Dtype::I8,
        Dtype::I16,
        Dtype::I32,
        Dtype::I64,
        Dtype::F16,
        Dtype::BF16,
        Dtype::F32,
        Dtype::F64,
    ]
    .into_iter()
    .find(|d| kind_of(*d) == Some(kind))
}

fn bad(path: &Path, what: String) -> Error {
    Error::input(what).within(path.display().to_string())
}

/// Converts an error of libtorch, without the C++ stack trace that it appends.
pub(super) fn torch_error(error: &tch::TchError) -> Error {
    Error::failed(format!(
        "libtorch: {}",
        error.to_string().lines().next().unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests;
