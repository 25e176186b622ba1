//! Numbers in the spellings that annotation tools use.

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use std::fmt;

/// An integer; some tools write `17.0`.
#[derive(Debug, Clone, Copy)]
pub struct Integer(pub i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;
        impl Visitor<'_> for IntegerVisitor {
            type Value = Integer;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Integer, E> {
                Ok(Integer(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Integer, E> {
                i64::try_from(value)
                    .map(Integer)
                    .map_err(|_| E::custom(format!("{value} is too large")))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Integer, E> {
                // An f64 represents all integers up to 2^53 exactly.
                if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
                    Ok(Integer(value as i64))
                } else {
                    Err(E::custom(format!("{value} is not an integer")))
                }
            }
        }
        deserializer.deserialize_any(IntegerVisitor)
    }
}

/// 0, 1, true or false.
#[derive(Debug, Clone, Copy)]
pub struct Flag(pub bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FlagVisitor;
        impl Visitor<'_> for FlagVisitor {
            type Value = Flag;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("0 or 1")
            }
            fn visit_bool<E: Error>(self, value: bool) -> Result<Flag, E> {
                Ok(Flag(value))
            }
            fn visit_i64<E: Error>(self, value: i64) -> Result<Flag, E> {
                Ok(Flag(value != 0))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Flag, E> {
                Ok(Flag(value != 0))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Flag, E> {
                Ok(Flag(value != 0.0))
            }
        }
        deserializer.deserialize_any(FlagVisitor)
    }
}

/// `[x, y, width, height]`; null, which replaces NaN in the input, is converted back to NaN.
#[derive(Debug, Clone, Copy)]
pub struct RawBox(pub [f64; 4]);

impl<'de> Deserialize<'de> for RawBox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BoxVisitor;
        impl<'de> Visitor<'de> for BoxVisitor {
            type Value = RawBox;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`bbox` as [x, y, width, height]")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<RawBox, A::Error> {
                let mut bbox = [f64::NAN; 4];
                for (i, slot) in bbox.iter_mut().enumerate() {
                    let number: Option<Option<f64>> = sequence.next_element()?;
                    *slot = number
                        .ok_or_else(|| A::Error::invalid_length(i, &self))?
                        .unwrap_or(f64::NAN);
                }
                match sequence.next_element::<IgnoredAny>()? {
                    None => Ok(RawBox(bbox)),
                    Some(_) => Err(A::Error::custom(
                        "`bbox` has more than the four numbers [x, y, width, height]",
                    )),
                }
            }
        }
        deserializer.deserialize_seq(BoxVisitor)
    }
}
