//! Preparation of a training: configuration, data, and a model with its weights.

use super::resumed::{Resumed, find_resumed, own_draft, which_run};
use crate::run_folder::RunFolder;
use crate::session::{Model, Session};
use crate::splits::{SplitData, Splits};
use cvhost::cli::{Global, ResumeFrom, RunArgs, Split};
use cvhost::config::Draft;
use cvhost::error::{Error, Kind, Result};
use cvhost::progress;
use cvhost_checkpoint::ModelFolder;
use cvhost_data::{Source, Subset};
use cvhost_plugin_api::data::LabelSpec;
use cvhost_train::batch_size::End;
use cvhost_train::monitor::Monitor;
use serde_json::{Value, json};
use std::sync::Arc;

/// The model folder that a run starts from, its data, and its labels.
pub(super) struct Data {
    pub folder: ModelFolder,
    pub train: Arc<dyn Source>,
    pub val: Option<Arc<dyn Source>>,
    pub spec: LabelSpec,
}

/// Everything that a training starts with. Nothing has been written yet.
pub(super) struct Prepared {
    pub session: Session,
    pub data: Data,
    pub model: Model,
    pub monitor: Monitor,
    pub resumed: Option<Resumed>,
}

/// Loads configuration, plugins, data and the model with its weights: those of the checkpoint, if a
/// run is resumed. With `data.batch_size: auto` it finds the batch size.
///
/// `changes` are overrides that the program itself makes for a trial.
pub(super) fn prepare(args: &RunArgs, global: &Global, changes: &[String]) -> Result<Prepared> {
    let resume = args
        .resume
        .as_ref()
        .map(|from| which_run(from, args))
        .transpose()?;
    let mut draft = match (&args.config, &resume) {
        (Some(file), _) => Draft::read(file, &args.overrides)?,
        (None, Some(ResumeFrom::Folder(run))) => own_draft(&RunFolder::existing(run)?, &args.overrides)?,
        (None, _) => return Err(Error::usage("--config is missing")), // the command line's own rules refuse this
    };
    for change in changes {
        draft.set_own(change)?;
    }
    let mut session = Session::open(global, draft, args.plugin.as_deref(), &args.plugin_file)?;
    session.trial = args.trial;
    tch::manual_seed(session.loaded.config.training.seed as i64);
    cvhost::interrupt::set_deadline(session.loaded.config.training.stop_within);
    cvhost_torch::shim::set_deterministic(session.loaded.config.training.deterministic)?;
    keep_absolute(&mut session, "training.checkpoint_dir")?;
    keep_absolute(&mut session, "training.volume_checkpoint_dir")?;
    let resumed = resume
        .as_ref()
        .map(|from| find_resumed(from, &mut session))
        .transpose()?;
    if let (None, Some(Resumed { run, .. })) = (session.loaded.config.data.batch_size.number(), &resumed) {
        // What the run found when it started: the position in the epoch counts its batches.
        if let Some(size) = run.kept().value("data.batch_size").filter(Value::is_u64) {
            session.loaded.decide("data.batch_size", &size)?;
        }
    }
    let start = resumed.as_ref().and_then(|r| r.checkpoint.as_deref());
    let folder = match start {
        Some(checkpoint) => ModelFolder::open(checkpoint)?,
        None => session.starting_folder()?,
    };
    let mut data = open_data(&session, folder)?;
    let monitor = Monitor::new(&session.loaded, &session.metrics()?, &data.spec)?;
    let from_scratch = start.is_none() && !session.loaded.config.model.pretrained;
    let mut model = session.model(&data.folder, &data.spec, from_scratch)?;
    if !model.report.rows.is_empty() {
        progress::note(&model.report.to_string());
    }
    if session.loaded.config.data.batch_size.number().is_none() {
        let sizes = session.input_sizes(&model.input, &data.folder, &data.spec)?;
        let choice = session.find_batch_size(&mut model, &data.train, &sizes)?;
        if choice.end == End::RanOut {
            // A model that failed halfway can't be trusted. Its memory is freed before a new one is
            // created in the same way.
            let _ = model.network.to_device(tch::Device::Cpu);
            tch::manual_seed(session.loaded.config.training.seed as i64);
            model = session.model(&data.folder, &data.spec, from_scratch)?;
        }
    }
    if let Some(batches) = session.trial.overfit_batches {
        data.keep_first(batches, session.batch_size());
    }
    Ok(Prepared {
        session,
        data,
        model,
        monitor,
        resumed,
    })
}

/// Makes a path absolute, as the run can be resumed from any folder.
fn keep_absolute(session: &mut Session, key: &str) -> Result<()> {
    let value = session.loaded.value(key);
    let Some(path) = value.as_ref().and_then(Value::as_str) else {
        return Ok(());
    };
    let absolute =
        std::path::absolute(path).map_err(|e| Error::io(Kind::Environment, "find", path.as_ref(), &e))?;
    session.loaded.decide(key, &json!(absolute))
}

impl Data {
    /// Keeps only the first batches of the training data, for training and validation.
    fn keep_first(&mut self, batches: u32, batch_size: u32) {
        let records = (batches as usize)
            .saturating_mul(batch_size as usize)
            .min(self.train.len());
        self.train = Arc::new(Subset::new(Arc::clone(&self.train), (0..records).collect()));
        self.val = Some(Arc::clone(&self.train));
        progress::note(&format!(
            "only the first {records} training images, for training and validation"
        ));
    }
}

fn open_data(session: &Session, folder: ModelFolder) -> Result<Data> {
    let classes = folder.label_names()?.unwrap_or_default();
    let splits = Splits::new(session, &classes);
    let SplitData { spec, source: train } = splits.open(Split::Train)?;
    let config = &session.loaded.config;
    if session.trial.overfit_batches.is_some() {
        return Ok(Data {
            folder,
            train,
            val: None, // a subset of `train`, once the batch size is known
            spec,
        });
    }
    let val = match splits.has(Split::Val) {
        true => Some(splits.open_like(Split::Val, &spec)?.source),
        false if config.training.early_stopping_patience.is_some() => {
            return Err(session
                .loaded
                .error_at(
                    "training.early_stopping_patience",
                    "early stopping needs validation data",
                )
                .with_help("set data.val_data_path or data.val_ratio, or remove early_stopping_patience"));
        }
        false => {
            tracing::warn!(
                "neither data.val_data_path nor data.val_ratio is set: there is no validation, so no \
                 checkpoint is the best"
            );
            None
        }
    };
    let counts = val
        .as_ref()
        .map_or_else(String::new, |v| format!(", {} for validation", v.len()));
    progress::note(&format!(
        "{} training images{counts}, {} classes",
        train.len(),
        spec.names.len()
    ));
    Ok(Data {
        folder,
        train,
        val,
        spec,
    })
}
