//! Log messages on stderr, from the engine and from plugins.

use cvhost_plugin_api::abi_stable::std_types::RStr;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

/// 1 (error) to 5 (trace).
static MAX_LEVEL: AtomicU32 = AtomicU32::new(3);

/// Sends log messages to stderr, above progress bars. `verbose` is the number of -v flags.
pub fn install(verbose: u8, quiet: bool) {
    cvhost::logging::init(verbose, quiet, AboveTheBars);
    let level = tracing::level_filters::LevelFilter::current()
        .into_level()
        .unwrap_or(Level::ERROR);
    let number = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG]
        .iter()
        .position(|l| *l == level);
    MAX_LEVEL.store(number.map_or(5, |n| n as u32 + 1), Ordering::Relaxed);
}

/// Logs a message of a plugin. `level` is 1 (error) to 5 (trace), `target` the logging module.
pub(crate) extern "C" fn log(level: u32, target: RStr<'_>, message: RStr<'_>) {
    let (plugin, message) = (target.as_str(), message.as_str());
    match level {
        1 => tracing::error!(plugin, "{message}"),
        2 => tracing::warn!(plugin, "{message}"),
        3 => tracing::info!(plugin, "{message}"),
        4 => tracing::debug!(plugin, "{message}"),
        _ => tracing::trace!(plugin, "{message}"),
    }
}

/// The most verbose enabled level.
pub(crate) extern "C" fn max_level() -> u32 {
    MAX_LEVEL.load(Ordering::Relaxed)
}

/// Shows the progress of a long operation of a plugin.
pub(crate) extern "C" fn progress(label: RStr<'_>, done: u64, total: u64) {
    cvhost::progress::of_plugin(label.as_str(), done, total);
}

/// Writes complete messages to stderr, above progress bars.
struct AboveTheBars;

impl<'a> MakeWriter<'a> for AboveTheBars {
    type Writer = Message;
    fn make_writer(&'a self) -> Message {
        Message(Vec::new())
    }
}

struct Message(Vec<u8>);

impl io::Write for Message {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        cvhost::progress::raw(&self.0);
    }
}
