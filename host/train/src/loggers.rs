//! Logger plugins, each on a thread of its own. One that fails is switched off and named at the end; training goes on.

use crossbeam_channel::{Receiver, Sender, bounded};
use cvhost::error::Result;
use cvhost::plugin_error::checked;
use cvhost_plugin_api::abi::LoggerBox;
use cvhost_plugin_api::abi_stable::std_types::RStr;
use cvhost_plugin_api::data::{LogItem, LogKind, RunInfo, Scalar, Status};
use serde_json::{Map, Value};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many items may wait for a slow logger before new ones are dropped.
const QUEUE: usize = 10_000;
/// How long loggers may take to finish.
const SHUTDOWN: Duration = Duration::from_secs(20);

enum Order {
    Log(LogItem),
    State(Sender<Value>),
    Stop(Status),
}

struct Running {
    name: String,
    orders: Sender<Order>,
    thread: JoinHandle<Result<()>>,
    dropped: u64,
}

/// All loggers of a run.
#[derive(Default)]
pub struct Loggers {
    running: Vec<Running>,
    failures: Vec<String>,
}

impl Loggers {
    /// Starts a logger. Its failure to start is told at the end like any other of its failures.
    pub fn start(&mut self, name: &str, mut logger: LoggerBox, run: &RunInfo, resume: &Value) {
        let (orders, inbox) = bounded(QUEUE);
        let (run, resume) = (run.clone(), resume.to_string());
        let spawned = std::thread::Builder::new()
            .name(format!("logger {name}"))
            .spawn(move || {
                run.lend(|run| checked(logger.start(run, RStr::from_str(&resume))))?;
                serve(&mut logger, &inbox)
            });
        match spawned {
            Ok(thread) => self.running.push(Running {
                name: name.to_owned(),
                orders,
                thread,
                dropped: 0,
            }),
            Err(e) => self
                .failures
                .push(format!("logger `{name}` could not start: {e}")),
        }
    }

    pub fn metrics(&mut self, step: u64, values: &Map<String, Value>) {
        let mut metrics = item(LogKind::METRICS, step, "", &Value::Null);
        metrics.values = values
            .iter()
            .filter_map(|(name, value)| Some(Scalar::new(name.as_str(), value.as_f64()?)))
            .collect();
        self.send(&metrics);
    }

    pub fn parameters(&mut self, values: &Value) {
        self.send(&item(LogKind::PARAMETERS, 0, "", values));
    }

    pub fn artifact(&mut self, step: u64, name: &str, path: &Path) {
        let mut artifact = item(LogKind::ARTIFACT, step, name, &Value::Null);
        artifact.path = path.display().to_string().into();
        self.send(&artifact);
    }

    fn send(&mut self, item: &LogItem) {
        for logger in &mut self.running {
            // Full: it is too slow. Disconnected: it has failed, which `shutdown` tells.
            if logger.orders.try_send(Order::Log(item.clone())).is_err() {
                logger.dropped += 1;
            }
        }
    }

    /// Asks each logger what it needs to go on after an interruption; all that was logged before is in it.
    pub fn ask_state(&self) -> PendingState {
        let asked = self.running.iter().filter_map(|logger| {
            let (answer, question) = bounded(1);
            logger.orders.try_send(Order::State(answer)).ok()?;
            Some((logger.name.clone(), question))
        });
        PendingState(asked.collect())
    }

    /// Ends all loggers; returns what went wrong with them.
    pub fn shutdown(mut self, status: Status) -> Vec<String> {
        for logger in &self.running {
            let _ = logger.orders.send_timeout(Order::Stop(status), SHUTDOWN);
        }
        let deadline = std::time::Instant::now() + SHUTDOWN + Duration::from_secs(5);
        for logger in self.running {
            while !logger.thread.is_finished() && std::time::Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
            let name = &logger.name;
            if !logger.thread.is_finished() {
                self.failures.push(format!(
                    "logger `{name}` did not finish in time and was left behind"
                ));
                continue;
            }
            match logger.thread.join() {
                Ok(Ok(())) if logger.dropped > 0 => {
                    self.failures.push(format!(
                        "logger `{name}` was too slow: {} items were lost",
                        logger.dropped
                    ));
                }
                Ok(Ok(())) => {}
                Ok(Err(e)) => self
                    .failures
                    .push(format!("logger `{name}` was switched off: {e}")),
                Err(_) => self
                    .failures
                    .push(format!("logger `{name}` was switched off: its thread panicked")),
            }
        }
        self.failures
    }
}

/// The loggers' states, on their way.
pub struct PendingState(Vec<(String, Receiver<Value>)>);

impl PendingState {
    /// The states by the loggers' names; a logger that doesn't answer in time has none.
    pub fn wait(self) -> Value {
        let states = self.0.into_iter().filter_map(|(name, question)| {
            let state = question.recv_timeout(SHUTDOWN).ok()?;
            Some((name, state))
        });
        Value::Object(states.collect())
    }
}

/// Logs what comes in, in batches, until the order to stop.
fn serve(logger: &mut LoggerBox, inbox: &Receiver<Order>) -> Result<()> {
    while let Ok(order) = inbox.recv() {
        let mut items = Vec::new();
        let mut next = Some(order);
        while let Some(Order::Log(item)) = next {
            items.push(item);
            next = inbox.try_recv().ok();
        }
        if !items.is_empty() {
            checked(logger.log(items.into()))?;
        }
        match next {
            Some(Order::State(answer)) => {
                let state = checked(logger.state())?;
                let _ = answer.send(serde_json::from_str(&state).unwrap_or(Value::Null));
            }
            Some(Order::Stop(status)) => {
                return checked(logger.shutdown(SHUTDOWN.as_millis() as u64, status));
            }
            _ => {}
        }
    }
    Ok(())
}

fn item(kind: LogKind, step: u64, name: &str, payload: &Value) -> LogItem {
    let time_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64);
    let mut item = LogItem::new(kind, step, time_ms, name);
    if !payload.is_null() {
        item.json = payload.to_string().into();
    }
    item
}
