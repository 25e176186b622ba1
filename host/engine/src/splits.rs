//! The data of each split: a data set from the configuration, or a fraction held out of the
//! training data.

use crate::session::{Session, same_classes};
use cvhost::cli::Split;
use cvhost::error::{Error, Result};
use cvhost_data::{DataSetSource, Source, Subset, divide};
use cvhost_plugin_api::data::LabelSpec;
use std::cell::OnceCell;
use std::sync::Arc;

/// The records of a split and their label specification.
pub struct SplitData {
    pub spec: LabelSpec,
    pub source: Arc<dyn Source>,
}

/// The splits of a session. The training data is opened only once, even if other splits are held
/// out of it.
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

    /// Whether the configuration defines data for the split.
    pub fn has(&self, split: Split) -> bool {
        self.session.data_path(split).is_some() || self.held_out(split) > 0.0
    }

    /// Opens a split.
    pub fn open(&self, split: Split) -> Result<SplitData> {
        self.warn_if_ignored(split);
        let (ratios, part_index) = self.division(split);
        if split != Split::Train && part_index == 0 {
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
        let part = parts.swap_remove(part_index);
        if part.is_empty() {
            return Err(Error::input(format!(
                "no images remain for {split}: data.{split}_ratio holds out a fraction of only {}",
                train.len()
            ))
            .with_help("provide more images, or a separate folder for each split"));
        }
        let source = Arc::new(Subset::new(train, part));
        Ok(SplitData { spec, source })
    }

    /// Like [`Splits::open`], but fails if the classes differ from those of `expected`.
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

    /// Warns about a ratio that is ignored because the split has its own data.
    fn warn_if_ignored(&self, split: Split) {
        if self.ratio(split).is_some() && self.session.data_path(split).is_some() {
            tracing::warn!("`data.{split}_ratio` has no effect, since data.{split}_data_path is set");
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

    /// The fraction of the training data that is held out for a split; 0 if the split has its own
    /// data.
    fn held_out(&self, split: Split) -> f64 {
        match (self.ratio(split), self.session.data_path(split)) {
            (Some(ratio), None) => ratio,
            _ => 0.0,
        }
    }

    /// The ratios of all held-out splits, and the index of this split's part in the division; 0 is
    /// the training part.
    fn division(&self, split: Split) -> (Vec<f64>, usize) {
        let held_out: Vec<(Split, f64)> = [Split::Val, Split::Test]
            .into_iter()
            .map(|split| (split, self.held_out(split)))
            .filter(|(_, ratio)| *ratio > 0.0)
            .collect();
        let part_index = held_out.iter().position(|(other, _)| *other == split);
        let ratios = held_out.iter().map(|(_, ratio)| *ratio).collect();
        (ratios, part_index.map_or(0, |part_index| part_index + 1))
    }
}
