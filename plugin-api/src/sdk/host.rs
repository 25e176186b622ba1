//! What a plugin may ask of the host.

use crate::abi::HostRef;
use std::sync::OnceLock;

static HOST: OnceLock<HostRef> = OnceLock::new();

pub(crate) fn install(host: HostRef) {
    // A second call would come from a second host in one process, which there is none.
    let _ = HOST.set(host);
}

/// Whether the user has asked to stop. Work that takes seconds should look at it now and then.
pub fn cancelled() -> bool {
    HOST.get().is_some_and(|host| (host.cancelled())())
}
