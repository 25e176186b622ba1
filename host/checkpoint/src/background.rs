//! Background saving: the trainer copies a checkpoint into memory, and a thread writes it to disk.
//!
//! At most one checkpoint is being written. The next one waits for it, so memory holds a single
//! copy, however slow the disk is. The buffers are reused.

use super::save::ModelImage;
use super::state::StateImage;
use super::store::{Checkpoints, Saved, Stamp};
use crossbeam_channel::{Receiver, Sender, bounded};
use cvhost::error::{Error, Result};
use serde_json::Value;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A checkpoint in memory.
pub struct Snapshot {
    pub stamp: Stamp,
    pub model: ModelImage,
    pub state: StateImage,
    /// Called before the state is written, to add parts of its JSON that take time to collect, such
    /// as the state of loggers.
    pub complete: Box<dyn FnOnce(&mut Value) + Send>,
    /// The time that training waited for the copy.
    pub waited: Duration,
}

/// A checkpoint that has been written.
#[derive(Debug)]
pub struct Written {
    pub path: PathBuf,
    pub stamp: Stamp,
    pub is_best: bool,
    /// The time that training waited for the copy.
    pub waited: Duration,
    /// The time of writing, in the background.
    pub written_in: Duration,
}

/// Buffers for the weights and for the tensors of the training state.
pub type Memory = [Vec<u8>; 2];

struct Done {
    stamp: Stamp,
    result: Result<Saved>,
    memory: Memory,
    waited: Duration,
    written_in: Duration,
}

enum Job {
    /// Allocate buffers of these sizes before the first snapshot.
    Reserve([usize; 2]),
    Write(Box<Snapshot>),
}

enum Outcome {
    Reserved(Memory),
    Written(Done),
}

/// Writes snapshots one after another on its own thread.
pub struct Saver {
    jobs: Option<Sender<Job>>,
    done: Receiver<Outcome>,
    thread: Option<JoinHandle<()>>,
    pending: bool,
    memory: Memory,
    /// The error of the last save, until a later one succeeds.
    failure: Option<Error>,
}

impl Saver {
    /// # Errors
    /// The thread can't be started.
    pub fn new(checkpoints: Checkpoints) -> Result<Saver> {
        let (jobs, todo) = bounded::<Job>(1);
        let (finished, done) = bounded(1);
        let thread = std::thread::Builder::new()
            .name("checkpoints".to_owned())
            .spawn(move || {
                for job in todo {
                    let outcome = match job {
                        Job::Reserve(bytes) => Outcome::Reserved(bytes.map(touched)),
                        Job::Write(snapshot) => Outcome::Written(write(&checkpoints, *snapshot)),
                    };
                    if finished.send(outcome).is_err() {
                        return;
                    }
                }
            })
            .map_err(|e| Error::environment(format!("cannot start the checkpoint thread: {e}")))?;
        Ok(Saver {
            jobs: Some(jobs),
            done,
            thread: Some(thread),
            pending: false,
            memory: Memory::default(),
            failure: None,
        })
    }

    /// Allocates buffers of these sizes for the first copy, for weights and state, while training
    /// starts: touching fresh memory takes longer than the copy itself.
    pub fn reserve(&mut self, bytes: [usize; 2]) {
        if let Some(jobs) = self.jobs.as_ref().filter(|_| !self.pending) {
            self.pending = jobs.send(Job::Reserve(bytes)).is_ok();
        }
    }

    /// Waits until no write is pending, and returns the buffers for the next copy.
    pub fn memory(&mut self) -> (Memory, Option<Written>) {
        let written = self.wait();
        (std::mem::take(&mut self.memory), written)
    }

    /// Hands over a checkpoint. Must follow a call of [`Saver::memory`], so that no write is
    /// pending.
    pub fn save(&mut self, snapshot: Snapshot) {
        let Some(jobs) = &self.jobs else { return };
        self.pending = jobs.send(Job::Write(Box::new(snapshot))).is_ok();
    }

    /// Returns the checkpoint written since the last call, if any. Doesn't block.
    pub fn written(&mut self) -> Option<Written> {
        let done = self.done.try_recv().ok()?;
        self.take(done)
    }

    /// Waits for the pending write.
    ///
    /// # Errors
    /// The last checkpoint could not be saved.
    pub fn finish(&mut self) -> Result<Option<Written>> {
        let written = self.wait();
        match self.failure.take() {
            Some(error) => Err(error),
            None => Ok(written),
        }
    }

    fn wait(&mut self) -> Option<Written> {
        if !self.pending {
            return None;
        }
        match self.done.recv() {
            Ok(done) => self.take(done),
            Err(_) => {
                self.pending = false;
                self.failure = Some(Error::failed("the checkpoint thread has stopped unexpectedly"));
                None
            }
        }
    }

    fn take(&mut self, outcome: Outcome) -> Option<Written> {
        self.pending = false;
        let done = match outcome {
            Outcome::Written(done) => done,
            Outcome::Reserved(memory) => {
                self.memory = memory;
                return None;
            }
        };
        self.memory = done.memory;
        match done.result {
            Ok(saved) => {
                self.failure = None;
                for warning in &saved.warnings {
                    tracing::warn!("{warning}");
                }
                Some(Written {
                    path: saved.path,
                    stamp: done.stamp,
                    is_best: saved.is_best,
                    waited: done.waited,
                    written_in: done.written_in,
                })
            }
            Err(error) => {
                tracing::warn!(
                    "the checkpoint of step {} could not be saved; training continues: {error}",
                    done.stamp.step
                );
                self.failure = Some(error);
                None
            }
        }
    }
}

impl Drop for Saver {
    /// A pending write is completed, however training ended.
    fn drop(&mut self) {
        self.jobs = None;
        self.wait();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been reported by `wait`.
            let _ = thread.join();
        }
    }
}

/// Allocates memory and touches its pages, so that they are really mapped.
fn touched(bytes: usize) -> Vec<u8> {
    vec![1; bytes]
}

fn write(checkpoints: &Checkpoints, mut snapshot: Snapshot) -> Done {
    let started = Instant::now();
    (snapshot.complete)(&mut snapshot.state.json);
    let result = checkpoints.save(snapshot.stamp, &snapshot.model, Some(&snapshot.state));
    Done {
        stamp: snapshot.stamp,
        result,
        memory: [
            snapshot.model.weights.into_memory(),
            snapshot.state.tensors.into_memory(),
        ],
        waited: snapshot.waited,
        written_in: started.elapsed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RetentionPolicy, TrainingState};
    use cvhost::config::MonitorMode;
    use serde_json::json;
    use std::path::Path;
    use tch::Tensor;

    fn saver(root: &Path) -> Saver {
        let keep = RetentionPolicy::top_k(1, "val_map", MonitorMode::Min);
        Saver::new(Checkpoints::new(root.to_owned(), None, keep).unwrap()).unwrap()
    }

    fn save(saver: &mut Saver, step: u64) -> Option<Written> {
        let ([weights, state], written) = saver.memory();
        let config = json!({"model_type": "x"});
        let parts = crate::ModelParts {
            parameters: &[],
            config: &config,
            preprocessor: None,
        };
        let tensors = vec![("w".to_owned(), Tensor::from(step as i64))];
        let state_of = TrainingState {
            tensors,
            json: json!({"step": step}),
        };
        saver.save(Snapshot {
            stamp: Stamp {
                epoch: 0,
                step,
                value: None,
            },
            model: parts.image(weights).unwrap(),
            state: state_of.image(state).unwrap(),
            complete: Box::new(|json| json["late"] = json!(true)),
            waited: Duration::ZERO,
        });
        written
    }

    #[test]
    fn checkpoints_are_written_in_order_and_completed_before_writing() {
        let root = tempfile::tempdir().unwrap();
        let mut saver = saver(root.path());
        assert!(save(&mut saver, 1).is_none());
        assert_eq!(save(&mut saver, 2).unwrap().stamp.step, 1);
        let last = saver.finish().unwrap().unwrap();
        assert_eq!(last.stamp.step, 2);
        let state = TrainingState::load(&last.path).unwrap().unwrap();
        assert_eq!(state.json, json!({"step": 2, "late": true}));
        assert_eq!(state.tensor("w").unwrap().int64_value(&[]), 2);
    }

    #[test]
    fn reserved_memory_is_used() {
        let root = tempfile::tempdir().unwrap();
        let mut saver = saver(root.path());
        saver.reserve([5000, 6000]);
        let ([weights, state], written) = saver.memory();
        assert_eq!((weights.len(), state.len()), (5000, 6000));
        assert!(written.is_none());
        saver.reserve([1000, 1000]);
        assert!(save(&mut saver, 1).is_none());
        assert_eq!(saver.finish().unwrap().unwrap().stamp.step, 1);
    }

    #[test]
    fn a_failed_save_is_an_error_unless_a_later_one_succeeds() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("checkpoints");
        let mut saver = saver(&folder);
        let file_in_the_way = |there: bool| {
            std::fs::remove_dir_all(&folder)
                .or_else(|_| std::fs::remove_file(&folder))
                .unwrap();
            if there {
                std::fs::write(&folder, "x").unwrap();
            }
        };
        file_in_the_way(true);
        save(&mut saver, 1);
        assert!(saver.wait().is_none());
        file_in_the_way(false);
        save(&mut saver, 2);
        assert!(saver.finish().unwrap().is_some());
        file_in_the_way(true);
        save(&mut saver, 3);
        let error = saver.finish().unwrap_err();
        assert!(error.to_string().contains("checkpoints"), "{error}");
    }

    #[test]
    fn dropping_the_saver_completes_the_pending_write() {
        let root = tempfile::tempdir().unwrap();
        let mut saver = saver(root.path());
        save(&mut saver, 7);
        drop(saver);
        assert!(root.path().join("epoch-000-step-000007/complete.json").is_file());
    }
}
