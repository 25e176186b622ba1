//! Progress output on stderr: bars on a terminal, plain lines elsewhere.

use indicatif::{HumanBytes, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

static QUIET: AtomicBool = AtomicBool::new(false);

/// Turns progress output off; warnings and errors are still printed.
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
        // Errors on a closed stderr are ignored.
        let _ = stderr().write_all(bytes);
    });
}

/// Prints a line for the user; nothing when quiet.
pub fn note(line: &str) {
    if !QUIET.load(Ordering::Relaxed) {
        raw(format!("{line}\n").as_bytes());
    }
}

/// Formats a number of bytes in gigabytes (10^9 bytes).
pub fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Progress of one pass, counted in steps.
pub struct Pass {
    bar: ProgressBar,
    label: String,
    /// Interval in steps between lines when stderr is not a terminal; 0 for never.
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

    /// Advances by one step of `images` images. `message` is prefixed with the throughput in
    /// images/s and, when stderr is not a terminal, followed by the remaining time.
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

    /// Advances by one step; `message` is shown after the bar.
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

/// Shows progress reported by a plugin: a bar on a terminal and nothing elsewhere, since such work
/// is short compared with what follows. `total` is 0 if unknown.
pub fn of_plugin(label: &str, done: u64, total: u64) {
    static BARS: Mutex<BTreeMap<String, ProgressBar>> = Mutex::new(BTreeMap::new());
    let mut shown = BARS.lock().unwrap_or_else(PoisonError::into_inner);
    if total > 0 && done >= total {
        if let Some(bar) = shown.remove(label) {
            bar.finish_and_clear();
        }
        return;
    }
    let bar = shown.entry(label.to_owned()).or_insert_with(|| {
        let bar = bars().add(ProgressBar::new(total));
        bar.set_prefix(label.to_owned());
        if let Ok(style) = ProgressStyle::with_template(
            "{prefix:>10} {bar:28.cyan/dim} \
                                                         {pos}/{len} {eta:>4}",
        ) {
            bar.set_style(style.progress_chars("━╸─"));
        }
        bar
    });
    bar.set_length(total);
    bar.set_position(done);
}

/// Progress of downloads, one file at a time: a bar in bytes on a terminal, one line per file
/// elsewhere.
#[derive(Default)]
pub struct Downloads(Mutex<Option<(String, ProgressBar)>>);

impl Downloads {
    /// `done` of `total` bytes of `file` have been received; `total` is `None` if the server
    /// doesn't report it.
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
