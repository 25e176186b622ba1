//! A safetensors file in memory.
//!
//! A checkpoint is first copied into memory, and training waits only for that. Writing it to disk
//! no longer needs the tensors and can happen on another thread.

use super::weights::{dtype_of, torch_error};
use cvhost::atomic::cannot_save;
use cvhost::error::{Error, Result};
use cvhost_torch::shim;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tch::{Device, Tensor};

/// The bytes of a safetensors file, exactly as written to disk.
#[derive(Debug)]
pub struct Packed {
    bytes: Vec<u8>,
}

impl Packed {
    /// Copies tensors from any device. Tensors are sorted by dtype width in descending order, so
    /// that each is aligned, and otherwise keep their order. `memory` is a buffer to reuse:
    /// allocating fresh memory of this size costs more than the copy.
    ///
    /// # Errors
    /// Two tensors have the same name; a dtype is not supported by the file format.
    pub fn new(tensors: &[(String, Tensor)], memory: Vec<u8>) -> Result<Packed> {
        let mut entries = Vec::with_capacity(tensors.len());
        for (name, tensor) in tensors {
            entries.push((name, tensor, about(name, tensor)?));
        }
        entries.sort_by_key(|(_, _, info)| std::cmp::Reverse(info.dtype.bitsize()));
        let mut at = 0;
        for (_, _, info) in &mut entries {
            let end = at + info.data_offsets.1;
            info.data_offsets = (at, end);
            at = end;
        }
        let header = header(&entries)?;
        let mut bytes = memory;
        bytes.resize(8 + header.len() + at, 0);
        let (front, mut rest) = bytes.split_at_mut(8 + header.len());
        front[..8].copy_from_slice(&(header.len() as u64).to_le_bytes());
        front[8..].copy_from_slice(&header);
        let mut copies = Vec::with_capacity(entries.len());
        for (name, tensor, info) in &entries {
            let (target, others) = rest.split_at_mut(info.data_offsets.1 - info.data_offsets.0);
            rest = others;
            let failed = |e: &tch::TchError| torch_error(e).within(format!("tensor `{name}`"));
            if tensor.device() == Device::Cpu {
                copies.push((
                    tensor
                        .f_detach()
                        .and_then(|t| t.f_contiguous())
                        .map_err(|e| failed(&e))?,
                    target,
                ));
            } else {
                copy_from_device(tensor, target).map_err(|e| failed(&e))?;
            }
        }
        copy_all(copies);
        Ok(Packed { bytes })
    }

    /// The number of bytes that is enough for a file with these tensors.
    pub fn bytes_for<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> usize {
        const HEADER: usize = 4096;
        const HEADER_OF_TENSOR: usize = 256;
        let sizes = tensors
            .into_iter()
            .map(|t| t.numel() * t.kind().elt_size_in_bytes() + HEADER_OF_TENSOR);
        HEADER + sizes.sum::<usize>()
    }

    pub fn write(&self, path: &Path) -> Result<()> {
        let mut file = File::create(path).map_err(|e| cannot_save("write", path, &e))?;
        file.write_all(&self.bytes)
            .map_err(|e| cannot_save("write", path, &e))
    }

    /// Returns the buffer for reuse.
    pub fn into_memory(self) -> Vec<u8> {
        self.bytes
    }
}

/// The dtype and shape of a tensor; its byte range is `0..size` for now.
fn about(name: &str, tensor: &Tensor) -> Result<TensorInfo> {
    let kind = tensor
        .f_kind()
        .map_err(|e| torch_error(&e).within(format!("tensor `{name}`")))?;
    let dtype = dtype_of(kind).ok_or_else(|| {
        Error::failed(format!(
            "tensor `{name}` has dtype {kind:?}, which cannot be saved"
        ))
    })?;
    let shape: Vec<usize> = tensor.size().into_iter().map(|d| d as usize).collect();
    let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
    Ok(TensorInfo {
        dtype,
        shape,
        data_offsets: (0, bytes),
    })
}

fn header(entries: &[(&String, &Tensor, TensorInfo)]) -> Result<Vec<u8>> {
    let infos: Vec<(String, TensorInfo)> = entries
        .iter()
        .map(|(name, _, info)| ((*name).clone(), info.clone()))
        .collect();
    let mut seen = std::collections::HashSet::new();
    if let Some((name, _)) = infos.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        return Err(Error::failed(format!("two tensors are named `{name}`")));
    }
    // transformers rejects files whose metadata doesn't name the framework.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata =
        Metadata::new(Some(format), infos).map_err(|e| Error::failed(format!("safetensors: {e}")))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| Error::failed(format!("safetensors: {e}")))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

fn copy_from_device(tensor: &Tensor, target: &mut [u8]) -> Result<(), tch::TchError> {
    let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
    tensor.f_copy_data_u8(target, tensor.numel())
}

/// Copies contiguous CPU tensors with several threads: training waits, and a single thread doesn't
/// saturate the memory bandwidth.
fn copy_all(mut copies: Vec<(Tensor, &mut [u8])>) {
    const PIECE: usize = 1 << 20;
    const MAX_THREADS: usize = 4;
    let mut pieces: Vec<(&[u8], &mut [u8])> = Vec::new();
    for (tensor, target) in &mut copies {
        // SAFETY: nothing writes to the tensor until this function has returned.
        let source = unsafe { shim::bytes_of(tensor) };
        pieces.extend(source.chunks(PIECE).zip(target.chunks_mut(PIECE)));
    }
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
    let threads = threads.min(pieces.len());
    let queue = Mutex::new(pieces);
    let work = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some((source, target)) = next else { return };
            target.copy_from_slice(source);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}
