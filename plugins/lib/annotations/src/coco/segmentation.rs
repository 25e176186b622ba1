//! Polygons and masks of objects, and their validation.

use super::numbers::Integer;
use cvhost_rle::{self as rle, Broken, Rle, Runs};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The shape of one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Segmentation {
    /// Rings of alternating x and y in pixels; empty for an object without a shape.
    Polygons(Vec<Vec<f64>>),
    Rle(Rle),
}

/// The defect of an invalid shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ShapeFault {
    /// An odd number of coordinates.
    OddPolygon(usize),
    /// Fewer coordinates than three points have; the number of coordinates.
    ShortPolygon(usize),
    NotFinite,
    /// A flat list of numbers instead of a list of lists.
    FlatList,
    /// `counts` or `size` is missing.
    Incomplete,
    RunSum {
        sum: u64,
        height: u32,
        width: u32,
    },
    Broken(Broken),
    /// Neither a list nor RLE.
    OtherType,
    /// A mask whose size differs from its image's.
    OtherSize {
        height: u32,
        width: u32,
    },
}

impl fmt::Display for ShapeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ShapeFault::OddPolygon(count) => {
                write!(f, "polygon with {count} numbers, which can't be pairs of x and y")
            }
            ShapeFault::ShortPolygon(count) => {
                write!(f, "polygon with {count} numbers, fewer than three points")
            }
            ShapeFault::NotFinite => f.write_str("polygon with a number that is NaN or missing"),
            ShapeFault::FlatList => f.write_str("numbers instead of a list of polygons"),
            ShapeFault::Incomplete => f.write_str("RLE without `size` [height, width] or `counts`"),
            ShapeFault::RunSum { sum, height, width } => {
                let wanted = u64::from(*height) * u64::from(*width);
                write!(
                    f,
                    "RLE whose counts sum to {sum}, not to {height} x {width} = {wanted}"
                )
            }
            ShapeFault::Broken(Broken::Text) => f.write_str("RLE with invalid compressed counts"),
            ShapeFault::Broken(Broken::Negative) => f.write_str("RLE with a negative count"),
            ShapeFault::Broken(Broken::Size) => f.write_str("RLE whose counts don't add up to its size"),
            ShapeFault::OtherType => f.write_str("neither a list of polygons nor RLE"),
            ShapeFault::OtherSize { height, width } => {
                write!(
                    f,
                    "RLE of {height} x {width}, which differs from the image's height and width"
                )
            }
        }
    }
}

/// How a reader handles `segmentation`.
pub trait Shape: for<'de> Deserialize<'de> {
    /// The shape, if it is stored, or its defect.
    fn take(self) -> Result<Option<Segmentation>, ShapeFault>;
}

/// Not read.
pub struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_ignored_any(IgnoredAny).map(|_| Skipped)
    }
}

impl Shape for Skipped {
    fn take(self) -> Result<Option<Segmentation>, ShapeFault> {
        Ok(None)
    }
}

/// Validated while reading and discarded: a polygon's coordinates are only counted.
pub struct Checked(Result<(), ShapeFault>);

impl Shape for Checked {
    fn take(self) -> Result<Option<Segmentation>, ShapeFault> {
        self.0.map(|()| None)
    }
}

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let shape = deserializer.deserialize_any(ShapeVisitor(Count::default()))?;
        Ok(Checked(shape.map(|_| ())))
    }
}

/// Stored.
pub struct Kept(Result<Segmentation, ShapeFault>);

impl Shape for Kept {
    fn take(self) -> Result<Option<Segmentation>, ShapeFault> {
        self.0.map(Some)
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer
            .deserialize_any(ShapeVisitor(Vec::<f64>::new()))
            .map(Kept)
    }
}

/// The coordinates of one polygon.
trait Ring: Default {
    /// The type a coordinate is deserialized as.
    type Number: for<'de> Deserialize<'de>;
    fn push(&mut self, number: Self::Number);
    fn count(&self) -> usize;
    fn into_numbers(self) -> Vec<f64>;
}

impl Ring for Vec<f64> {
    type Number = Option<f64>;
    fn push(&mut self, number: Option<f64>) {
        self.push(number.unwrap_or(f64::NAN));
    }
    fn count(&self) -> usize {
        self.len()
    }
    fn into_numbers(self) -> Vec<f64> {
        self
    }
}

#[derive(Default)]
struct Count(usize);

impl Ring for Count {
    type Number = IgnoredAny;
    fn push(&mut self, _: IgnoredAny) {
        self.0 += 1;
    }
    fn count(&self) -> usize {
        self.0
    }
    fn into_numbers(self) -> Vec<f64> {
        Vec::new()
    }
}

struct ShapeVisitor<R>(R);

impl<'de, R: Ring> Visitor<'de> for ShapeVisitor<R> {
    type Value = Result<Segmentation, ShapeFault>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`segmentation` as a list of polygons or as RLE")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let (mut polygons, mut fault) = (Vec::new(), None);
        while let Some(part) = sequence.next_element::<Part<R>>()? {
            match part.0 {
                Ok(ring) => polygons.push(ring.into_numbers()),
                Err(found) => fault = fault.or(Some(found)),
            }
        }
        Ok(match fault {
            Some(fault) => Err(fault),
            None => Ok(Segmentation::Polygons(polygons)),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut size, mut counts) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "size" => size = map.next_value::<Option<[Integer; 2]>>()?,
                "counts" => counts = map.next_value::<Option<Counts>>()?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let (Some(size), Some(counts)) = (size, counts) else {
            return Ok(Err(ShapeFault::Incomplete));
        };
        let [height, width] = size.map(|side| u32::try_from(side.0));
        let (Ok(height), Ok(width)) = (height, width) else {
            return Ok(Err(ShapeFault::Incomplete));
        };
        Ok(counts.checked(height, width).map(|counts| {
            Segmentation::Rle(Rle {
                height,
                width,
                counts,
            })
        }))
    }
}

/// One entry of the list: a validated polygon.
struct Part<R>(Result<R, ShapeFault>);

impl<'de, R: Ring> Deserialize<'de> for Part<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PartVisitor<R>(R);
        impl<'de, R: Ring> Visitor<'de> for PartVisitor<R> {
            type Value = Part<R>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a polygon as a list of numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut sequence: A) -> Result<Part<R>, A::Error> {
                let mut ring = std::mem::take(&mut self.0);
                while let Some(number) = sequence.next_element::<R::Number>()? {
                    ring.push(number);
                }
                let count = ring.count();
                Ok(Part(if count % 2 == 1 {
                    Err(ShapeFault::OddPolygon(count))
                } else if count < 6 {
                    Err(ShapeFault::ShortPolygon(count))
                } else {
                    Ok(ring)
                }))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Part<R>, E> {
                Ok(Part(Err(ShapeFault::FlatList)))
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Part<R>, E> {
                Ok(Part(Err(ShapeFault::FlatList)))
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Part<R>, E> {
                Ok(Part(Err(ShapeFault::FlatList)))
            }

            fn visit_unit<E: Error>(self) -> Result<Part<R>, E> {
                Ok(Part(Err(ShapeFault::NotFinite)))
            }
        }
        let part: Part<R> = deserializer.deserialize_any(PartVisitor(R::default()))?;
        Ok(part)
    }
}

/// Compressed text, or a list of run lengths.
enum Counts {
    Text(Box<str>),
    List(Vec<i64>),
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountsVisitor;
        impl<'de> Visitor<'de> for CountsVisitor {
            type Value = Counts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`counts` as text or as a list of integers")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Counts, E> {
                Ok(Counts::Text(text.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Counts, A::Error> {
                let mut list = Vec::new();
                while let Some(Integer(count)) = sequence.next_element()? {
                    list.push(count);
                }
                Ok(Counts::List(list))
            }
        }
        deserializer.deserialize_any(CountsVisitor)
    }
}

impl Counts {
    /// The counts as compressed text, if the runs cover `height * width` pixels.
    fn checked(self, height: u32, width: u32) -> Result<Box<str>, ShapeFault> {
        let wanted = u64::from(height) * u64::from(width);
        let (sum, text) = match self {
            Counts::Text(text) => {
                let runs = Runs::new(&text).map(|run| run.map(u64::from));
                let sum: u64 = runs.sum::<Result<u64, Broken>>().map_err(ShapeFault::Broken)?;
                (sum, text)
            }
            Counts::List(list) => {
                let runs: Result<Vec<u32>, _> = list.iter().map(|&run| u32::try_from(run)).collect();
                let runs = runs.map_err(|_| ShapeFault::Broken(Broken::Negative))?;
                let sum = runs.iter().map(|&run| u64::from(run)).sum();
                (sum, rle::compress(&runs).into_boxed_str())
            }
        };
        if sum == wanted {
            Ok(text)
        } else {
            Err(ShapeFault::RunSum { sum, height, width })
        }
    }
}

impl Segmentation {
    /// Finds defects that need the image: `(width, height)` is its size, 0 if unknown.
    pub fn fault(&self, (width, height): (u32, u32)) -> Option<ShapeFault> {
        match self {
            Segmentation::Polygons(rings) => {
                let finite = rings.iter().flatten().all(|v| v.is_finite());
                (!finite).then_some(ShapeFault::NotFinite)
            }
            Segmentation::Rle(rle) => {
                let known = width > 0 && height > 0;
                (known && (rle.width, rle.height) != (width, height)).then_some(ShapeFault::OtherSize {
                    height: rle.height,
                    width: rle.width,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests;
