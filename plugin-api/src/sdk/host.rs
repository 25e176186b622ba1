//! What a plugin may ask of the host.

use super::args::NewArgs;
use super::delegate::AdapterDelegate;
use super::traits::Adapter;
use crate::abi::HostRef;
use crate::error::{PluginError, Result};
use abi_stable::std_types::RStr;
use serde_json::Value;
use std::sync::OnceLock;

static HOST: OnceLock<HostRef> = OnceLock::new();

pub(crate) fn install(host: HostRef) {
    // A second call would come from a second host in one process; there is none.
    let _ = HOST.set(host);
}

/// Whether the user has asked to stop. Work that takes seconds should check it now and then.
pub fn cancelled() -> bool {
    HOST.get().is_some_and(|host| (host.cancelled())())
}

/// Reports the progress of long work, such as reading a million annotations: its label, the steps
/// done, and all steps (0 where their number isn't known). The host shows it.
pub fn progress(label: &str, done: u64, total: u64) {
    if let Some(host) = HOST.get() {
        (host.progress())(RStr::from_str(label), done, total);
    }
}

/// The adapter of that name, from whichever plugin provides it: for an adapter that changes part of
/// another one and leaves the rest to it, without that one's source. Fails where no plugin, or more
/// than one, provides it.
pub fn adapter(name: &str) -> Result<Box<dyn Adapter>> {
    adapter_with(&NewArgs::new(name, Value::Null))
}

/// Like [`adapter`], constructed with a configuration and whatever else the caller was given.
pub fn adapter_with(args: &NewArgs) -> Result<Box<dyn Adapter>> {
    let host = HOST
        .get()
        .ok_or_else(|| PluginError::failed("the plugin was not initialised by a host"))?;
    let found = args.lend(|args| (host.adapter())(args)).into_result()?;
    Ok(Box::new(AdapterDelegate {
        adapter: found,
        name: args.name.clone(),
    }))
}
