//! `cvhost eval`: computes the metrics of a checkpoint on a split.

use crate::session::{Session, checkpoint_spec, same_classes};
use crate::splits::{SplitData, Splits};
use crate::visual::Gallery;
use cvhost::cli::{EvalArgs, Global};
use cvhost::error::Result;
use cvhost::output;
use cvhost::plugin_error::checked;
use cvhost_plugin_api::data::LabelSpec;
use cvhost_torch::context::Moment;
use cvhost_torch::evaluate::{EvaluateOptions, evaluate, write_report};
use serde_json::json;
use std::sync::Arc;

/// Evaluates a checkpoint and prints the metrics.
pub fn eval(args: &EvalArgs, global: &Global) -> Result<()> {
    let session = Session::configured(&args.configured, global, &[])?;
    let checkpoint = args.checkpoint.display().to_string();
    let folder = session.model_folder(&checkpoint, true)?;
    let classes = folder.label_names()?;
    let SplitData { spec, source } =
        Splits::new(&session, classes.as_deref().unwrap_or_default()).open(args.split)?;
    if let Some(classes) = &classes {
        let expected = LabelSpec {
            names: classes.iter().map(|name| name.as_str().into()).collect(),
            ..LabelSpec::default()
        };
        same_classes(
            &expected,
            &spec,
            &format!("{} data and the checkpoint", args.split),
        )?;
    }
    // The checkpoint's own labels contain information from training, such as the frequency of each
    // class.
    let labels = match folder.label_names()? {
        Some(_) => checkpoint_spec(&checked(session.task.form())?, &folder)?,
        None => spec.clone(),
    };
    let mut model = session.trained_model(&folder, &labels)?;
    let output_config = session.loaded.config.output.clone();
    let run = (output_config.save_predictions || output_config.visualization.save_images)
        .then(|| {
            crate::run_folder::RunFolder::create(
                &output_config.results_dir,
                &format!("eval-{}", session.task_name),
            )
        })
        .transpose()?;
    let loader = session.eval_loader(Arc::clone(&source), &model.input)?;
    let evaluator = session.evaluator(&spec, output_config.save_predictions)?;
    let mut gallery = Gallery::new(
        &session,
        &spec,
        source.as_ref(),
        run.as_ref().map(|r| r.path.join("pictures")),
    );
    let mut each = |index, _: &_, prediction: &_| gallery.add(index, prediction);
    let options = EvaluateOptions {
        label: args.split.name(),
        moment: Moment::default(),
        finish: &session.finish_options(0.0),
        max_batches: None,
        each: Some(&mut each),
    };
    let evaluation = evaluate(&mut model.network, &loader, evaluator, options)?;
    let drawn = gallery.finish()?;
    let metrics = evaluation.named(args.split.name());
    let mut fields = json!({"split": args.split.name(), "pictures": evaluation.images, "metrics": metrics});
    if let Some(run) = &run {
        run.write_config(&session.loaded.to_yaml())?;
        evaluation.write_artifacts(&run.path)?;
        write_report(
            &evaluation.document(args.split.name(), source.as_ref()),
            &run.path,
        )?;
        fields["run_dir"] = json!(run.path);
    }
    if global.json {
        let matrices = evaluation.details(&|_| String::new()).remove("matrices");
        if let Some(matrices) = matrices {
            fields["matrices"] = matrices;
        }
        output::event("eval_finished", fields);
        return Ok(());
    }
    output::line(&cvhost_report::summary::metrics(&metrics));
    for table in &evaluation.report.tables {
        output::line(&cvhost_report::summary::table(table));
    }
    if let Some(run) = &run {
        output::line(&format!(
            "{drawn} drawn images and other files: {}",
            crate::session::shown(&run.path)
        ));
    }
    Ok(())
}
