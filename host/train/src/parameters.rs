//! The table of modules at the start of a run: the size of each, and how it is trained.

use super::optimizer::Optimizer;
use cvhost_plugin_api::data::Parameter;
use std::collections::{BTreeMap, HashMap};

/// A module with more than this fraction of all parameters is replaced by its submodules.
const NEARLY_ALL: f64 = 0.9;
/// Up to this many similar modules (`layer.0`, `layer.1`, …) have a line each; more share one.
const ALIKE: usize = 3;
/// The maximum number of lines; the smallest modules share the last one.
const LINES: usize = 20;

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Default)]
struct Row {
    name: String,
    numbers: usize,
    trained: usize,
    /// The lowest and the highest learning rate; `None` if nothing is trained.
    rates: Option<(f64, f64)>,
    /// The lowest and the highest weight decay.
    decays: Option<(f64, f64)>,
}

/// The table for a training with the base learning rate `rate`, one line per module. The counts are
/// elements of parameters and buffers.
pub fn table(parameters: &[Parameter], optimizer: &Optimizer, rate: f64) -> String {
    let trained: HashMap<&str, (f64, f64)> = optimizer
        .trained()
        .map(|(name, factor, decay)| (name, (rate * factor, decay)))
        .collect();
    let rows = parameters.iter().map(|parameter| {
        let (name, numbers) = (parameter.name.as_str(), parameter.tensor.tensor().numel());
        let how = trained.get(name);
        Row {
            name: name.to_owned(),
            numbers,
            trained: how.map_or(0, |_| numbers),
            rates: how.map(|(rate, _)| (*rate, *rate)),
            decays: how.map(|(_, decay)| (*decay, *decay)),
        }
    });
    let rows: Vec<Row> = rows.collect();
    laid_out(&shortened(by_alike(by_module(&rows))))
}

impl Row {
    /// Adds another row; the name stays.
    fn add(&mut self, other: &Row) {
        let widest = |a: Option<(f64, f64)>, b: Option<(f64, f64)>| match (a, b) {
            (Some((low, high)), Some((other_low, other_high))) => {
                Some((low.min(other_low), high.max(other_high)))
            }
            (a, b) => a.or(b),
        };
        self.numbers += other.numbers;
        self.trained += other.trained;
        self.rates = widest(self.rates, other.rates);
        self.decays = widest(self.decays, other.decays);
    }
}

/// One row for all of `rows`.
fn sum(name: &str, rows: &[Row]) -> Row {
    let mut total = Row {
        name: name.to_owned(),
        ..Row::default()
    };
    rows.iter().for_each(|row| total.add(row));
    total
}

/// Groups rows of parameters by module, which is the first part of their names. A module that
/// contains nearly everything is replaced by its submodules.
fn by_module(parameters: &[Row]) -> Vec<Row> {
    let all: usize = parameters.iter().map(|row| row.numbers).sum();
    let mut opened: Vec<String> = vec![String::new()];
    loop {
        let rows = grouped(parameters, |name| module_of(name, &opened));
        let large = rows.iter().find(|row| {
            let deeper = format!("{}.", row.name);
            row.numbers as f64 > NEARLY_ALL * all as f64
                && parameters
                    .iter()
                    .any(|parameter| parameter.name.starts_with(&deeper))
        });
        match large {
            Some(row) => opened.push(format!("{}.", row.name)),
            None => return rows,
        }
    }
}

/// The module of a parameter: one level below the deepest of the `opened` modules that contain it.
fn module_of(name: &str, opened: &[String]) -> String {
    let inside = opened
        .iter()
        .filter(|prefix| name.starts_with(prefix.as_str()))
        .map(String::len)
        .max()
        .unwrap_or(0);
    let rest = &name[inside..];
    let end = rest.find('.').map_or(name.len(), |at| inside + at);
    name[..end].to_owned()
}

/// Sums rows with the same key, in the order of their first. The key becomes the name.
fn grouped(rows: &[Row], key: impl Fn(&str) -> String) -> Vec<Row> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut sums: Vec<Row> = Vec::new();
    for row in rows {
        let key = key(&row.name);
        let place = *places.entry(key.clone()).or_insert_with(|| {
            sums.push(sum(&key, &[]));
            sums.len() - 1
        });
        sums[place].add(row);
    }
    sums
}

/// Many modules whose names differ only in numbers share a row: `layer.* (12)`.
fn by_alike(rows: Vec<Row>) -> Vec<Row> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for row in &rows {
        *counts.entry(pattern(&row.name)).or_default() += 1;
    }
    grouped(&rows, |name| {
        let pattern = pattern(name);
        match counts.get(&pattern) {
            Some(count) if *count > ALIKE => format!("{pattern} ({count})"),
            _ => name.to_owned(),
        }
    })
}

/// A name with `*` for each of its numbers.
fn pattern(name: &str) -> String {
    let mut pattern = String::new();
    for sign in name.chars() {
        match sign {
            '0'..='9' if pattern.ends_with('*') => {}
            '0'..='9' => pattern.push('*'),
            other => pattern.push(other),
        }
    }
    pattern
}

/// The largest rows in their order, and one row for all others.
fn shortened(rows: Vec<Row>) -> Vec<Row> {
    if rows.len() <= LINES {
        return rows;
    }
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.numbers).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let least = sizes[LINES - 2];
    let (mut kept, mut others) = (Vec::new(), Vec::new());
    for row in rows {
        let keep = row.numbers >= least && kept.len() < LINES - 1;
        if keep { &mut kept } else { &mut others }.push(row);
    }
    kept.push(sum(&format!("{} others", others.len()), &others));
    kept
}

/// The rows as aligned columns with a heading.
fn laid_out(rows: &[Row]) -> String {
    let heading = ["module", "parameters", "trained", "learning rate", "weight decay"].map(str::to_owned);
    let cells = rows.iter().map(|row| {
        let trained = match row.trained {
            0 => "-".to_owned(),
            all if all == row.numbers => "all".to_owned(),
            some => count(some),
        };
        let [rates, decays] = [row.rates, row.decays].map(range);
        [row.name.clone(), count(row.numbers), trained, rates, decays]
    });
    let lines: Vec<[String; 5]> = std::iter::once(heading).chain(cells).collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let [name, numbers, trained, rates, _] = [0, 1, 2, 3, 4].map(width);
    let lines = lines.iter().map(|[a, b, c, d, e]| {
        let line = format!("  {a:name$}  {b:>numbers$}  {c:>trained$}  {d:rates$}  {e}");
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<String>>().join("\n")
}

/// `1.0e-5`, or `1.0e-5 to 1.0e-4`; `-` if nothing is trained.
fn range(values: Option<(f64, f64)>) -> String {
    let one = |value: f64| {
        if value == 0.0 {
            "0".to_owned()
        } else {
            format!("{value:.1e}")
        }
    };
    match values {
        None => "-".to_owned(),
        Some((low, high)) if one(low) == one(high) => one(low),
        Some((low, high)) => format!("{} to {}", one(low), one(high)),
    }
}

/// Three digits: `96`, `1.23 k`, `45.6 M`.
fn count(number: usize) -> String {
    let (value, unit) = match number {
        0..1000 => return number.to_string(),
        1000..999_500 => (number as f64 / 1e3, "k"),
        999_500..999_500_000 => (number as f64 / 1e6, "M"),
        _ => (number as f64 / 1e9, "G"),
    };
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optimizer::GroupRules;
    use cvhost::config::TrainingConfig;
    use cvhost_plugin_api::data::Tags;
    use cvhost_plugin_api::torch::{Init, ParameterSet};

    fn row(name: &str, numbers: usize) -> Row {
        Row {
            name: name.to_owned(),
            numbers,
            ..Row::default()
        }
    }

    fn names(rows: &[Row]) -> Vec<(&str, usize)> {
        rows.iter().map(|row| (row.name.as_str(), row.numbers)).collect()
    }

    #[test]
    fn a_module_with_nearly_everything_is_replaced_by_its_submodules() {
        let rows = by_module(&[
            row("model.backbone.conv.weight", 500),
            row("model.backbone.conv.bias", 10),
            row("model.encoder.0.weight", 400),
            row("model.query", 50),
            row("head.weight", 30),
            row("scale", 1),
        ]);
        let expected = [
            ("model.backbone", 510),
            ("model.encoder", 400),
            ("model.query", 50),
            ("head", 30),
            ("scale", 1),
        ];
        assert_eq!(names(&rows), expected);
        // Down to the first module with several submodules, or to the last one.
        assert_eq!(names(&by_module(&[row("a.b.c", 7)])), [("a.b.c", 7)]);
        assert!(by_module(&[]).is_empty());
    }

    #[test]
    fn many_similar_modules_share_a_row() {
        let layers: Vec<Row> = (0..200).map(|i| row(&format!("encoder.layer.{i}"), 10)).collect();
        assert_eq!(names(&by_alike(layers)), [("encoder.layer.* (200)", 2000)]);
        let few = vec![row("conv1", 1), row("conv2", 2), row("bn10", 3)];
        assert_eq!(by_alike(few.clone()), few);
    }

    #[test]
    fn the_smallest_of_very_many_modules_share_the_last_row() {
        let name = |i: usize| "x".repeat(i + 1);
        let rows: Vec<Row> = (0..50).map(|i| row(&name(i), i)).collect();
        let short = shortened(rows);
        assert_eq!(short.len(), LINES);
        assert_eq!(
            (short[LINES - 1].name.as_str(), short[LINES - 1].numbers),
            ("31 others", (0..31).sum())
        );
        let alike = shortened((0..50).map(|i| row(&name(i), 7)).collect());
        assert_eq!(alike.len(), LINES);
        assert_eq!(alike.iter().map(|row| row.numbers).sum::<usize>(), 350);
    }

    #[test]
    fn counts_have_three_digits() {
        let counts = [
            0,
            999,
            1000,
            9_994,
            12_345,
            999_499,
            999_500,
            22_205_952,
            7_000_000_000,
        ];
        assert_eq!(
            counts.map(count),
            [
                "0", "999", "1.00 k", "9.99 k", "12.3 k", "999 k", "1.00 M", "22.2 M", "7.00 G"
            ]
        );
    }

    #[test]
    fn rates_decays_and_frozen_modules_are_in_aligned_columns() {
        let set = ParameterSet::new();
        let root = set.root();
        let backbone = root.tagged(Tags::BACKBONE);
        let _kept = [
            backbone.parameter("backbone", &[20, 5], Init::Constant(1.0)),
            root.parameter("neck", &[30], Init::Constant(1.0)),
            root.parameter("classes.weight", &[40], Init::Constant(1.0)),
            root.no_decay("classes.bias", &[2], Init::Constant(1.0)),
        ];
        let training = TrainingConfig {
            weight_decay: 0.05,
            backbone_lr_scale: 0.1,
            freeze: vec!["neck".to_owned()],
            ..TrainingConfig::default()
        };
        let parameters = set.list(|_| vec![]);
        let optimizer = Optimizer::new(&parameters, &GroupRules::new(&training)).unwrap();
        let found = table(&parameters, &optimizer, 2e-4);
        let expected = "  module    parameters  trained  learning rate  weight decay
  backbone         100      all  2.0e-5         5.0e-2
  neck              30        -  -              -
  classes           42      all  2.0e-4         0 to 5.0e-2";
        assert_eq!(found, expected, "\n{found}");
    }
}
