//! Plain n-dimensional arrays: how labels and predictions cross without torch.

use super::containers::List;
use crate::error::{PluginError, Result};
use abi_stable::StableAbi;
use std::fmt;
use std::marker::PhantomData;

/// The element type of an array. The upper half of the number is the size of an element in bytes,
/// so that a type that this version doesn't know can still be copied.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq)]
pub struct DType(pub u32);

impl DType {
    pub const U8: Self = Self::of(1, 1);
    pub const I32: Self = Self::of(2, 4);
    pub const I64: Self = Self::of(3, 8);
    pub const F32: Self = Self::of(4, 4);
    pub const F64: Self = Self::of(5, 8);
    pub const I8: Self = Self::of(6, 1);
    pub const U16: Self = Self::of(7, 2);
    pub const U32: Self = Self::of(8, 4);
    /// One byte, 0 or 1.
    pub const BOOL: Self = Self::of(9, 1);
    /// IEEE 754 half precision.
    pub const F16: Self = Self::of(10, 2);
    /// The upper half of a float32.
    pub const BF16: Self = Self::of(11, 2);

    const fn of(number: u32, size: u32) -> Self {
        Self(number | size << 16)
    }

    /// Bytes per element; `None` where the number has no size, which only a broken plugin sends.
    pub fn size(self) -> Option<usize> {
        match self.0 >> 16 {
            0 => None,
            size => Some(size as usize),
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
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::U32 => "u32",
            Self::BOOL => "bool",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self(other) => return write!(f, "dtype {} of {} bytes", other & 0xffff, other >> 16),
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
elements!(u8 => U8, i8 => I8, u16 => U16, i32 => I32, u32 => U32, i64 => I64, f32 => F32, f64 => F64);

/// An owned array in row-major order.
#[repr(C)]
#[derive(StableAbi, Clone, PartialEq)]
pub struct Array {
    dtype: DType,
    dims: List<u64>,
    /// Whole 8-byte words, so that the elements are aligned for every type.
    words: List<u64>,
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
            DType::I8 => self.values::<i8>()?.iter().map(|&v| f64::from(v)).collect(),
            DType::U16 => self.values::<u16>()?.iter().map(|&v| f64::from(v)).collect(),
            DType::U32 => self.values::<u32>()?.iter().map(|&v| f64::from(v)).collect(),
            DType::BOOL => self.bytes().iter().map(|&v| f64::from(v)).collect(),
            DType::F16 => self.halves().map(f64_of_f16).collect(),
            DType::BF16 => self
                .halves()
                .map(|bits| f64::from(f32::from_bits(u32::from(bits) << 16)))
                .collect(),
            other => {
                return Err(PluginError::failed(format!(
                    "can't convert an array of {other:?} to f64"
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

    /// The elements of a 16-bit type as their bits.
    fn halves(&self) -> impl Iterator<Item = u16> + '_ {
        let pairs = self.bytes().chunks_exact(2);
        pairs.filter_map(|pair| Some(u16::from_ne_bytes(pair.try_into().ok()?)))
    }

    /// An array of any element type from its bytes in row-major order, native endianness. Fails
    /// where their number doesn't fit the shape.
    pub fn from_bytes(dtype: DType, dims: &[u64], bytes: &[u8]) -> Result<Self> {
        let expected = dtype
            .size()
            .and_then(|size| count_of(dims).ok()?.checked_mul(size));
        if expected != Some(bytes.len()) {
            return Err(PluginError::failed(format!(
                "an array of {dtype:?}{dims:?} doesn't have {} bytes",
                bytes.len()
            )));
        }
        let mut array = Array::vector(bytes);
        array.dtype = dtype;
        array.dims = dims.to_vec().into();
        Ok(array)
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

/// The number of elements of a shape. A shape that no memory could hold is refused, also where one
/// of its dimensions is 0.
fn count_of(dims: &[u64]) -> Result<usize> {
    let without_zeros = dims
        .iter()
        .try_fold(1u64, |product, &d| product.checked_mul(d.max(1)))
        .filter(|product| *product <= (isize::MAX as u64) / 8);
    let Some(count) = without_zeros else {
        return Err(PluginError::failed(format!(
            "an array of shape {dims:?} is too large"
        )));
    };
    Ok(if dims.contains(&0) { 0 } else { count as usize })
}

/// IEEE 754 half precision: sign, 5 bits of exponent, 10 bits of mantissa.
fn f64_of_f16(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, mantissa) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + mantissa / 1024.0) * 2f64.powi(exponent - 15),
    }
}

/// A place to write an array to: a slot of the batch that the host owns. Rows of the last dimension are contiguous, rows
/// before it may lie apart, since a slot is part of a padded batch.
#[repr(C)]
#[derive(StableAbi)]
pub struct ArrayMut<'a> {
    data: *mut u8,
    dtype: DType,
    dims: List<u64>,
    /// In elements.
    strides: List<u64>,
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
        let empty = dims.contains(&0) && count_of(dims).is_ok();
        let fits = empty || reach.is_some_and(|r| r <= buffer.len() as u64);
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
        if self.dims.contains(&0) {
            return Ok(&mut []); // Nothing of it lies in the buffer, so no offset may be computed.
        }
        let offset: u64 = index.iter().zip(self.strides.iter()).map(|(i, s)| i * s).sum();
        let length = self.dims.last().copied().unwrap_or(0);
        Ok(crate::raw::row_of(self.data, offset as usize, length as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dtype_knows_its_size_also_an_unknown_one() {
        let sizes = [DType::BOOL, DType::BF16, DType::U32, DType::I64].map(DType::size);
        assert_eq!(sizes, [Some(1), Some(2), Some(4), Some(8)]);
        assert_eq!(DType(77 | 16 << 16).size(), Some(16));
        assert_eq!(DType(5).size(), None);
        let later = Array::from_bytes(DType(77 | 3 << 16), &[2], &[1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(later.joined(&later).unwrap().bytes().len(), 12);
        assert!(later.to_f64().is_err());
    }

    #[test]
    fn half_precision_becomes_f64() {
        let f16 = [0x3c00u16, 0xc000, 0x0001, 0x7c00].map(u16::to_ne_bytes).concat();
        let array = Array::from_bytes(DType::F16, &[4], &f16).unwrap();
        assert_eq!(
            array.to_f64().unwrap(),
            [1.0, -2.0, 2f64.powi(-24), f64::INFINITY]
        );
        let bf16 = [0x3f80u16, 0xc040].map(u16::to_ne_bytes).concat();
        let array = Array::from_bytes(DType::BF16, &[2], &bf16).unwrap();
        assert_eq!(array.to_f64().unwrap(), [1.0, -3.0]);
    }

    #[test]
    fn an_empty_slot_with_a_huge_dimension_is_refused() {
        assert!(ArrayMut::new::<f32>(&mut [], &[0, 1 << 62], &[1 << 62, 1]).is_err());
        assert!(Array::new::<f32>(&[0, 1 << 62], &[]).is_err());
        // Rows of no elements: nothing of the buffer is touched, wherever the strides lead.
        let mut slot = ArrayMut::new::<f32>(&mut [], &[1 << 20, 0], &[1 << 40, 1]).unwrap();
        assert!(slot.row_mut::<f32>(&[(1 << 20) - 1]).unwrap().is_empty());
        assert!(ArrayMut::new::<f32>(&mut [], &[0, 4], &[4, 1]).is_ok());
    }
}
