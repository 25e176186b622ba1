//! Logger `counter`: writes the number of items it received to `counter.txt` in the run folder.

use cvhost_plugin_api::data::{LogItem, RunInfo, Status};
use cvhost_plugin_api::error::{PluginError, Result};
use cvhost_plugin_api::sdk::Logger;
use cvhost_plugin_api::serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Default)]
pub struct Counter {
    file: PathBuf,
    items: u64,
    fail_after: Option<u64>,
}

impl Logger for Counter {
    fn start(&mut self, run: &RunInfo, resume: &Value) -> Result<()> {
        self.file = PathBuf::from(&run.folder).join("counter.txt");
        self.items = resume["items"].as_u64().unwrap_or(0);
        self.fail_after = run.config["fail_after"].as_u64();
        Ok(())
    }

    fn log(&mut self, items: &[LogItem]) -> Result<()> {
        self.items += items.len() as u64;
        if self.fail_after.is_some_and(|limit| self.items > limit) {
            return Err(PluginError::failed("the counter was told to fail"));
        }
        Ok(())
    }

    fn state(&self) -> Result<Value> {
        Ok(json!({"items": self.items}))
    }

    fn shutdown(&mut self, _: Duration, status: Status) -> Result<()> {
        std::fs::write(&self.file, format!("{} items, status {}\n", self.items, status.0))
            .map_err(|e| PluginError::failed(format!("cannot write {}: {e}", self.file.display())))
    }
}
