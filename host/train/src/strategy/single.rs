//! A process that trains alone.

use super::{Strategy, World};
use cvhost::error::Result;
use tch::Tensor;

/// The strategy of a process that trains alone: nothing is exchanged. Dispatch is static, so its
/// calls cost nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Single;

impl Strategy for Single {
    #[inline]
    fn world(&self) -> World {
        World::SINGLE
    }

    #[inline]
    fn sum(&self, _: &mut [f64]) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn exchange_gradients(&self, _: &mut [Tensor]) -> Result<()> {
        Ok(())
    }

    #[inline]
    fn gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        Ok(vec![own])
    }
}
