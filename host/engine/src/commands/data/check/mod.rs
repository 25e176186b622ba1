//! `cvhost data check`: reports all problems of the data.

mod classes;
mod duplicates;
mod fix;
mod images;
mod open;
mod report;

use super::DataContext;
use cvhost::cli::{DataCheckArgs, Global, Split};
use cvhost::config::BrokenFiles;
use cvhost::error::{Error, Result};
use cvhost::output;
use cvhost::plugin_error::checked;
use cvhost_data::DataSetSource;
use cvhost_plugin_api::abi::InputBox;
use cvhost_plugin_api::data::LabelSpec;
use images::{Input, Tally};
use open::Opened;
use report::{Finding, Kind, Report, Severity};
use serde_json::json;

/// The maximum number of repair changes printed without `--all`.
const CHANGES_SHOWN: usize = 10;

/// Checks the splits. Fails if there are errors or, with `--strict`, warnings.
pub fn check(args: &DataCheckArgs, global: &Global) -> Result<()> {
    let context = DataContext::open(&args.configured, global, &[])?;
    let splits = context.splits(&args.split, |split| context.session.data_path(split).is_some())?;
    let mut report = Report::new(global.json, args.all);
    let mut opened = Vec::new();
    for &split in &splits {
        opened.push(open::open(
            &context.session,
            split,
            &context.classes,
            &mut report,
        )?);
    }
    let tallies = check_records(&context, &opened, &mut report)?;
    let mut written = Vec::new();
    if args.fix {
        for split in &mut opened {
            written.extend(fix::write(&context.session, split, &mut report));
        }
    }
    let counts = Severity::ALL.map(|severity| report.count(severity));
    if global.json {
        written.iter().for_each(fix::Written::event);
        output::event("data_checked", summary(&opened, &tallies, counts));
    } else {
        let headlines = opened.iter().zip(&tallies);
        headlines.for_each(|(split, tally)| output::line(&headline(split, tally.as_ref())));
        if counts.iter().any(|count| *count > 0) {
            output::line(&report.text());
        }
        if !written.is_empty() {
            let most = if args.all { usize::MAX } else { CHANGES_SHOWN };
            let repairs: Vec<String> = written.iter().map(|w| w.text(most)).collect();
            output::line(&format!("\nrepaired annotations\n{}", repairs.join("\n")));
        }
        output::line(&format!("\n{}", in_words(counts)));
    }
    verdict(counts, args.strict)
}

/// Checks every record of the splits that could be opened, and compares the splits with one
/// another. Returns the counts of each split.
fn check_records(
    context: &DataContext,
    opened: &[Opened],
    report: &mut Report,
) -> Result<Vec<Option<Tally>>> {
    let sets: Vec<(Split, &DataSetSource)> = opened
        .iter()
        .filter_map(|o| Some((o.split, o.data_set.as_ref()?)))
        .collect();
    let specs: Vec<(Split, LabelSpec)> = sets
        .iter()
        .map(|(split, set)| (*split, set.spec().clone()))
        .collect();
    classes::differences(&specs)
        .into_iter()
        .for_each(|f| report.add(f));
    let input = input_side(context, specs.first());
    let input = match &input {
        Ok(input) => Ok(Input {
            stride: checked(input.stride())?,
            input,
        }),
        Err(why) => Err(why),
    };
    let mut seen = duplicates::Seen::default();
    let mut tallies = Vec::new();
    let mut number = 0;
    for split in opened {
        let Some(set) = &split.data_set else {
            tallies.push(None);
            continue;
        };
        let options = images::CheckOptions {
            input: input.as_ref().ok(),
            threads: context.session.threads(),
            broken: match context.session.loaded.config.data.broken_files {
                BrokenFiles::Skip => Severity::Warning,
                BrokenFiles::Error => Severity::Error,
            },
        };
        let place = (split.split, number);
        tallies.push(Some(images::check(place, set, &options, &mut seen, report)?));
        number += 1;
    }
    let splits: Vec<Split> = sets.iter().map(|(split, _)| *split).collect();
    let name_of = |place: duplicates::Place| match sets.get(place.split) {
        Some((_, set)) => images::names(set, place.record, usize::from(place.image)),
        None => Default::default(),
    };
    seen.findings(&splits, &name_of)
        .into_iter()
        .for_each(|f| report.add(f));
    if let Some(split) = splits
        .first()
        .filter(|_| tallies.iter().flatten().any(|t| t.boxes > 0))
    {
        let why = match &input {
            Ok(input) if input.stride > 0 => None,
            Ok(_) => Some("its adapter doesn't report the stride of the model"),
            Err(why) => Some(why.as_str()),
        };
        if let Some(why) = why {
            let message = format!("the size of boxes isn't compared with the model's stride: {why}");
            report.add(Finding::info(Kind::NotChecked, *split, message).across());
        }
    }
    Ok(tallies)
}

/// The model's input side if the model is on this machine, else the reason why it isn't available.
fn input_side(context: &DataContext, first: Option<&(Split, LabelSpec)>) -> Result<InputBox, String> {
    let (_, spec) = first.ok_or("no split could be opened")?;
    let folder = context.model.as_ref().map_err(String::clone)?;
    context.session.input(folder, spec).map_err(|e| e.what)
}

/// The summary line of a split.
fn headline(opened: &Opened, tally: Option<&Tally>) -> String {
    let split = opened.split;
    let Some(tally) = tally else {
        return format!("{split}: could not be opened");
    };
    let repaired = if opened.refused { ", after repair" } else { "" };
    let records = match tally.records == tally.images {
        true => format!("{} images", tally.images),
        false => format!("{} records of {} images", tally.records, tally.images),
    };
    format!(
        "{split}: {records}, {} labels of {}{repaired}",
        tally.counts.total(),
        match tally.counts.examples.len() {
            1 => "1 class".to_owned(),
            classes => format!("{classes} classes"),
        }
    )
}

fn summary(
    opened: &[Opened],
    tallies: &[Option<Tally>],
    [errors, warnings, infos]: [usize; 3],
) -> serde_json::Value {
    let splits = opened.iter().zip(tallies).map(|(split, tally)| {
        json!({
            "split": split.split.name(),
            "opened": tally.is_some(),
            "refused": split.refused,
            "records": tally.as_ref().map(|t| t.records),
            "pictures": tally.as_ref().map(|t| t.images),
            "boxes": tally.as_ref().map(|t| t.boxes),
        })
    });
    json!({
        "splits": splits.collect::<Vec<_>>(), "errors": errors, "warnings": warnings, "infos": infos,
    })
}

fn in_words([errors, warnings, _]: [usize; 3]) -> String {
    let number = |count: usize, noun: &str| match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    };
    match (errors, warnings) {
        (0, 0) => "no problems".to_owned(),
        (_, 0) => number(errors, "error"),
        _ => format!("{}, {}", number(errors, "error"), number(warnings, "warning")),
    }
}

fn verdict(counts: [usize; 3], strict: bool) -> Result<()> {
    let [errors, warnings, _] = counts;
    if errors > 0 {
        return Err(Error::input(format!("the data has {}", in_words(counts))));
    }
    if strict && warnings > 0 {
        return Err(Error::input(format!("the data has {}", in_words(counts)))
            .with_help("--strict counts warnings as errors"));
    }
    Ok(())
}
