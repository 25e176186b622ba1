//! Plain n-dimensional arrays: how images, labels and predictions cross without torch.

use crate::error::{PluginError, Result};
use abi_stable::StableAbi;
use abi_stable::std_types::RVec;
use std::fmt;
use std::marker::PhantomData;

/// The element type of an array.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq)]
pub struct DType(pub u32);

impl DType {
    pub const U8: Self = Self(1);
    pub const I32: Self = Self(2);
    pub const I64: Self = Self(3);
    pub const F32: Self = Self(4);
    pub const F64: Self = Self(5);

    /// Bytes of one element, or `None` for a type that this version doesn't know.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::U8 => Some(1),
            Self::I32 | Self::F32 => Some(4),
            Self::I64 | Self::F64 => Some(8),
            _ => None,
        }
    }
}

impl fmt::Debug for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self(other) => return write!(f, "dtype {other}"),
        };
        f.write_str(name)
    }
}

/// A Rust type that an array can hold.
pub trait Element: bytemuck::Pod {
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),*) => {$(
        impl Element for $rust { const DTYPE: DType = DType::$dtype; }
    )*};
}
elements!(u8 => U8, i32 => I32, i64 => I64, f32 => F32, f64 => F64);

/// An owned array in row-major order.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq)]
pub struct Array {
    dtype: DType,
    dims: RVec<u64>,
    /// Whole 8-byte words, so that the elements are aligned for every type.
    words: RVec<u64>,
}

impl Array {
    /// An array of `dims` with `values` in row-major order. Fails where their counts differ.
    pub fn new<T: Element>(dims: &[u64], values: &[T]) -> Result<Self> {
        let count = count_of(dims)?;
        if count != values.len() {
            return Err(PluginError::failed(format!(
                "an array of shape {dims:?} takes {count} values, got {}",
                values.len()
            )));
        }
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        if let Some(target) = bytemuck::cast_slice_mut::<u64, u8>(&mut words).get_mut(..bytes.len()) {
            target.copy_from_slice(bytes);
        }
        Ok(Array {
            dtype: T::DTYPE,
            dims: dims.to_vec().into(),
            words: words.into(),
        })
    }

    /// A one-dimensional array.
    pub fn vector<T: Element>(values: &[T]) -> Self {
        let mut words = vec![0u64; std::mem::size_of_val(values).div_ceil(8)];
        let bytes: &[u8] = bytemuck::cast_slice(values);
        if let Some(target) = bytemuck::cast_slice_mut::<u64, u8>(&mut words).get_mut(..bytes.len()) {
            target.copy_from_slice(bytes);
        }
        Array {
            dtype: T::DTYPE,
            dims: vec![values.len() as u64].into(),
            words: words.into(),
        }
    }

    /// A `[rows.len(), N]` array.
    pub fn rows<T: Element, const N: usize>(rows: &[[T; N]]) -> Self {
        let flat: Vec<T> = rows.iter().flatten().copied().collect();
        let mut array = Array::vector(&flat);
        array.dims = vec![rows.len() as u64, N as u64].into();
        array
    }

    /// UTF-8 text as bytes.
    pub fn text(text: &str) -> Self {
        Array::vector(text.as_bytes())
    }

    /// `[texts.len(), L]` bytes, each text UTF-8 and filled up with zeros to the longest.
    pub fn texts<T: AsRef<str>>(texts: &[T]) -> Self {
        let longest = texts.iter().map(|t| t.as_ref().len()).max().unwrap_or(0);
        let mut bytes = Vec::with_capacity(texts.len() * longest);
        for text in texts {
            let start = bytes.len();
            bytes.extend_from_slice(text.as_ref().as_bytes());
            bytes.resize(start + longest, 0);
        }
        let mut array = Array::vector(&bytes);
        array.dims = vec![texts.len() as u64, longest as u64].into();
        array
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn dims(&self) -> &[u64] {
        &self.dims
    }

    /// The number of elements.
    pub fn count(&self) -> usize {
        // `new` has checked that the product fits.
        self.dims.iter().product::<u64>() as usize
    }

    /// The elements as `T`. Fails where the array holds another type.
    pub fn values<T: Element>(&self) -> Result<&[T]> {
        if self.dtype != T::DTYPE {
            return Err(PluginError::failed(format!(
                "the array holds {:?}, asked for {:?}",
                self.dtype,
                T::DTYPE
            )));
        }
        let all: &[T] = bytemuck::cast_slice(self.words.as_slice());
        all.get(..self.count()).ok_or_else(|| {
            PluginError::failed(format!("an array of shape {:?} has too few values", self.dims()))
        })
    }

    /// The elements as `f64`, whatever numeric type they have.
    pub fn to_f64(&self) -> Result<Vec<f64>> {
        Ok(match self.dtype {
            DType::U8 => self.values::<u8>()?.iter().map(|&v| f64::from(v)).collect(),
            DType::I32 => self.values::<i32>()?.iter().map(|&v| f64::from(v)).collect(),
            DType::I64 => self.values::<i64>()?.iter().map(|&v| v as f64).collect(),
            DType::F32 => self.values::<f32>()?.iter().map(|&v| f64::from(v)).collect(),
            DType::F64 => self.values::<f64>()?.to_vec(),
            other => {
                return Err(PluginError::failed(format!(
                    "an array of unknown element type {other:?}"
                )));
            }
        })
    }

    /// The rows of an `[M, N]` array as `f64`. Fails where it has another shape.
    pub fn to_rows<const N: usize>(&self) -> Result<Vec<[f64; N]>> {
        if self.dims.len() != 2 || self.dims.last() != Some(&(N as u64)) {
            return Err(PluginError::failed(format!(
                "expected an array of shape [M, {N}], got {:?}",
                self.dims()
            )));
        }
        let flat = self.to_f64()?;
        Ok(flat
            .chunks_exact(N)
            .filter_map(|row| row.try_into().ok())
            .collect())
    }

    /// The content of a text array.
    pub fn as_text(&self) -> Result<&str> {
        std::str::from_utf8(self.values::<u8>()?)
            .map_err(|e| PluginError::failed(format!("text is not UTF-8: {e}")))
    }

    /// The texts of an array that [`Array::texts`] made.
    pub fn as_texts(&self) -> Result<Vec<String>> {
        let &[count, longest] = self.dims() else {
            return Err(PluginError::failed(format!(
                "expected texts of shape [N, L], got {:?}",
                self.dims()
            )));
        };
        let bytes = self.values::<u8>()?;
        let text = |row: usize| {
            let start = row * longest as usize;
            let filled = bytes.get(start..start + longest as usize).unwrap_or_default();
            let length = filled.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
            let text = std::str::from_utf8(filled.get(..length).unwrap_or_default());
            text.map(str::to_owned)
                .map_err(|e| PluginError::failed(format!("text {row} is not UTF-8: {e}")))
        };
        (0..count as usize).map(text).collect()
    }

    /// The rows of another array behind this one's. Fails where the types or the rows' shapes differ.
    pub fn joined(&self, more: &Array) -> Result<Array> {
        if self.dtype != more.dtype || self.dims.get(1..) != more.dims.get(1..) || self.dims.is_empty() {
            return Err(PluginError::failed(format!(
                "arrays {self:?} and {more:?} can't be put together"
            )));
        }
        let bytes = [self.bytes(), more.bytes()].concat();
        let mut joined = Array::vector(&bytes);
        joined.dtype = self.dtype;
        joined.dims = self.dims.clone();
        if let (Some(rows), Some(added)) = (joined.dims.first_mut(), more.dims.first()) {
            *rows += added;
        }
        Ok(joined)
    }

    /// The elements' bytes in row-major order, native endianness.
    pub fn bytes(&self) -> &[u8] {
        let all: &[u8] = bytemuck::cast_slice(self.words.as_slice());
        let length = self.count() * self.dtype.size().unwrap_or(0);
        all.get(..length).unwrap_or(&[])
    }
}

impl fmt::Debug for Array {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{:?}", self.dtype, self.dims())
    }
}

fn count_of(dims: &[u64]) -> Result<usize> {
    dims.iter()
        .try_fold(1u64, |product, &d| product.checked_mul(d))
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| PluginError::failed(format!("an array of shape {dims:?} is too large")))
}

/// A place to write an array to: a slot of the batch that the host owns. Rows of the last dimension are contiguous, rows
/// before it may lie apart, since a slot is part of a padded batch.
#[repr(C)]
#[derive(StableAbi)]
pub struct ArrayMut<'a> {
    data: *mut u8,
    dtype: DType,
    dims: RVec<u64>,
    /// In elements.
    strides: RVec<u64>,
    lifetime: PhantomData<&'a mut u8>,
}

impl<'a> ArrayMut<'a> {
    /// A slot of shape `dims` in `buffer`, whose rows lie `strides` elements apart. Fails where the last stride isn't 1 or
    /// the slot would reach over the buffer's end.
    pub fn new<T: Element>(buffer: &'a mut [T], dims: &[u64], strides: &[u64]) -> Result<Self> {
        let reach = dims.iter().zip(strides).try_fold(1u64, |sum, (&d, &s)| {
            d.checked_sub(1)
                .and_then(|last| last.checked_mul(s))
                .and_then(|v| v.checked_add(sum))
        });
        let fits = dims.contains(&0) || reach.is_some_and(|r| r <= buffer.len() as u64);
        if dims.len() != strides.len() || strides.last() != Some(&1) || !fits {
            return Err(PluginError::failed(format!(
                "a slot of shape {dims:?} with strides {strides:?} does not fit {} elements",
                buffer.len()
            )));
        }
        Ok(ArrayMut {
            data: buffer.as_mut_ptr().cast(),
            dtype: T::DTYPE,
            dims: dims.to_vec().into(),
            strides: strides.to_vec().into(),
            lifetime: PhantomData,
        })
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    pub fn dims(&self) -> &[u64] {
        &self.dims
    }

    /// The contiguous row at `index`, which names every dimension but the last: of a `[C, H, W]` slot, `row_mut(&[c, y])`
    /// has `W` elements. Fails where the index or the type is wrong.
    pub fn row_mut<T: Element>(&mut self, index: &[u64]) -> Result<&mut [T]> {
        let inside =
            index.len() + 1 == self.dims.len() && index.iter().zip(self.dims.iter()).all(|(i, d)| i < d);
        if self.dtype != T::DTYPE || !inside {
            return Err(PluginError::failed(format!(
                "row {index:?} of {:?} asked of a slot of {:?}{:?}",
                T::DTYPE,
                self.dtype,
                self.dims()
            )));
        }
        let offset: u64 = index.iter().zip(self.strides.iter()).map(|(i, s)| i * s).sum();
        let length = self.dims.last().copied().unwrap_or(0);
        Ok(crate::raw::row_of(self.data, offset as usize, length as usize))
    }
}
