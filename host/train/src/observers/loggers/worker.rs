//! A logger on its thread.

use super::state::{Asked, Reported};
use crossbeam_channel::{Receiver, Sender, bounded};
use cvhost::error::Result;
use cvhost::plugin_error::checked;
use cvhost_plugin_api::abi::LoggerBox;
use cvhost_plugin_api::abi_stable::std_types::RStr;
use cvhost_plugin_api::data::{LogItem, RunInfo, Status};
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Items that wait for a slow logger; more are dropped.
const QUEUE: usize = 10_000;

enum Order {
    Log(Box<LogItem>),
    State(Sender<Reported>),
    Stop(Status),
}

/// The last state that a logger has reported. Its thread writes it, checkpoints read it.
#[derive(Clone)]
struct LastState(Arc<Mutex<Reported>>);

impl LastState {
    fn get(&self) -> Reported {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, reported: Reported) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = reported;
    }
}

/// A logger that runs on a thread of its own.
pub struct Worker {
    name: String,
    orders: Sender<Order>,
    thread: JoinHandle<Result<()>>,
    last: LastState,
    /// Items that the queue has taken.
    sent: u64,
    /// Items that it had no space for.
    dropped: u64,
}

impl Worker {
    /// # Errors
    /// The thread can't be started.
    pub fn start(
        name: &str,
        mut logger: LoggerBox,
        run: &RunInfo,
        resume: &Value,
        patience: Duration,
    ) -> std::io::Result<Self> {
        let (orders, inbox) = bounded(QUEUE);
        let last = LastState(Arc::new(Mutex::new(Reported {
            state: resume.clone(),
            items: 0,
        })));
        let (run, resume, reported) = (run.clone(), resume.to_string(), last.clone());
        let thread = std::thread::Builder::new()
            .name(format!("logger {name}"))
            .spawn(move || {
                run.lend(|run| checked(logger.start(run, RStr::from_str(&resume))))?;
                serve(&mut logger, &inbox, &reported, patience)
            })?;
        Ok(Worker {
            name: name.to_owned(),
            orders,
            thread,
            last,
            sent: 0,
            dropped: 0,
        })
    }

    /// Sends an item; drops it if the logger is too slow or has failed, which [`Worker::join`]
    /// reports.
    pub fn send(&mut self, item: LogItem) {
        match self.orders.try_send(Order::Log(Box::new(item))) {
            Ok(()) => self.sent += 1,
            Err(_) => self.dropped += 1,
        }
    }

    /// Asks for what the logger needs to continue after an interruption; everything sent so far is
    /// in it.
    pub fn ask_state(&self) -> Asked {
        let (answer, question) = bounded(1);
        let asked = self.orders.try_send(Order::State(answer));
        let last = self.last.clone();
        Asked {
            name: self.name.clone(),
            answer: asked.is_ok().then_some(question),
            last: Box::new(move || last.get()),
            sent: self.sent,
        }
    }

    /// Tells the logger that the run is over.
    pub fn ask_to_stop(&self, status: Status, patience: Duration) {
        let _ = self.orders.send_timeout(Order::Stop(status), patience);
    }

    /// Waits for the logger's end until `deadline`. Returns what went wrong.
    pub fn join(self, deadline: Instant) -> Option<String> {
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let name = &self.name;
        if !self.thread.is_finished() {
            return Some(format!(
                "logger `{name}` did not finish in time and was abandoned"
            ));
        }
        match self.thread.join() {
            Ok(Ok(())) if self.dropped > 0 => Some(format!(
                "logger `{name}` was too slow: {} items were lost",
                self.dropped
            )),
            Ok(Ok(())) => None,
            Ok(Err(e)) => Some(format!("logger `{name}` was switched off: {e}")),
            Err(_) => Some(format!("logger `{name}` was switched off: its thread panicked")),
        }
    }
}

/// Logs incoming items, in batches, until the order to stop.
fn serve(
    logger: &mut LoggerBox,
    inbox: &Receiver<Order>,
    last: &LastState,
    patience: Duration,
) -> Result<()> {
    let mut count = 0;
    // A checkpoint may need a state before the first question is answered.
    last.set(state_of(logger, count)?);
    while let Ok(order) = inbox.recv() {
        let mut items = Vec::new();
        let mut next = Some(order);
        while let Some(Order::Log(item)) = next {
            items.push(*item);
            next = inbox.try_recv().ok();
        }
        if !items.is_empty() {
            count += items.len() as u64;
            checked(logger.log(items.into()))?;
        }
        match next {
            Some(Order::State(answer)) => {
                let reported = state_of(logger, count)?;
                last.set(reported.clone());
                // Nobody waits any more if it took too long.
                let _ = answer.send(reported);
            }
            Some(Order::Stop(status)) => {
                return checked(logger.shutdown(patience.as_millis() as u64, status));
            }
            _ => {}
        }
    }
    Ok(())
}

fn state_of(logger: &LoggerBox, items: u64) -> Result<Reported> {
    let state = checked(logger.state())?;
    Ok(Reported {
        state: serde_json::from_str(&state).unwrap_or(Value::Null),
        items,
    })
}
