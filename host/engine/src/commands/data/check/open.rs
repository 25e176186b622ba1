//! Opens a split even if its annotations are invalid.

use super::report::{Finding, Kind, Report};
use crate::session::Session;
use cvhost::cli::Split;
use cvhost::error::{self, Error, Result};
use cvhost::plugin_error::{checked, checked_with};
use cvhost_data::{DataSetSource, Source};
use cvhost_plugin_api::data::{OpenArgs, Repair, Severity};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A split, opened as far as possible.
pub struct Opened {
    pub split: Split,
    pub args: OpenArgs,
    /// The data set, from repaired annotations if the split's own are refused; `None` if neither
    /// could be opened.
    pub data_set: Option<DataSetSource>,
    /// Whether the split's own annotations are refused.
    pub refused: bool,
    /// The repaired annotations, if they were requested.
    pub repair: Option<Result<Repair>>,
    /// Keeps the repaired annotations on disk as long as the data set may read them.
    _folder: Option<TempDir>,
}

/// Opens a split and reports the problems of its annotations. If they are refused, the task is
/// asked to repair them, so that everything else can be checked all the same. Fails if the plugin
/// itself fails.
pub fn open(session: &Session, split: Split, classes: &[String], report: &mut Report) -> Result<Opened> {
    let args = session.open_args(split, classes);
    if args.images.is_empty() {
        let message =
            format!("`data.{split}_data_path` is missing: the location of the {split} images is unknown");
        return Err(session.loaded.error_at("data", message).with_help(format!(
            "set data.{split}_data_path; images held out by data.{split}_ratio are checked as part of train"
        )));
    }
    let mut opened = Opened {
        split,
        args,
        data_set: None,
        refused: false,
        repair: None,
        _folder: None,
    };
    match open_with(session, &opened.args) {
        Ok(data_set) => opened.data_set = Some(data_set),
        Err(error) if is_data_error(&error) => {
            opened.refused = true;
            report_refusal(split, error, report);
            opened.open_repaired(session)?;
        }
        Err(error) => return Err(error.within(format!("{split} data"))),
    }
    if let Some(data_set) = &opened.data_set {
        for problem in checked(data_set.data_set().problems())? {
            let message = problem.message.as_str();
            report.add(if problem.severity == Severity::ERROR {
                opened.refused = true;
                Finding::error(Kind::Annotations, split, message)
            } else {
                Finding::warning(Kind::Annotations, split, message)
            });
        }
        if data_set.is_empty() {
            let message = format!("there are no images in {}", opened.args.images);
            report.add(Finding::error(Kind::Annotations, split, message));
        }
    }
    Ok(opened)
}

fn open_with(session: &Session, args: &OpenArgs) -> Result<DataSetSource> {
    let data_set = args.lend(|args| checked_with(&session.loaded, session.task.open(args)))?;
    let data_set = DataSetSource::new(data_set)?;
    session.check_form(data_set.spec())?;
    Ok(data_set)
}

/// Whether an error concerns annotations or configuration, not the plugin or the machine.
fn is_data_error(error: &Error) -> bool {
    matches!(error.kind, error::Kind::Input | error::Kind::Usage)
}

/// Reports why a split is refused: one finding per detail, or the message if there are no details.
fn report_refusal(split: Split, error: Error, report: &mut Report) {
    let mut message = error.context.clone();
    message.push(error.what.clone());
    let message = message.join(": ");
    let help = error.help.unwrap_or_default();
    if error.details.is_empty() {
        let place = error
            .place
            .map_or_else(String::new, |p| format!(" ({}:{})", p.file, p.line));
        let finding = Finding::error(Kind::Annotations, split, message + &place);
        report.add(finding.with_help(help));
        return;
    }
    for detail in error.details {
        let finding = Finding::error(Kind::Annotations, split, detail);
        report.add(finding.with_help(format!("{message}: {help}").trim_end_matches([':', ' '])));
    }
}

impl Opened {
    /// The repaired annotations from the task; requested only once.
    pub fn repair(&mut self, session: &Session) -> &Result<Repair> {
        let args = &self.args;
        self.repair
            .get_or_insert_with(|| args.lend(|args| checked(session.task.repair(args))))
    }

    /// Opens the repaired annotations instead of the split's own. If they can't be repaired or
    /// opened, the split stays closed: its problems have been reported.
    fn open_repaired(&mut self, session: &Session) -> Result<()> {
        let Ok(repair) = self.repair(session) else {
            return Ok(());
        };
        let folder = tempfile::tempdir().map_err(|e| {
            Error::io(
                error::Kind::Environment,
                "create a folder in",
                &std::env::temp_dir(),
                &e,
            )
        })?;
        let mut files = Vec::new();
        for repaired in &repair.files {
            // The format may depend on the extension.
            let name = Path::new(repaired.path.as_str()).file_name();
            let file: PathBuf = folder.path().join(name.unwrap_or_else(|| "annotations".as_ref()));
            std::fs::write(&file, &repaired.bytes)
                .map_err(|e| Error::io(error::Kind::Environment, "write", &file, &e))?;
            files.push(file);
        }
        let annotations = match files.as_slice() {
            [file] => file.display().to_string(),
            _ => folder.path().display().to_string(),
        };
        let args = OpenArgs {
            annotations,
            ..self.args.clone()
        };
        match open_with(session, &args) {
            Ok(data_set) => (self.data_set, self._folder) = (Some(data_set), Some(folder)),
            Err(error) => tracing::debug!("the repaired {} annotations can't be opened: {error}", self.split),
        }
        Ok(())
    }
}
