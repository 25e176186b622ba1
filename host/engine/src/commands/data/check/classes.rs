//! Finds classes that are rare, missing or different between splits.

use super::report::{Finding, Kind};
use cvhost::cli::Split;
use cvhost_plugin_api::data::LabelSpec;
use cvhost_report::survey::counts::Counts;

/// The maximum ratio of examples between the largest and the smallest class.
const MAX_RATIO: u64 = 20;
/// A class with fewer examples is reported.
const FEW: u64 = 10;

/// Finds problems with the classes of a split. A class that only the checkpoint has is not a
/// problem.
pub fn findings(split: Split, spec: &LabelSpec, counts: &Counts) -> Vec<Finding> {
    let of_data = |label: &usize| spec.ids.get(*label) != Some(&-1);
    let named: Vec<(&str, u64)> = (0..spec.names.len())
        .filter(of_data)
        .filter_map(|l| Some((spec.names.get(l)?.as_str(), *counts.examples.get(l)?)))
        .collect();
    let present: Vec<_> = named.iter().filter(|(_, count)| *count > 0).collect();
    let (Some(least), Some(most)) = (
        present.iter().min_by_key(|(_, count)| *count),
        present.iter().max_by_key(|(_, count)| *count),
    ) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    if most.1 > MAX_RATIO * least.1 {
        let message = format!(
            "`{}` has {} examples and `{}` has {}: {:.0} times as many",
            most.0,
            most.1,
            least.0,
            least.1,
            most.1 as f64 / least.1 as f64
        );
        all.push(Finding::warning(Kind::Imbalance, split, message));
    }
    let missing: Vec<String> = named
        .iter()
        .filter(|(_, count)| *count == 0)
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    if !missing.is_empty() {
        let message = format!("{} of {} classes have no example", missing.len(), named.len());
        all.push(Finding::warning(Kind::MissingClasses, split, message).with_details(missing));
    }
    let rare: Vec<String> = present
        .iter()
        .filter(|(_, count)| *count < FEW)
        .map(|(name, count)| format!("`{name}`: {count}"))
        .collect();
    if !rare.is_empty() {
        let message = format!(
            "{} of {} classes have fewer than {FEW} examples",
            rare.len(),
            named.len()
        );
        all.push(Finding::warning(Kind::RareClasses, split, message).with_details(rare));
    }
    all
}

/// Finds splits whose classes differ from those of the first: training, evaluation and checkpoint
/// would number them differently.
pub fn differences(specs: &[(Split, LabelSpec)]) -> Vec<Finding> {
    let Some(((first, expected), others)) = specs.split_first() else {
        return Vec::new();
    };
    let only = |a: &LabelSpec, b: &LabelSpec| {
        let names = a.names.iter().filter(|n| !b.names.contains(n));
        names.map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
    };
    let different = others.iter().filter(|(_, spec)| spec.names != expected.names);
    different
        .map(|(split, spec)| {
            let mut details = Vec::new();
            for (which, names) in [(first, only(expected, spec)), (split, only(spec, expected))] {
                if !names.is_empty() {
                    details.push(format!("only in {which}: {names}"));
                }
            }
            if details.is_empty() {
                details.push("the same names in a different order".to_owned());
            }
            let message = format!("{split} has different classes than {first}");
            Finding::error(Kind::ClassesDiffer, *split, message)
                .across()
                .with_details(details)
                .with_help(
                    "use annotations with the same categories, or set `model.class_names` \
                            to their common list",
                )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(names: &[&str], ids: &[i64]) -> LabelSpec {
        LabelSpec {
            names: names.iter().map(|&n| n.into()).collect(),
            ids: ids.to_vec().into(),
            ..Default::default()
        }
    }

    fn of(examples: &[u64]) -> Counts {
        Counts {
            examples: examples.to_vec(),
            ..Default::default()
        }
    }

    fn kinds(spec: &LabelSpec, counts: &[u64]) -> Vec<Kind> {
        let found = findings(Split::Val, spec, &of(counts));
        found.iter().map(|f| f.kind).collect()
    }

    #[test]
    fn imbalance_missing_and_rare_classes_are_found_by_their_counts() {
        let three = spec(&["a", "b", "c"], &[1, 2, 3]);
        assert!(kinds(&three, &[10, 200, 100]).is_empty());
        assert_eq!(kinds(&three, &[10, 201, 100]), [Kind::Imbalance]);
        assert_eq!(kinds(&three, &[0, 20, 20]), [Kind::MissingClasses]);
        assert_eq!(kinds(&three, &[9, 20, 20]), [Kind::RareClasses]);
        // A task without classes, and a class that only the checkpoint has.
        assert!(kinds(&three, &[0, 0, 0]).is_empty());
        assert!(kinds(&spec(&["a", "b", "c"], &[1, -1, 3]), &[20, 0, 20]).is_empty());
    }

    #[test]
    fn different_names_and_order_are_reported() {
        let all = [
            (Split::Train, spec(&["a", "b"], &[])),
            (Split::Val, spec(&["b", "a"], &[])),
            (Split::Test, spec(&["a", "c"], &[])),
        ];
        let found = differences(&all);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].details, ["the same names in a different order"]);
        assert_eq!(found[1].details, ["only in train: `b`", "only in test: `c`"]);
        assert!(differences(&all[..1]).is_empty());
    }
}
