//! Weights into a model's parameters, and the table that says what fitted.

use super::weights::{Weights, torch_error};
use cvhost::error::{Error, Result};
use cvhost_plugin_api::data::{Parameter, Tags};
use std::collections::HashSet;
use std::fmt;

/// How strict loading is.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadPolicy {
    /// Parameters that the file lacks are initialised instead of being an error: a backbone's weights in a new model.
    pub allow_missing: bool,
}

/// What became of one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadOutcome {
    /// The file lacks it, and the model needs it.
    Missing,
    /// Its shape in the file is another.
    Mismatched,
    /// It depends on the number of classes, and was made anew.
    Reinitialised,
    /// The file lacks it, and it was made anew as the policy allows.
    Initialised,
    /// The model has no place for it.
    Unexpected,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// In the model, or of an unexpected tensor in the file.
    pub name: String,
    pub fate: LoadOutcome,
    /// The shape in the file; `None` where it has no such tensor.
    pub in_file: Option<Vec<i64>>,
    /// The shape in the model; `None` where it has no such parameter.
    pub in_model: Option<Vec<i64>>,
}

/// What loading did.
#[derive(Debug, Clone, Default)]
pub struct LoadReport {
    /// How many parameters and buffers were loaded.
    pub loaded: usize,
    /// How many of those under one of their aliases.
    pub by_alias: usize,
    /// An example of these: (name in the model, name in the file).
    pub alias_example: Option<(String, String)>,
    /// All that wasn't simply loaded, in the order of the model; unexpected tensors last.
    pub rows: Vec<Row>,
    /// The parameters that now need `Model::initialise`.
    pub to_initialise: Vec<String>,
}

impl LoadReport {
    /// The report of a model that starts without a checkpoint: everything is to be initialised.
    pub fn from_scratch(parameters: &[Parameter]) -> LoadReport {
        LoadReport {
            to_initialise: parameters.iter().map(|p| p.name.to_string()).collect(),
            ..LoadReport::default()
        }
    }

    pub fn count(&self, fate: LoadOutcome) -> usize {
        self.rows.iter().filter(|r| r.fate == fate).count()
    }

    /// The names with that fate.
    pub fn names(&self, fate: LoadOutcome) -> Vec<&str> {
        self.rows
            .iter()
            .filter(|r| r.fate == fate)
            .map(|r| r.name.as_str())
            .collect()
    }

    /// A line to warn with when tensors of the file were left out.
    pub fn warning(&self) -> Option<String> {
        let unexpected = self.names(LoadOutcome::Unexpected);
        let first = unexpected.first()?;
        Some(match unexpected.len() {
            1 => format!("the model has no place for the checkpoint's tensor `{first}`; it is ignored"),
            n => format!(
                "the model has no place for {n} tensors of the checkpoint, `{first}` among them; they are ignored"
            ),
        })
    }
}

/// Copies the weights into the parameters, in place and whatever their device and dtype. Each parameter takes the tensor of
/// its name, else of its first alias that the file has.
///
/// A parameter whose shape follows the number of classes is left to be re-initialised when the file lacks it or has it in
/// another shape. Counters and position ids that buffers of older versions kept are never missed.
///
/// # Errors
/// Any other missing tensor (unless the policy allows it) or other shape: with the table, before anything is copied. A
/// tensor that can't be read.
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

/// Names of buffers that count or number things; nothing is lost without them.
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
        misfits.push(format!("{mismatched} have another shape"));
    }
    let mut rows: Vec<&Row> = report.rows.iter().collect();
    rows.sort_by_key(|r| !matches!(r.fate, LoadOutcome::Missing | LoadOutcome::Mismatched));
    let help = if report.loaded == 0 {
        "nothing in it has a name that this model knows: it is probably of another model family, or its config.json belongs \
         to other weights; `model.pretrained: false` starts from random weights"
    } else {
        "check that config.json and the weights belong together; `model.pretrained: false` starts from random weights"
    };
    Err(Error::input(format!(
        "{} doesn't fit the model: {}",
        weights.places(),
        misfits.join(", ")
    ))
    .with_details(table(&rows, usize::MAX))
    .with_help(help))
}

/// How many rows of the table are printed before the rest is only counted.
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
            (LoadOutcome::Mismatched, "of another shape"),
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

/// The rows as aligned lines with a heading; none when there are no rows.
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
            LoadOutcome::Mismatched => "another shape",
            LoadOutcome::Reinitialised => "re-initialised: follows the number of classes",
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
