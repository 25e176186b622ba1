//! `cvhost run --profile N`: where the first steps of a training spend their time, as a trace that Chrome and Perfetto show.

use cvhost::error::{Error, Kind, Result};
use cvhost_data::Timings;
use cvhost_torch::shim;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};
use tch::Device;

/// The span around everything that one step does.
const STEP: &str = "step";
/// Categories of spans: what the trainer's thread does, and what the loader's threads do meanwhile.
const TRAINER: &str = "trainer";
const LOADER: &str = "loader";

/// Records steps where it is asked for; else, as the default is, it does nothing.
#[derive(Clone, Default)]
pub struct Profile {
    recorder: Option<Arc<Recorder>>,
}

struct Recorder {
    /// Where the trace goes.
    path: PathBuf,
    /// A GPU is waited for at the end of each span, so that the span covers what was asked of it.
    device: Device,
    /// How many are recorded; the one before them warms up.
    steps: usize,
    origin: Instant,
    /// The thread that trains.
    trainer: ThreadId,
    recording: AtomicBool,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// Steps that are done, with the one that warms up.
    done: usize,
    spans: Vec<Recorded>,
    /// The trace is written, or there was nothing to write.
    written: bool,
    report: Option<Report>,
}

struct Recorded {
    name: &'static str,
    category: &'static str,
    thread: String,
    start: Duration,
    length: Duration,
}

impl Profile {
    /// Records `steps` steps on `device` of the training on this thread, after one that warms up; the trace goes to the file `path`.
    pub fn of_first_steps(steps: u32, device: Device, path: PathBuf) -> Self {
        let recorder = Recorder {
            path,
            device,
            steps: steps as usize,
            origin: Instant::now(),
            trainer: thread::current().id(),
            recording: AtomicBool::new(false),
            notes: Mutex::default(),
        };
        Profile {
            recorder: Some(Arc::new(recorder)),
        }
    }

    /// Records what the loader's threads do during the steps, too.
    pub fn watch(&self, timings: &Timings) {
        let Some(recorder) = self.recorder.clone() else {
            return;
        };
        timings.observe(move |stage, started, ended| {
            if recorder.recording.load(Ordering::Relaxed) {
                recorder.note(stage.name(), LOADER, started, ended);
            }
        });
    }

    /// A step, until what is returned is dropped.
    pub fn step(&self) -> Span<'_> {
        if let Some(recorder) = &self.recorder {
            let done = recorder.notes().done;
            let records = (1..=recorder.steps).contains(&done);
            recorder.recording.store(records, Ordering::Relaxed);
        }
        Span {
            recorder: self.recorder.as_deref(),
            name: STEP,
            started: Instant::now(),
        }
    }

    /// A part of a step, until what is returned is dropped.
    pub fn span(&self, name: &'static str) -> Span<'_> {
        let recorder = self.recorder.as_deref();
        Span {
            recorder: recorder.filter(|r| r.recording.load(Ordering::Relaxed)),
            name,
            started: Instant::now(),
        }
    }

    /// Writes the trace once all steps are recorded, or, where the training is `over`, those that there were. It does so once.
    ///
    /// # Errors
    /// The file can't be written, or nothing was recorded.
    pub fn write(&self, over: bool) -> Result<()> {
        let Some(recorder) = &self.recorder else {
            return Ok(());
        };
        let mut notes = recorder.notes();
        if notes.written || !(over || notes.done > recorder.steps) {
            return Ok(());
        }
        notes.written = true;
        recorder.recording.store(false, Ordering::Relaxed);
        if !notes.spans.iter().any(|span| span.name == STEP) {
            return Err(
                Error::failed("--profile recorded nothing: the run had no second step")
                    .with_expected("at least two steps, of which the first warms up"),
            );
        }
        let text = trace(&notes.spans).to_string();
        std::fs::write(&recorder.path, text)
            .map_err(|e| Error::io(Kind::Failed, "write", &recorder.path, &e))?;
        notes.report = Some(Report::new(recorder.path.clone(), &notes.spans));
        Ok(())
    }

    /// What was written, if it was.
    pub fn take_report(&self) -> Option<Report> {
        self.recorder.as_ref().and_then(|r| r.notes().report.take())
    }
}

impl Recorder {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        // What a panicking thread has noted is sound all the same.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, name: &'static str, category: &'static str, started: Instant, ended: Instant) {
        let thread = thread::current();
        let span = Recorded {
            name,
            category,
            thread: match thread.name() {
                Some(other) if thread.id() != self.trainer => other.to_owned(),
                _ => TRAINER.to_owned(),
            },
            start: started.saturating_duration_since(self.origin),
            length: ended.saturating_duration_since(started),
        };
        self.notes().spans.push(span);
    }
}

/// Measures until it is dropped.
#[must_use = "a span ends when it is dropped"]
pub struct Span<'a> {
    recorder: Option<&'a Recorder>,
    name: &'static str,
    started: Instant,
}

impl Span<'_> {
    /// There was no step after all: what was recorded of it goes.
    pub fn cancel(mut self) {
        if let Some(recorder) = self.recorder.take() {
            let start = self.started.saturating_duration_since(recorder.origin);
            recorder
                .notes()
                .spans
                .retain(|span| span.category != TRAINER || span.start < start);
        }
    }
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        let Some(recorder) = self.recorder else {
            return;
        };
        if recorder.recording.load(Ordering::Relaxed) {
            // What failed on the device is told by the next one who asks it for something.
            let _ = shim::synchronize(recorder.device);
            recorder.note(self.name, TRAINER, self.started, Instant::now());
        }
        if self.name == STEP {
            recorder.notes().done += 1;
        }
    }
}

/// The trace event format: complete events in microseconds, and a name for each thread.
fn trace(spans: &[Recorded]) -> Value {
    let process = std::process::id();
    let mut threads: Vec<&str> = vec![TRAINER];
    let mut events = Vec::new();
    let micros = |time: Duration| time.as_nanos() as f64 / 1e3;
    for span in spans {
        let known = threads.iter().position(|thread| *thread == span.thread);
        let thread = known.unwrap_or_else(|| {
            threads.push(&span.thread);
            threads.len() - 1
        });
        events.push(json!({
            "ph": "X", "name": span.name, "cat": span.category, "pid": process, "tid": thread,
            "ts": micros(span.start), "dur": micros(span.length),
        }));
    }
    for (number, name) in threads.iter().enumerate() {
        events.push(json!({
            "ph": "M", "name": "thread_name", "pid": process, "tid": number, "args": {"name": name},
        }));
    }
    json!({"traceEvents": events, "displayTimeUnit": "ms"})
}

/// A summary of the recorded steps.
#[derive(Debug, Clone)]
pub struct Report {
    pub path: PathBuf,
    pub steps: usize,
    /// The step, then its parts, then what the loader's threads did.
    pub rows: Vec<Row>,
}

/// How long a step spends on something.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: &'static str,
    /// The mean over the steps, in milliseconds.
    pub mean: f64,
    /// The part of the step, 0..1; none for work of the loader's threads, which goes on beside it.
    pub share: Option<f64>,
}

impl Report {
    fn new(path: PathBuf, spans: &[Recorded]) -> Self {
        let steps = spans.iter().filter(|span| span.name == STEP).count();
        let mut sums: Vec<(&'static str, &'static str, f64)> = Vec::new();
        for span in spans {
            let milliseconds = span.length.as_secs_f64() * 1e3;
            match sums
                .iter_mut()
                .find(|(name, category, _)| (*name, *category) == (span.name, span.category))
            {
                Some((_, _, sum)) => *sum += milliseconds,
                None => sums.push((span.name, span.category, milliseconds)),
            }
        }
        let whole = sums
            .iter()
            .find(|(name, _, _)| *name == STEP)
            .map_or(0.0, |s| s.2);
        sums.sort_by_key(|(name, category, _)| (*name != STEP, *category == LOADER));
        let rows = sums.into_iter().map(|(name, category, sum)| Row {
            name,
            mean: sum / steps.max(1) as f64,
            share: (category == TRAINER).then(|| sum / whole),
        });
        Report {
            path,
            steps,
            rows: rows.collect(),
        }
    }

    /// For `--json`.
    pub fn event(&self) -> Value {
        let rows = self.rows.iter();
        let rows = rows.map(|row| json!({"name": row.name, "mean_ms": row.mean, "share": row.share}));
        json!({"path": self.path, "steps": self.steps, "spans": rows.collect::<Vec<_>>()})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "profile of {} steps, a step's mean", self.steps)?;
        for row in &self.rows {
            let share = match row.share {
                Some(share) => format!("{:5.1} %", share * 100.0),
                None => "beside it, in the loader".to_owned(),
            };
            write!(f, "\n  {:<10} {:9.2} ms  {share}", row.name, row.mean)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps with a part each; returns what was written.
    fn steps(profile: &Profile, count: usize) {
        for _ in 0..count {
            let _step = profile.step();
            let _part = profile.span("forward");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn the_first_steps_after_a_warm_up_are_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trace.json");
        let profile = Profile::of_first_steps(2, Device::Cpu, path.clone());
        steps(&profile, 2);
        profile.write(false).unwrap();
        assert!(!path.exists(), "a step is missing");
        let epoch_end = profile.step();
        drop(profile.span("load"));
        epoch_end.cancel();
        steps(&profile, 3);
        profile.write(false).unwrap();
        profile.write(true).unwrap();
        let report = profile.take_report().unwrap();
        assert_eq!(report.steps, 2);
        let names: Vec<&str> = report.rows.iter().map(|row| row.name).collect();
        assert_eq!(names, ["step", "forward"]);
        assert!(report.rows[1].mean > 0.0 && report.rows[1].mean <= report.rows[0].mean);
        let trace: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let phases: Vec<&str> = events.iter().map(|e| e["ph"].as_str().unwrap()).collect();
        assert_eq!(phases, ["X", "X", "X", "X", "M"]);
    }

    #[test]
    fn a_training_that_ends_early_writes_what_there_was() {
        let folder = tempfile::tempdir().unwrap();
        let new = || Profile::of_first_steps(5, Device::Cpu, folder.path().join("trace.json"));
        let profile = new();
        steps(&profile, 3);
        profile.write(true).unwrap();
        assert_eq!(profile.take_report().unwrap().steps, 2);
        let profile = new();
        steps(&profile, 1);
        assert!(profile.write(true).is_err());
        Profile::default().write(true).unwrap();
        assert!(Profile::default().take_report().is_none());
    }
}
