//! The loggers' states in a checkpoint.
//!
//! A resumed logger continues from the state in the checkpoint, and the run sends it everything
//! after that checkpoint again. So the state must never be a later one, or lines are missing, and
//! there must always be one, or lines appear twice. A logger that is too busy to answer is given
//! the last state that it reported, which is always earlier; the items sent since then are counted,
//! as the resumed logger may lack them.

use crossbeam_channel::{Receiver, select};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

/// The key of the states in a training state, by the loggers' names.
const STATES: &str = "loggers";
/// The key of the numbers of items that those states lack, if any; by the loggers' names.
const MISSING: &str = "loggers_missing_items";

/// A state that a logger has reported, after a number of items.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    pub state: Value,
    /// Items that the logger had received before.
    pub items: u64,
}

/// A logger that was asked for its state.
pub struct Asked {
    pub name: String,
    /// Where the answer comes; `None` if the question could not be asked.
    pub answer: Option<Receiver<Reported>>,
    /// Reads the last state that the logger has reported.
    pub last: Box<dyn FnOnce() -> Reported + Send>,
    /// Items sent to the logger before the question.
    pub sent: u64,
}

/// The states that a checkpoint holds.
#[derive(Debug, Default, PartialEq)]
pub struct States {
    states: Map<String, Value>,
    missing: Map<String, Value>,
}

/// How long to wait for the answers of all loggers together.
pub struct Patience {
    pub limit: Duration,
    /// How long to wait after `hurry` is disconnected.
    pub grace: Duration,
    /// Disconnected as soon as the training waits, too.
    pub hurry: Receiver<()>,
}

/// Waits for the answers.
pub fn wait(asked: Vec<Asked>, patience: &Patience) -> States {
    let mut deadline = Instant::now() + patience.limit;
    let mut found = States::default();
    for logger in asked {
        let answer = logger
            .answer
            .and_then(|answer| receive(&answer, patience, &mut deadline));
        let reported = answer.unwrap_or_else(logger.last);
        let missing = logger.sent.saturating_sub(reported.items);
        if missing > 0 {
            found.missing.insert(logger.name.clone(), missing.into());
        }
        found.states.insert(logger.name, reported.state);
    }
    found
}

/// An answer; `None` if it doesn't come in time.
fn receive(answer: &Receiver<Reported>, patience: &Patience, deadline: &mut Instant) -> Option<Reported> {
    let timeout = deadline.saturating_duration_since(Instant::now());
    select! {
        recv(answer) -> reported => reported.ok(),
        recv(patience.hurry) -> _ => {
            *deadline = (*deadline).min(Instant::now() + patience.grace);
            answer.recv_deadline(*deadline).ok()
        }
        default(timeout) => None,
    }
}

impl States {
    /// Adds the states to the JSON of a training state.
    pub fn write(self, json: &mut Value) {
        json[STATES] = Value::Object(self.states);
        if !self.missing.is_empty() {
            json[MISSING] = Value::Object(self.missing);
        }
    }
}

/// The loggers that may lack items up to a checkpoint, from the JSON of its training state, with
/// the number of these items.
pub fn missing_items(state: &Value) -> Vec<(String, u64)> {
    let missing = state[MISSING].as_object().into_iter().flatten();
    missing
        .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
        .collect()
}
