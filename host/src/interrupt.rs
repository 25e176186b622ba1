//! Ctrl-C and SIGTERM: the first stops gracefully, the second immediately. SIGTERM has a deadline,
//! since its sender (a cluster or container runtime) usually kills the process soon after.

use crate::error::{Error, Kind};
use crate::machine::exit_now;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

static REQUESTS: AtomicU32 = AtomicU32::new(0);
/// Seconds from SIGTERM to a forced exit.
static STOP_WITHIN: AtomicU64 = AtomicU64::new(25);

/// Installs the handlers: the first signal only sets the flag read by [`requested`], the second
/// ends the process.
pub fn install() {
    let started = Signals::new([SIGINT, SIGTERM]).and_then(|mut signals| {
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || signals.forever().for_each(receive))
    });
    if let Err(e) = started {
        tracing::warn!("cannot install signal handlers for Ctrl-C: {e}");
    }
}

/// Sets the deadline, `training.stop_within`.
pub fn set_deadline(seconds: u64) {
    STOP_WITHIN.store(seconds, Ordering::SeqCst);
}

/// Whether a stop was requested.
pub fn requested() -> bool {
    REQUESTS.load(Ordering::SeqCst) > 0
}

/// The error for interrupted work.
pub fn error() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}

fn receive(signal: i32) {
    if REQUESTS.fetch_add(1, Ordering::SeqCst) > 0 {
        exit_now(Kind::Interrupted.exit_code());
    }
    crate::progress::note("stopping after this step; interrupt again to stop immediately");
    if signal == SIGTERM {
        let seconds = STOP_WITHIN.load(Ordering::SeqCst);
        let watched = std::thread::Builder::new()
            .name("deadline".to_owned())
            .spawn(move || end_after(seconds));
        if let Err(e) = watched {
            tracing::warn!("cannot start the deadline timer: {e}");
        }
    }
}

fn end_after(seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds));
    tracing::warn!(
        "SIGTERM was received {seconds} seconds ago (training.stop_within) and the run has not \
         ended; exiting now, the last complete checkpoint is kept"
    );
    exit_now(Kind::Interrupted.exit_code());
}
