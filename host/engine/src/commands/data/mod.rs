//! `cvhost data …`: inspects the data of a configuration before training.
//!
//! Everything is based on roles and on the labels from the task; no code here depends on a
//! particular task.

mod check;
mod preview;
mod speed;
mod stats;

use crate::session::Session;
use cvhost::cli::{ConfiguredArgs, DataCommand, Global, Split};
use cvhost::error::Result;
use cvhost_checkpoint::ModelFolder;
use std::path::Path;

pub fn data(command: &DataCommand, global: &Global) -> Result<()> {
    match command {
        DataCommand::Check(args) => check::check(args, global),
        DataCommand::Stats(args) => stats::stats(args, global),
        DataCommand::Preview(args) => preview::preview(args, global),
        DataCommand::Speed(args) => speed::speed(args, global),
    }
}

/// Shared by the commands.
struct DataContext {
    session: Session,
    /// The model that training would start from if it is on this machine, else the reason why it
    /// can't be used.
    model: Result<ModelFolder, String>,
    /// Its class names, which determine the class ids of a data set.
    classes: Vec<String>,
}

impl DataContext {
    /// `changes` are overrides in addition to the user's.
    fn open(args: &ConfiguredArgs, global: &Global, changes: &[&str]) -> Result<Self> {
        let session = Session::configured(args, global, changes)?;
        let name = &session.loaded.config.model.model_name;
        let model = session.local_starting_folder().map_err(|e| {
            if Path::new(name).exists() {
                e.what
            } else {
                format!("`{name}` is not on this machine, and this command doesn't download models")
            }
        });
        let classes = match &model {
            Ok(folder) => folder.label_names()?.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        Ok(DataContext {
            session,
            model,
            classes,
        })
    }

    /// The requested splits, each once, or else all splits for which `has` is true.
    fn splits(&self, asked: &[Split], has: impl Fn(Split) -> bool) -> Result<Vec<Split>> {
        let wanted = |split: &Split| asked.contains(split) || (asked.is_empty() && has(*split));
        let splits: Vec<Split> = Split::ALL.into_iter().filter(wanted).collect();
        if splits.is_empty() {
            return Err(self
                .session
                .loaded
                .error_at("data", "the configuration defines no data")
                .with_help("set data.train_data_path in the file or on the command line"));
        }
        Ok(splits)
    }
}
