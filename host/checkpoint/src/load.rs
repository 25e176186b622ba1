//! Loads weights into a model's parameters and reports mismatches as a table.

use super::weights::{Weights, torch_error};
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::{Parameter, Tags};
use std::collections::HashSet;
use std::fmt;

/// How strict loading is.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadPolicy {
    /// Initialise parameters that the file lacks instead of failing, for example to load a backbone
    /// into a new model.
    pub allow_missing: bool,
}

/// The outcome for one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadOutcome {
    /// Required by the model, but missing from the file.
    Missing,
    /// Its shape in the file differs from the model's.
    Mismatched,
    /// It depends on the number of classes and was re-initialised.
    Reinitialised,
    /// Missing from the file and newly initialised, as the policy allows.
    Initialised,
    /// In the file, but not in the model.
    Unexpected,
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The name in the model; for an unexpected tensor, the name in the file.
    pub name: String,
    pub fate: LoadOutcome,
    /// The shape in the file; `None` if it has no such tensor.
    pub in_file: Option<Vec<i64>>,
    /// The shape in the model; `None` if it has no such parameter.
    pub in_model: Option<Vec<i64>>,
}

/// The result of loading.
#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    /// The number of parameters and buffers loaded.
    pub loaded: usize,
    /// How many of them were found under an alias.
    pub by_alias: usize,
    /// An example of an alias: (name in the model, name in the file).
    pub alias_example: Option<(String, String)>,
    /// All tensors that were not simply loaded, in the model's order; unexpected tensors last.
    pub rows: Vec<Row>,
    /// The parameters that still need `Model::initialise`.
    pub to_initialise: Vec<String>,
}

impl LoadReport {
    /// The report for a model without a checkpoint: everything must be initialised.
    pub fn from_scratch(parameters: &[Parameter]) -> LoadReport {
        LoadReport {
            to_initialise: parameters.iter().map(|p| p.name.to_string()).collect(),
            ..LoadReport::default()
        }
    }

    pub fn count(&self, fate: LoadOutcome) -> usize {
        self.rows.iter().filter(|r| r.fate == fate).count()
    }

    /// The names of the tensors with this outcome.
    pub fn names(&self, fate: LoadOutcome) -> Vec<&str> {
        self.rows
            .iter()
            .filter(|r| r.fate == fate)
            .map(|r| r.name.as_str())
            .collect()
    }

    /// A warning if tensors of the file were ignored.
    pub fn warning(&self) -> Option<String> {
        let unexpected = self.names(LoadOutcome::Unexpected);
        let first = unexpected.first()?;
        Some(match unexpected.len() {
            1 => format!("the model has no parameter for the checkpoint's tensor `{first}`; it is ignored"),
            n => format!(
                "the model has no parameters for {n} tensors of the checkpoint, such as \
                 `{first}`; they are ignored"
            ),
        })
    }
}

/// Copies the weights into the parameters in place, converting device and dtype. Each parameter
/// takes the tensor with its name, else with its first alias that is in the file.
///
/// A parameter whose shape depends on the number of classes is listed for re-initialisation if it
/// is missing from the file or has another shape there. Counters and position ids, which older
/// versions stored as buffers, may always be missing.
///
/// # Errors
/// Any other tensor is missing (unless the policy allows it) or has another shape: reported with
/// the table, before anything is copied. A tensor can't be read.
pub fn load_into(parameters: &[Parameter], weights: &Weights, policy: LoadPolicy) -> Result<LoadReport> {
    let mut report = LoadReport::default();
    let mut copies = Vec::with_capacity(parameters.len());
    let mut known: HashSet<&str> = HashSet::new();
    for parameter in parameters {
        let name = parameter.name.as_str();
        let candidates = || std::iter::once(name).chain(parameter.aliases.iter().map(|a| a.as_str()));
        known.extend(candidates());
        let in_model = parameter.tensor.tensor().size();
        let source = candidates().find(|c| weights.has(c));
        let in_file = source.and_then(|s| weights.shape(s));
        let head = parameter.tags.has(Tags::CLASS_HEAD);
        let fate = match source {
            Some(source) if in_file.as_ref() == Some(&in_model) => {
                copies.push((parameter, source));
                continue;
            }
            _ if head => LoadOutcome::Reinitialised,
            Some(_) => LoadOutcome::Mismatched,
            None if is_bookkeeping(name) => {
                report.to_initialise.push(name.to_owned());
                continue;
            }
            None if policy.allow_missing => LoadOutcome::Initialised,
            None => LoadOutcome::Missing,
        };
        if matches!(fate, LoadOutcome::Reinitialised | LoadOutcome::Initialised) {
            report.to_initialise.push(name.to_owned());
        }
        report.rows.push(Row {
            name: name.to_owned(),
            fate,
            in_file,
            in_model: Some(in_model),
        });
    }
    for name in weights.names() {
        if !known.contains(name.as_str()) && !is_bookkeeping(name) {
            let in_file = weights.shape(name);
            report.rows.push(Row {
                name: name.clone(),
                fate: LoadOutcome::Unexpected,
                in_file,
                in_model: None,
            });
        }
    }
    report.loaded = copies.len();
    for (parameter, source) in &copies {
        if parameter.name.as_str() != *source {
            report.by_alias += 1;
            report
                .alias_example
                .get_or_insert_with(|| (parameter.name.to_string(), (*source).to_owned()));
        }
    }
    refuse_misfits(&report, weights)?;
    copy_all(&copies, weights)?;
    Ok(report)
}

fn copy_all(copies: &[(&Parameter, &str)], weights: &Weights) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    for (parameter, source) in copies {
        let tensor = weights.read(source)?;
        // copy_ converts the dtype and moves to the device.
        parameter
            .tensor
            .tensor()
            .f_copy_(&tensor)
            .map_err(|e| torch_error(&e).within(format!("tensor `{source}`")))?;
    }
    Ok(())
}

/// Whether a name is that of a counter or of position ids, which can be recreated without loss.
fn is_bookkeeping(name: &str) -> bool {
    name.ends_with("num_batches_tracked") || name.ends_with("position_ids")
}

fn refuse_misfits(report: &LoadReport, weights: &Weights) -> Result<()> {
    let (missing, mismatched) = (
        report.count(LoadOutcome::Missing),
        report.count(LoadOutcome::Mismatched),
    );
    if missing + mismatched == 0 {
        return Ok(());
    }
    let total = report.loaded + report.rows.iter().filter(|r| r.in_model.is_some()).count();
    let mut misfits = Vec::new();
    if missing > 0 {
        misfits.push(format!("{missing} of its {total} tensors are missing"));
    }
    if mismatched > 0 {
        misfits.push(format!("{mismatched} have a different shape"));
    }
    let mut rows: Vec<&Row> = report.rows.iter().collect();
    rows.sort_by_key(|r| !matches!(r.fate, LoadOutcome::Missing | LoadOutcome::Mismatched));
    let help = if report.loaded == 0 {
        "no tensor in it has a name from this model: it probably belongs to another model family, \
         or its config.json belongs to other weights; `model.pretrained: false` starts from random \
         weights"
    } else {
        "check that config.json and the weights belong together; `model.pretrained: false` starts \
         from random weights"
    };
    Err(Error::input(format!(
        "{} doesn't match the model: {}",
        weights.places(),
        misfits.join(", ")
    ))
    .with_details(table(&rows, usize::MAX))
    .with_help(help))
}

/// The maximum number of rows printed; the rest is only counted.
const ROWS_SHOWN: usize = 30;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.loaded == 0 && self.rows.is_empty() {
            return write!(
                f,
                "no weights loaded; {} initialised",
                tensors(self.to_initialise.len())
            );
        }
        write!(f, "loaded {}", tensors(self.loaded))?;
        if let Some((name, source)) = &self.alias_example {
            write!(
                f,
                " ({} under other names, such as `{source}` for `{name}`)",
                self.by_alias
            )?;
        }
        for (fate, text) in [
            (LoadOutcome::Missing, "missing"),
            (LoadOutcome::Mismatched, "with a different shape"),
            (LoadOutcome::Reinitialised, "re-initialised"),
            (LoadOutcome::Initialised, "newly initialised"),
            (LoadOutcome::Unexpected, "unexpected"),
        ] {
            match self.count(fate) {
                0 => {}
                n => write!(f, ", {n} {text}")?,
            }
        }
        let rows: Vec<&Row> = self.rows.iter().collect();
        for line in table(&rows, ROWS_SHOWN) {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

/// Formats the rows as aligned lines with a header; empty if there are no rows.
fn table(rows: &[&Row], shown: usize) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut cells = vec![[
        "tensor".to_owned(),
        "checkpoint".to_owned(),
        "model".to_owned(),
        String::new(),
    ]];
    cells.extend(rows.iter().take(shown).map(|row| {
        let verdict = match row.fate {
            LoadOutcome::Missing => "missing",
            LoadOutcome::Mismatched => "different shape",
            LoadOutcome::Reinitialised => "re-initialised: depends on the number of classes",
            LoadOutcome::Initialised => "newly initialised",
            LoadOutcome::Unexpected => "unexpected, ignored",
        };
        [
            row.name.clone(),
            shape_text(&row.in_file),
            shape_text(&row.in_model),
            verdict.to_owned(),
        ]
    }));
    let width = |column: usize| {
        cells
            .iter()
            .filter_map(|c| c.get(column))
            .map(String::len)
            .max()
            .unwrap_or(0)
    };
    let (a, b, c) = (width(0), width(1), width(2));
    let mut lines: Vec<String> = cells
        .iter()
        .map(|[name, file, model, fate]| {
            format!("{name:a$}  {file:b$}  {model:c$}  {fate}")
                .trim_end()
                .to_owned()
        })
        .collect();
    if rows.len() > shown {
        lines.push(format!("… and {} more", rows.len() - shown));
    }
    lines
}

fn tensors(count: usize) -> String {
    if count == 1 {
        "1 tensor".to_owned()
    } else {
        format!("{count} tensors")
    }
}

fn shape_text(shape: &Option<Vec<i64>>) -> String {
    match shape {
        Some(shape) => format!("{shape:?}"),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests;
