//! Memory of a batch before it becomes a tensor.

use crate::pool::Pool;
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::{ArrayMut, DType, Element};
use std::sync::Arc;

/// A contiguous buffer of elements of one type, aligned for every type.
pub struct Buffer {
    dtype: DType,
    /// 8-byte words; the last one may be partly unused.
    words: Vec<u64>,
    /// Bytes in use.
    length: usize,
    /// The pool to which the memory returns on drop.
    pool: Option<Arc<Pool>>,
}

impl Buffer {
    /// `count` elements of value `fill`, converted as by `as`.
    ///
    /// # Errors
    /// If the type is unknown, or the buffer can't fit into memory.
    pub fn filled(dtype: DType, count: u64, fill: f64) -> Result<Self> {
        let mut buffer = Self::zeros(dtype, count)?;
        // Fresh zero pages cost nothing until they are written, so zeros aren't written.
        if fill != 0.0 {
            match dtype {
                DType::U8 => buffer.elements_mut::<u8>().fill(fill as u8),
                DType::I32 => buffer.elements_mut::<i32>().fill(fill as i32),
                DType::I64 => buffer.elements_mut::<i64>().fill(fill as i64),
                DType::F32 => buffer.elements_mut::<f32>().fill(fill as f32),
                _ => buffer.elements_mut::<f64>().fill(fill),
            }
        }
        Ok(buffer)
    }

    fn zeros(dtype: DType, count: u64) -> Result<Self> {
        let length = bytes_of(dtype, count)?;
        Ok(Buffer {
            dtype,
            words: vec![0; length.div_ceil(8)],
            length,
            pool: None,
        })
    }

    /// `count` elements with arbitrary contents, in memory of the pool, to which it returns on
    /// drop.
    pub fn pooled(pool: &Arc<Pool>, dtype: DType, count: u64) -> Result<Self> {
        let length = bytes_of(dtype, count)?;
        Ok(Buffer {
            dtype,
            words: pool.take(length.div_ceil(8)),
            length,
            pool: Some(Arc::clone(pool)),
        })
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The bytes in native endianness.
    pub fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice::<u64, u8>(&self.words)
            .get(..self.length)
            .unwrap_or_default()
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut::<u64, u8>(&mut self.words)
            .get_mut(..self.length)
            .unwrap_or_default()
    }

    /// The elements. `T` must be the buffer's own type; for another type, the slice is empty.
    pub fn elements<T: Element>(&self) -> &[T] {
        if T::DTYPE == self.dtype {
            bytemuck::cast_slice(self.bytes())
        } else {
            &[]
        }
    }

    /// Like [`Buffer::elements`], but mutable.
    pub fn elements_mut<T: Element>(&mut self) -> &mut [T] {
        if T::DTYPE == self.dtype {
            bytemuck::cast_slice_mut(self.bytes_mut())
        } else {
            &mut []
        }
    }

    /// The slot of shape `dims` at the top left of block `index`, where the buffer is a sequence of
    /// blocks of shape `block`: a sample's place in a padded batch.
    pub fn slot(&mut self, index: u64, block: &[u64], dims: &[u64]) -> Result<ArrayMut<'_>> {
        match self.dtype {
            DType::U8 => slot_of(self.elements_mut::<u8>(), index, block, dims),
            DType::I32 => slot_of(self.elements_mut::<i32>(), index, block, dims),
            DType::I64 => slot_of(self.elements_mut::<i64>(), index, block, dims),
            DType::F32 => slot_of(self.elements_mut::<f32>(), index, block, dims),
            _ => slot_of(self.elements_mut::<f64>(), index, block, dims),
        }
    }
}

fn bytes_of(dtype: DType, count: u64) -> Result<usize> {
    let size = dtype
        .size()
        .ok_or_else(|| Error::failed(format!("a batch with the unknown element type {dtype:?}")))?;
    usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(size))
        .filter(|&length| isize::try_from(length).is_ok())
        .ok_or_else(|| Error::failed(format!("{count} elements of {dtype:?} don't fit into memory")))
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.give_back(std::mem::take(&mut self.words));
        }
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        Buffer {
            dtype: self.dtype,
            words: self.words.clone(),
            length: self.length,
            pool: None,
        }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        (self.dtype, self.bytes()) == (other.dtype, other.bytes())
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes of {:?}", self.length, self.dtype)
    }
}

fn slot_of<'a, T: Element>(
    elements: &'a mut [T],
    index: u64,
    block: &[u64],
    dims: &[u64],
) -> Result<ArrayMut<'a>> {
    let size = block.iter().product::<u64>();
    let start = (index * size) as usize;
    let part = elements
        .get_mut(start..start + size as usize)
        .ok_or_else(|| Error::failed(format!("a batch has no block {index} of shape {block:?}")))?;
    ArrayMut::new(part, dims, &strides(block)).map_err(cvhost::plugin_error::from_plugin)
}

impl Buffer {
    /// Fills the padding, which is the part of block `index` outside its slot, with `fill`.
    pub fn fill_around(&mut self, index: u64, block: &[u64], dims: &[u64], fill: f64) {
        match self.dtype {
            DType::U8 => fill_around(self.elements_mut::<u8>(), index, block, dims, fill as u8),
            DType::I32 => fill_around(self.elements_mut::<i32>(), index, block, dims, fill as i32),
            DType::I64 => fill_around(self.elements_mut::<i64>(), index, block, dims, fill as i64),
            DType::F32 => fill_around(self.elements_mut::<f32>(), index, block, dims, fill as f32),
            _ => fill_around(self.elements_mut::<f64>(), index, block, dims, fill),
        }
    }
}

/// Treats a block as rows of its last dimension: rows of the slot are padded at the end, all others
/// are filled.
fn fill_around<T: Element>(elements: &mut [T], index: u64, block: &[u64], dims: &[u64], fill: T) {
    let size = block.iter().product::<u64>() as usize;
    let start = index as usize * size;
    let part = elements.get_mut(start..start + size).unwrap_or_default();
    let (Some(&row), Some(&used)) = (block.last(), dims.last()) else {
        return;
    };
    let outer = block.len() - 1;
    for (number, values) in part.chunks_exact_mut((row as usize).max(1)).enumerate() {
        // The row's index in every dimension except the last one, least significant first.
        let mut remaining = number as u64;
        let inside = (0..outer).rev().all(|axis| {
            let side = block.get(axis).copied().unwrap_or(1).max(1);
            let at = remaining % side;
            remaining /= side;
            dims.get(axis).is_some_and(|&dim| at < dim)
        });
        let from = if inside { used as usize } else { 0 };
        values.get_mut(from..).unwrap_or_default().fill(fill);
    }
}

/// Row-major strides, in elements.
pub fn strides(dims: &[u64]) -> Vec<u64> {
    let mut strides = vec![1; dims.len()];
    for i in (1..dims.len()).rev() {
        if let (Some(&inner), Some(&dim)) = (strides.get(i), dims.get(i))
            && let Some(outer) = strides.get_mut(i - 1)
        {
            *outer = inner * dim;
        }
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_the_top_left_of_its_block() {
        let mut buffer = Buffer::filled(DType::F32, 12, -1.0).unwrap();
        let mut slot = buffer.slot(1, &[2, 3], &[2, 2]).unwrap();
        slot.row_mut::<f32>(&[0]).unwrap().copy_from_slice(&[1.0, 2.0]);
        slot.row_mut::<f32>(&[1]).unwrap().copy_from_slice(&[3.0, 4.0]);
        let expected = [-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, 1.0, 2.0, -1.0, 3.0, 4.0, -1.0];
        assert_eq!(buffer.elements::<f32>(), expected);
        assert!(buffer.slot(2, &[2, 3], &[2, 2]).is_err());
        assert!(buffer.slot(0, &[2, 3], &[2, 4]).is_err());
    }

    #[test]
    fn only_the_area_around_a_slot_is_filled() {
        let mut buffer = Buffer::filled(DType::I32, 24, 7.0).unwrap();
        buffer.fill_around(1, &[2, 2, 3], &[1, 1, 2], -1.0);
        let expected: Vec<i32> = [7; 12].into_iter().chain([7, 7]).chain([-1; 10]).collect();
        assert_eq!(buffer.elements::<i32>(), expected);
    }

    #[test]
    fn pooled_memory_is_reused() {
        let pool = Pool::new(1);
        let first = Buffer::pooled(&pool, DType::F32, 1000).unwrap();
        let place = first.bytes().as_ptr();
        drop(first);
        let again = Buffer::pooled(&pool, DType::U8, 3900).unwrap();
        assert_eq!((again.bytes().as_ptr(), again.bytes().len()), (place, 3900));
    }

    #[test]
    fn odd_and_impossible_sizes() {
        assert_eq!(Buffer::filled(DType::U8, 3, 7.0).unwrap().bytes(), [7, 7, 7]);
        assert!(Buffer::filled(DType::F64, u64::MAX / 4, 0.0).is_err());
        assert!(Buffer::filled(DType(77), 1, 0.0).is_err());
    }
}
