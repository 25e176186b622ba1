//! Observers of a run's events. Each has its own state; the trainer knows none of them by name.

mod json_lines;
mod loggers;
mod terminal;

pub use json_lines::JsonLines;
pub use loggers::{Loggers, missing_items};
pub use terminal::Terminal;

use crate::events::RunEvent;
use cvhost::error::Result;
use serde_json::Value;

/// Receives the events of a run in order, on the trainer's thread: whatever takes time belongs on
/// a thread of its own.
pub trait Observer {
    /// # Errors
    /// Only for what the run can't do without, as it ends the run.
    fn observe(&mut self, event: &RunEvent) -> Result<()>;

    /// What the observer adds to the training state of a checkpoint that is being taken. It is
    /// called between two events: the state covers all events before and none after.
    fn checkpoint_state(&mut self) -> Option<CheckpointState> {
        None
    }

    /// The training waits until the last checkpoint has its states, so whoever still gathers one has to
    /// come to an end.
    fn hurry(&mut self) {}
}

/// Adds an observer's state to the JSON of a training state. It runs on the thread that writes the
/// checkpoint, so it may wait.
pub type CheckpointState = Box<dyn FnOnce(&mut Value) + Send>;

/// The observers of a run.
#[derive(Default)]
pub struct Observers(Vec<Box<dyn Observer>>);

impl Observers {
    /// Adds an observer, which receives each event after those added before.
    pub fn add(&mut self, observer: impl Observer + 'static) {
        self.0.push(Box::new(observer));
    }

    /// Adds an observer that receives each event before all others.
    pub fn add_first(&mut self, observer: impl Observer + 'static) {
        self.0.insert(0, Box::new(observer));
    }

    /// Passes an event to the observers in their order.
    ///
    /// # Errors
    /// The first error of an observer; the later ones don't receive the event then, unless it is
    /// the last one.
    pub fn emit(&mut self, event: &RunEvent) -> Result<()> {
        let is_last = matches!(event, RunEvent::Finished(_));
        let mut result = Ok(());
        for observer in &mut self.0 {
            let observed = observer.observe(event);
            result = result.and(observed);
            if result.is_err() && !is_last {
                break;
            }
        }
        result
    }

    /// Warns of something that doesn't end the run.
    pub fn warn(&mut self, message: impl Into<String>) {
        let warning = RunEvent::Warning(message.into());
        if let Err(error) = self.emit(&warning) {
            tracing::warn!("{error}");
        }
    }

    /// Tells every observer that the training waits for the states of the last checkpoint.
    pub fn hurry(&mut self) {
        self.0.iter_mut().for_each(|observer| observer.hurry());
    }

    /// Asks every observer for its state in a checkpoint.
    pub fn checkpoint_state(&mut self) -> CheckpointState {
        let observers = self.0.iter_mut();
        let states: Vec<CheckpointState> = observers.filter_map(|o| o.checkpoint_state()).collect();
        Box::new(move |json| states.into_iter().for_each(|add| add(json)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cvhost::error::Error;
    use std::cell::RefCell;
    use std::rc::Rc;

    struct Recorder {
        name: &'static str,
        seen: Rc<RefCell<Vec<String>>>,
        fails: bool,
    }

    impl Observer for Recorder {
        fn observe(&mut self, event: &RunEvent) -> Result<()> {
            let text = match event {
                RunEvent::Warning(text) => text,
                _ => "end",
            };
            self.seen.borrow_mut().push(format!("{}: {text}", self.name));
            match self.fails {
                true => Err(Error::failed(self.name)),
                false => Ok(()),
            }
        }

        fn checkpoint_state(&mut self) -> Option<CheckpointState> {
            let name = self.name;
            Some(Box::new(move |json| json[name] = true.into()))
        }
    }

    #[test]
    fn observers_receive_events_in_order_up_to_one_that_fails() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let recorder = |name, fails| Recorder {
            name,
            seen: Rc::clone(&seen),
            fails,
        };
        let mut observers = Observers::default();
        observers.add(recorder("second", true));
        observers.add(recorder("third", false));
        observers.add_first(recorder("first", false));
        let error = observers.emit(&RunEvent::Warning("w".into())).unwrap_err();
        assert_eq!(error.what, "second");
        assert_eq!(*seen.borrow(), ["first: w", "second: w"]);
        seen.borrow_mut().clear();
        let end = RunEvent::Finished(Box::default());
        assert!(observers.emit(&end).is_err());
        assert_eq!(*seen.borrow(), ["first: end", "second: end", "third: end"]);
        let mut state = serde_json::json!({"step": 3});
        observers.checkpoint_state()(&mut state);
        let expected = serde_json::json!({"step": 3, "first": true, "second": true, "third": true});
        assert_eq!(state, expected);
    }
}
