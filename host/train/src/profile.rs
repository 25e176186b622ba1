//! `cvhost run --profile N`: where the first steps of a training spend their time, as a trace for
//! Chrome and Perfetto.

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

/// The name of the span around a whole step.
const STEP: &str = "step";
/// The category of spans on the trainer's thread.
const TRAINER: &str = "trainer";
/// The category of spans on the loader's threads.
const LOADER: &str = "loader";

/// Records steps if asked to; the default records nothing.
#[derive(Clone, Default)]
pub struct Profile {
    recorder: Option<Arc<Recorder>>,
}

struct Recorder {
    /// The file of the trace.
    path: PathBuf,
    /// A GPU is synchronised at the end of each span, so that the span covers the work queued in
    /// it.
    device: Device,
    /// The number of steps that are recorded, after one for warm-up.
    steps: usize,
    origin: Instant,
    /// The trainer's thread.
    trainer: ThreadId,
    recording: AtomicBool,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    /// Steps done, including the one for warm-up.
    done: usize,
    spans: Vec<Recorded>,
    /// Whether the trace has been written, or there was nothing to write.
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
    /// Records `steps` steps of the training on this thread and on `device`, after one for warm-up,
    /// to the file `path`.
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

    /// Also records what the loader's threads do during the steps.
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

    /// Starts a step, which ends when the span is dropped.
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

    /// Starts a part of a step, which ends when the span is dropped.
    pub fn span(&self, name: &'static str) -> Span<'_> {
        let recorder = self.recorder.as_deref();
        Span {
            recorder: recorder.filter(|r| r.recording.load(Ordering::Relaxed)),
            name,
            started: Instant::now(),
        }
    }

    /// Writes the trace when all steps are recorded, or when the training is `over`. Later calls do
    /// nothing.
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
                    .with_expected("at least two steps, the first of which is for warm-up"),
            );
        }
        let text = trace(&notes.spans).to_string();
        std::fs::write(&recorder.path, text)
            .map_err(|e| Error::io(Kind::Failed, "write", &recorder.path, &e))?;
        notes.report = Some(Report::new(recorder.path.clone(), &notes.spans));
        Ok(())
    }

    /// The summary of the trace, if it has been written.
    pub fn take_report(&self) -> Option<Report> {
        self.recorder.as_ref().and_then(|r| r.notes().report.take())
    }
}

impl Recorder {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        // The notes of a panicking thread are valid all the same.
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

/// A span that is being measured; it ends when it is dropped.
#[must_use = "a span ends when it is dropped"]
pub struct Span<'a> {
    recorder: Option<&'a Recorder>,
    name: &'static str,
    started: Instant,
}

impl Span<'_> {
    /// Discards a step that turned out not to be one.
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
            // The next operation on the device reports what failed there.
            let _ = shim::synchronize(recorder.device);
            recorder.note(self.name, TRAINER, self.started, Instant::now());
        }
        if self.name == STEP {
            recorder.notes().done += 1;
        }
    }
}

/// The trace in the Trace Event Format: complete events in microseconds, and the names of the
/// threads.
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
    /// The step, then its parts, then the work of the loader's threads.
    pub rows: Vec<Row>,
}

/// How long a step spends on something.
#[derive(Debug, Clone)]
pub struct Row {
    pub name: &'static str,
    /// The mean over the steps, in milliseconds.
    pub mean: f64,
    /// The fraction of the step, 0..1; `None` for work of the loader's threads, which runs in
    /// parallel.
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

    /// The summary for `--json`.
    pub fn event(&self) -> Value {
        let rows = self.rows.iter();
        let rows = rows.map(|row| json!({"name": row.name, "mean_ms": row.mean, "share": row.share}));
        json!({"path": self.path, "steps": self.steps, "spans": rows.collect::<Vec<_>>()})
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "profile of {} steps, mean per step", self.steps)?;
        for row in &self.rows {
            let share = match row.share {
                Some(share) => format!("{:5.1} %", share * 100.0),
                None => "in parallel, in the loader".to_owned(),
            };
            write!(f, "\n  {:<10} {:9.2} ms  {share}", row.name, row.mean)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs steps with one part each.
    fn steps(profile: &Profile, count: usize) {
        for _ in 0..count {
            let _step = profile.step();
            let _part = profile.span("forward");
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn the_steps_after_the_warm_up_are_written_once() {
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
    fn a_training_that_ends_early_writes_the_steps_it_had() {
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
