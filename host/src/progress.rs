//! What a person watches: bars on a terminal, plain lines elsewhere; all on stderr.

use indicatif::{HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

static QUIET: AtomicBool = AtomicBool::new(false);

/// No progress from here on; warnings and errors remain.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(|| {
        let target = if stderr().is_terminal() && !QUIET.load(Ordering::Relaxed) {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        MultiProgress::with_draw_target(target)
    })
}

/// Writes bytes to stderr, above the bars.
pub fn raw(bytes: &[u8]) {
    bars().suspend(|| {
        // A closed stderr is no reason to stop.
        let _ = stderr().write_all(bytes);
    });
}

/// A line for the person who watches; nothing when quiet.
pub fn note(line: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        raw(format!("{line}\n").as_bytes());
    }
}

/// Bytes as people read them.
pub fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// The progress of one pass over something.
pub struct Pass {
    bar: ProgressBar,
    label: String,
    /// Off a terminal a line is printed every so many steps; 0 for never.
    every: u64,
    plain: bool,
    started: Instant,
    images: AtomicUsize,
}

impl Pass {
    /// A pass of `total` steps.
    pub fn new(label: &str, total: u64, every: u64) -> Self {
        let bar = bars().add(ProgressBar::new(total));
        let template = "{prefix:>10} {bar:28.cyan/dim} {pos}/{len} {per_sec:>9} {eta:>4} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar.set_prefix(label.to_owned());
        let plain = bars().is_hidden();
        Pass {
            bar,
            label: label.to_owned(),
            every,
            plain,
            started: Instant::now(),
            images: AtomicUsize::new(0),
        }
    }

    /// One step of so many images further: their number a second goes before `message`, and off a terminal the time that is
    /// left goes behind it.
    pub fn step_of(&self, images: usize, message: impl FnOnce() -> String) {
        let done = images + self.images.fetch_add(images, Ordering::Relaxed);
        let seconds = self.started.elapsed().as_secs_f64();
        let rate = done as f64 / seconds.max(1e-9);
        let left = self
            .bar
            .length()
            .unwrap_or(0)
            .saturating_sub(self.bar.position() + 1);
        let eta = seconds / (self.bar.position() + 1) as f64 * left as f64;
        self.step(|| {
            let eta = if self.plain {
                format!("  eta {}", HumanDuration(Duration::from_secs_f64(eta.min(1e9))))
            } else {
                String::new()
            };
            format!("{rate:.1} img/s  {}{eta}", message())
        });
    }

    /// One step further; `message` stands behind the bar.
    pub fn step(&self, message: impl FnOnce() -> String) {
        self.bar.inc(1);
        let at = self.bar.position();
        if !self.plain {
            self.bar.set_message(message());
        } else if self.every > 0 && at.is_multiple_of(self.every) {
            note(&format!(
                "{} {at}/{} {}",
                self.label,
                self.bar.length().unwrap_or(0),
                message()
            ));
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The progress of downloads, a file after the other: a bar in bytes on a terminal, a line per file elsewhere.
#[derive(Default)]
pub struct Downloads(Mutex<Option<(String, ProgressBar)>>);

impl Downloads {
    /// `done` of `total` bytes of `file` have arrived; `total` is `None` where the server doesn't say.
    pub fn report(&self, file: &str, done: u64, total: Option<u64>) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_none_or(|(name, _)| name != file) {
            if let Some((_, finished)) = current.take() {
                finished.finish_and_clear();
            }
            if bars().is_hidden() {
                let size = total.map_or_else(String::new, |bytes| format!(" ({})", HumanBytes(bytes)));
                note(&format!("downloading {file}{size}"));
            }
            let bar = bars().add(ProgressBar::new(total.unwrap_or(0)));
            let template = "{prefix:>10} {bar:28.cyan/dim} {bytes}/{total_bytes} {bytes_per_sec:>9} {eta:>4}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("━╸─"));
            }
            bar.set_prefix(file.to_owned());
            *current = Some((file.to_owned(), bar));
        }
        if let Some((_, bar)) = current.as_ref() {
            bar.set_position(done);
        }
    }
}

impl Drop for Downloads {
    fn drop(&mut self) {
        let current = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bar)) = current.take() {
            bar.finish_and_clear();
        }
    }
}
