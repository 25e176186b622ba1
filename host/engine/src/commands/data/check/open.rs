//! Opening a split whatever is wrong with its annotations.

use super::report::{Finding, Kind, Report};
use crate::session::Session;
use cvhost::cli::Split;
use cvhost::error::{self, Error, Result};
use cvhost::plugin_error::{checked, checked_with};
use cvhost_data::{DataSetSource, Source};
use cvhost_plugin_api::data::{OpenArgs, Repair, Severity};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A split as far as it could be opened.
pub struct Opened {
    pub split: Split,
    pub args: OpenArgs,
    /// Of repaired annotations where the split's own are refused; none where those couldn't be opened either.
    pub data_set: Option<DataSetSource>,
    /// Whether the split's own annotations are refused.
    pub refused: bool,
    /// The annotations without what is wrong, where they were asked for.
    pub repair: Option<Result<Repair>>,
    /// Holds the repaired annotations for as long as the data set may read them.
    _folder: Option<TempDir>,
}

/// Opens a split and reports what its annotations have. Where they are refused, the task is asked for repaired ones, so that
/// what comes after the annotations is checked all the same. Fails where the plugin itself does.
pub fn open(session: &Session, split: Split, classes: &[String], report: &mut Report) -> Result<Opened> {
    let args = session.open_args(split, classes);
    if args.images.is_empty() {
        let message = format!("`data.{split}_data_path` is missing: where are the {split} images?");
        return Err(session.loaded.error_at("data", message).with_help(format!(
            "set data.{split}_data_path; images that data.{split}_ratio sets aside are checked with those of train"
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
        Err(error) if is_the_datas(&error) => {
            opened.refused = true;
            tell(split, error, report);
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

/// Whether an error is about annotations or configuration, and not about the plugin or the machine.
fn is_the_datas(error: &Error) -> bool {
    matches!(error.kind, error::Kind::Input | error::Kind::Usage)
}

/// Reports why a split is refused: each detail by itself, or the message where there is none.
fn tell(split: Split, error: Error, report: &mut Report) {
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
    /// The annotations without what is wrong, from the task; asked for once.
    pub fn repair(&mut self, session: &Session) -> &Result<Repair> {
        let args = &self.args;
        self.repair
            .get_or_insert_with(|| args.lend(|args| checked(session.task.repair(args))))
    }

    /// Opens the repaired annotations in the place of the split's own. What can't be repaired or opened stays closed: what
    /// is wrong with it has been told.
    fn open_repaired(&mut self, session: &Session) -> Result<()> {
        let Ok(repair) = self.repair(session) else {
            return Ok(());
        };
        let folder = tempfile::tempdir().map_err(|e| {
            Error::io(
                error::Kind::Environment,
                "make a folder in",
                &std::env::temp_dir(),
                &e,
            )
        })?;
        let mut files = Vec::new();
        for repaired in &repair.files {
            // The name's extension may tell the format.
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
