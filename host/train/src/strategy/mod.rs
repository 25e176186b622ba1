//! How the ranks of a run work together. The loop asks its strategy wherever ranks have to exchange
//! something or decide alike; it is the same loop for one rank and for many.
//!
//! Every rank calls the collective methods ([`Strategy::sum`], [`Strategy::gather`],
//! [`Strategy::exchange_gradients`] and everything built on them) equally often and in the same
//! order; a call returns when all ranks have made it.

mod single;
#[cfg(test)]
mod tests;

pub use single::Single;

use cvhost::error::{Error, Result};
use cvhost_data::Loader;
use cvhost_torch::evaluate::Measured;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::Tensor;

/// A process among those that train one model together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct World {
    /// From 0.
    pub rank: u32,
    /// The number of ranks.
    pub size: u32,
}

impl World {
    /// A process that trains alone.
    pub const SINGLE: World = World { rank: 0, size: 1 };

    /// Whether this rank prints, logs and writes checkpoints: rank 0.
    pub fn is_leader(self) -> bool {
        self.rank == 0
    }

    fn is_single(self) -> bool {
        self.size == 1
    }
}

/// How the ranks of a run exchange data. An implementation provides four methods; everything that
/// the loop asks for is built on them.
pub trait Strategy {
    fn world(&self) -> World;

    /// Replaces each value by its sum over all ranks, with the same bits on every rank. All ranks
    /// pass equally many values.
    fn sum(&self, values: &mut [f64]) -> Result<()>;

    /// Replaces each gradient by its sum over all ranks. Every rank passes the gradients of the
    /// same parameters in the same order. The losses have been divided such that a sum is right.
    fn exchange_gradients(&self, gradients: &mut [Tensor]) -> Result<()>;

    /// What each rank passes, in the order of the ranks.
    fn gather(&self, own: Vec<u8>) -> Result<Vec<Vec<u8>>>;

    /// The batches of the training data that this rank takes: as many as every other rank.
    fn shard_training(&self, loader: Loader) -> Loader {
        let World { rank, size } = self.world();
        loader.sharded(rank as usize, size as usize, true)
    }

    /// The batches of an evaluation that this rank takes. Each batch is taken by one rank.
    fn shard_evaluation(&self, loader: Loader) -> Loader {
        let World { rank, size } = self.world();
        loader.sharded(rank as usize, size as usize, false)
    }

    /// For each flag whether any rank has set it: an interruption, an early stop or a checkpoint
    /// that is due for one rank is so for all.
    fn any<const N: usize>(&self, flags: [bool; N]) -> Result<[bool; N]> {
        if self.world().is_single() {
            return Ok(flags);
        }
        let mut counts = flags.map(f64::from);
        self.sum(&mut counts)?;
        Ok(counts.map(|count| count > 0.0))
    }

    /// What `compute` gives on the leader, on every rank; it runs on the leader alone.
    ///
    /// # Errors
    /// The leader's own on the leader, a note of it on the others.
    fn on_leader<T: Serialize + DeserializeOwned>(&self, compute: impl FnOnce() -> Result<T>) -> Result<T> {
        let world = self.world();
        if world.is_single() {
            return compute();
        }
        if world.is_leader() {
            let computed = compute();
            let bytes = serde_json::to_vec(&computed.as_ref().ok())
                .map_err(|e| Error::failed(format!("JSON: {e}")))?;
            self.gather(bytes)?;
            return computed;
        }
        let gathered = self.gather(Vec::new())?;
        let bytes = gathered.first().map(Vec::as_slice).unwrap_or_default();
        let value: Option<T> = serde_json::from_slice(bytes)
            .map_err(|e| Error::failed(format!("rank 0 sent damaged data: {e}")))?;
        value.ok_or_else(|| Error::failed("rank 0 failed; its message says why"))
    }

    /// Merges what all ranks have measured into the leader's evaluation. The others keep their own.
    fn merge(&self, mut measured: Measured) -> Result<Measured> {
        let world = self.world();
        if world.is_single() {
            return Ok(measured);
        }
        let states = self.gather(measured.state()?)?;
        if world.is_leader() {
            states
                .iter()
                .skip(1)
                .try_for_each(|state| measured.merge(state))?;
        }
        Ok(measured)
    }

    /// The states of the random generators of all ranks, from those of this one, for a checkpoint:
    /// names of ranks above 0 end in `.rankN`.
    fn gather_generators(&self, own: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>> {
        if self.world().is_single() {
            return Ok(own);
        }
        let of_rank = |tensor: &Tensor| -> Result<Vec<u8>> {
            Vec::try_from(tensor).map_err(|e| Error::failed(format!("a generator's state: {e}")))
        };
        let states = own.iter().map(|(_, state)| of_rank(state));
        let states: Vec<Vec<u8>> = states.collect::<Result<_>>()?;
        let mut all = Vec::new();
        // One exchange for each generator, as every rank has equally many.
        for ((name, _), state) in own.iter().zip(states) {
            for (rank, state) in self.gather(state)?.into_iter().enumerate() {
                all.push((rank_name(name, rank as u32), Tensor::from_slice(&state)));
            }
        }
        Ok(all)
    }
}

/// The name of a rank's state in a checkpoint: `name`, and `name.rankN` above rank 0.
pub fn rank_name(name: &str, rank: u32) -> String {
    match rank {
        0 => name.to_owned(),
        _ => format!("{name}.rank{rank}"),
    }
}
