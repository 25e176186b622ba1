//! The data of each split: what the configuration names, or what it sets aside of the training data.

use crate::session::{Session, same_classes};
use cvhost::cli::Split;
use cvhost::error::{Error, Result};
use cvhost_data::{DataSetSource, Source, Subset, divide};
use cvhost_plugin_api::data::LabelSpec;
use std::cell::OnceCell;
use std::sync::Arc;

/// A split's records, and what their labels mean.
pub struct SplitData {
    pub spec: LabelSpec,
    pub source: Arc<dyn Source>,
}

/// The splits of a session. The training data is opened once, even where others are set aside from it.
pub struct Splits<'a> {
    session: &'a Session,
    checkpoint_classes: &'a [String],
    train: OnceCell<Arc<DataSetSource>>,
}

impl<'a> Splits<'a> {
    pub fn new(session: &'a Session, checkpoint_classes: &'a [String]) -> Self {
        Splits {
            session,
            checkpoint_classes,
            train: OnceCell::new(),
        }
    }

    /// Whether the configuration says where the split's data is.
    pub fn has(&self, split: Split) -> bool {
        self.session.data_path(split).is_some() || self.aside(split) > 0.0
    }

    /// Opens a split.
    pub fn open(&self, split: Split) -> Result<SplitData> {
        self.warn_of_no_effect(split);
        let (ratios, number) = self.division(split);
        if split != Split::Train && number == 0 {
            let data_set = Arc::new(self.session.data_set(split, self.checkpoint_classes)?);
            return Ok(SplitData {
                spec: data_set.spec().clone(),
                source: data_set,
            });
        }
        let train = self.train()?;
        let spec = train.spec().clone();
        if ratios.is_empty() {
            return Ok(SplitData { spec, source: train });
        }
        let seed = self.session.loaded.config.data.split_seed;
        let mut parts = divide(train.as_ref(), &ratios, seed)?;
        let part = parts.swap_remove(number);
        if part.is_empty() {
            return Err(Error::input(format!(
                "no image is left for {split}: data.{split}_ratio sets some of {} aside",
                train.len()
            ))
            .with_help("more images are needed, or a folder of their own for each split"));
        }
        let source = Arc::new(Subset::new(train, part));
        Ok(SplitData { spec, source })
    }

    /// As [`Splits::open`], and its classes must be those of `expected`.
    pub fn open_like(&self, split: Split, expected: &LabelSpec) -> Result<SplitData> {
        let data = self.open(split)?;
        same_classes(expected, &data.spec, &format!("training and {split} data"))?;
        Ok(data)
    }

    fn train(&self) -> Result<Arc<DataSetSource>> {
        if let Some(train) = self.train.get() {
            return Ok(Arc::clone(train));
        }
        let train = Arc::new(self.session.data_set(Split::Train, self.checkpoint_classes)?);
        Ok(Arc::clone(self.train.get_or_init(|| train)))
    }

    /// A ratio beside data of the split's own does nothing.
    fn warn_of_no_effect(&self, split: Split) {
        if self.ratio(split).is_some() && self.session.data_path(split).is_some() {
            tracing::warn!("`data.{split}_ratio` has no effect, as there is a data.{split}_data_path");
        }
    }

    fn ratio(&self, split: Split) -> Option<f64> {
        let data = &self.session.loaded.config.data;
        match split {
            Split::Train => None,
            Split::Val => data.val_ratio,
            Split::Test => data.test_ratio,
        }
    }

    /// The part of the training data that is set aside for a split; 0 where the split has data of its own.
    fn aside(&self, split: Split) -> f64 {
        match (self.ratio(split), self.session.data_path(split)) {
            (Some(ratio), None) => ratio,
            _ => 0.0,
        }
    }

    /// The ratios of what is set aside, and which part of the division the split is; 0 is the training data's.
    fn division(&self, split: Split) -> (Vec<f64>, usize) {
        let aside: Vec<(Split, f64)> = [Split::Val, Split::Test]
            .into_iter()
            .map(|split| (split, self.aside(split)))
            .filter(|(_, ratio)| *ratio > 0.0)
            .collect();
        let number = aside.iter().position(|(other, _)| *other == split);
        let ratios = aside.iter().map(|(_, ratio)| *ratio).collect();
        (ratios, number.map_or(0, |number| number + 1))
    }
}
