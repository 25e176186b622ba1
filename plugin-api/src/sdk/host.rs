//! What a plugin may ask of the host.

use super::delegate::AdapterDelegate;
use super::traits::Adapter;
use crate::abi::HostRef;
use crate::error::{PluginError, Result};
use abi_stable::std_types::RStr;
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

/// The adapter of that name, of whichever plugin provides it: for an adapter that changes a part of another one and leaves the
/// rest to it, without that one's source. Fails where no plugin, or more than one, provides it.
pub fn adapter(name: &str) -> Result<Box<dyn Adapter>> {
    let host = HOST
        .get()
        .ok_or_else(|| PluginError::failed("the plugin was not initialised by a host"))?;
    let found = (host.adapter())(RStr::from_str(name)).into_result()?;
    Ok(Box::new(AdapterDelegate {
        adapter: found,
        name: name.to_owned(),
    }))
}
