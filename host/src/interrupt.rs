//! Ctrl-C and SIGTERM: once to stop in order, twice to stop at once. SIGTERM has a deadline, since who sends it (a cluster, a
//! container's host) kills soon after.

use crate::error::{Error, Kind};
use crate::machine::exit_now;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

static REQUESTS: AtomicU32 = AtomicU32::new(0);
/// Seconds from SIGTERM to the end.
static STOP_WITHIN: AtomicU64 = AtomicU64::new(25);

/// From here on the first signal only sets the flag that [`requested`] reads; the second ends the process.
pub fn install() {
    let started = Signals::new([SIGINT, SIGTERM]).and_then(|mut signals| {
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(receive))
    });
    if let Err(e) = started {
        tracing::warn!("Ctrl-C can't be caught: {e}");
    }
}

/// `training.stop_within`.
pub fn set_deadline(seconds: u64) {
    STOP_WITHIN.store(seconds, Ordering::SeqCst);
}

/// Whether the user has asked to stop.
pub fn requested() -> bool {
    REQUESTS.load(Ordering::SeqCst) > 0
}

/// The error of work that was interrupted.
pub fn error() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}

fn receive(signal: i32) {
    if REQUESTS.fetch_add(1, Ordering::SeqCst) > 0 {
        exit_now(Kind::Interrupted.exit_code());
    }
    crate::progress::note("stopping after this step; once more to stop at once");
    if signal == SIGTERM {
        let seconds = STOP_WITHIN.load(Ordering::SeqCst);
        let watched = std::thread::Builder::new()
            .name("deadline".to_owned())
            .spawn(move || end_after(seconds));
        if let Err(e) = watched {
            tracing::warn!("no deadline is kept: {e}");
        }
    }
}

fn end_after(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
    tracing::warn!(
        "SIGTERM was {seconds} seconds ago (training.stop_within) and the run has not ended; it ends now, and the last \
         complete checkpoint stays"
    );
    exit_now(Kind::Interrupted.exit_code());
}
