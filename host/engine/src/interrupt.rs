//! Ctrl-C and SIGTERM: once to stop in order, twice to stop at once.

use cvhost::error::{Error, Kind};
use std::sync::atomic::{AtomicU32, Ordering};

static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// From here on the first signal only sets the flag that [`requested`] reads; the second ends the process.
pub fn install() {
    let result = ctrlc::set_handler(|| {
        if REQUESTS.fetch_add(1, Ordering::SeqCst) > 0 {
            crate::shim::exit_now(Kind::Interrupted.exit_code());
        }
        crate::progress::note("stopping after this step; once more to stop at once");
    });
    if let Err(e) = result {
        tracing::warn!("Ctrl-C can't be caught: {e}");
    }
}

/// Whether the user has asked to stop.
pub fn requested() -> bool {
    REQUESTS.load(Ordering::SeqCst) > 0
}

/// The error of work that was interrupted.
pub fn error() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}
