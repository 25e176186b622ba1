//! Which keys of `training` go together: optimizer, schedule, what is frozen.

use serde_json::Value;

use super::check::Problem;
use super::node::{Content, Mark, Node};

/// The keys of `optimizer_params`, with the optimizers that read them.
const OPTIMIZER_PARAMS: [(&str, [&str; 2]); 5] = [
    ("beta1", ["adamw", "muon"]),
    ("beta2", ["adamw", "muon"]),
    ("epsilon", ["adamw", "muon"]),
    ("momentum", ["sgd", "muon"]),
    ("nesterov", ["sgd", "muon"]),
];

/// The keys of `scheduler_params`, with the schedules that read them.
const SCHEDULER_PARAMS: [(&str, &[&str]); 9] = [
    ("T_max", &["cosine", "linear", "polynomial", "onecycle"]),
    ("eta_min", &["cosine", "linear", "polynomial"]),
    ("step_size", &["step"]),
    ("gamma", &["step", "multistep"]),
    ("milestones", &["multistep"]),
    ("power", &["polynomial"]),
    ("pct_start", &["onecycle"]),
    ("div_factor", &["onecycle"]),
    ("final_div_factor", &["onecycle"]),
];

/// What can't be meant.
pub fn rules(root: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |path: &str, message: &str, help: &str| {
        problems.push(Problem::new(path, root.mark_of(path), message).help(help));
    };
    let optimizer = name(root, "training.optimizer", "adamw");
    for (key, readers) in OPTIMIZER_PARAMS {
        let path = format!("training.optimizer_params.{key}");
        if given(root, &path) && !readers.contains(&optimizer.as_str()) {
            let help = format!(
                "leave it out, or set training.optimizer to {}",
                readers.join(" or ")
            );
            refuse(
                &path,
                &format!("the optimizer `{optimizer}` has no `{key}`"),
                &help,
            );
        }
    }
    let nesterov = "training.optimizer_params.nesterov";
    if value(root, nesterov) == Some(Value::Bool(true))
        && number(root, "training.optimizer_params.momentum") == Some(0.0)
    {
        refuse(
            nesterov,
            "`nesterov` is a kind of momentum, and the momentum is 0",
            "leave one of them out",
        );
    }
    let unfreeze = "training.unfreeze_at_epoch";
    let frozen = match root.at("training.freeze").map(|n| &n.content) {
        Some(Content::List(patterns)) => patterns.len(),
        _ => 0,
    };
    if given(root, unfreeze) && frozen == 0 {
        refuse(
            unfreeze,
            "`unfreeze_at_epoch` has nothing to unfreeze",
            "name the parameters in training.freeze, or leave it out",
        );
    }
    problems
}

/// Keys that other keys keep from having an effect.
pub fn without_effect(root: &Node) -> Vec<(Mark, String)> {
    let mut found = Vec::new();
    let scheduler = name(root, "training.scheduler", "cosine");
    for (key, readers) in SCHEDULER_PARAMS {
        let path = format!("training.scheduler_params.{key}");
        if given(root, &path) && !readers.contains(&scheduler.as_str()) {
            let message = format!(
                "`{path}` has no effect with the schedule `{scheduler}`; {} {} it",
                readers.join(", "),
                if readers.len() == 1 { "reads" } else { "read" }
            );
            found.push((root.mark_of(&path), message));
        }
    }
    let unfreeze = "training.unfreeze_at_epoch";
    let epochs = number(root, "training.max_epochs");
    if let (Some(at), Some(epochs)) = (number(root, unfreeze), epochs)
        && at >= epochs
    {
        let message = format!("`{unfreeze}` has no effect: the training ends after {epochs} epochs");
        found.push((root.mark_of(unfreeze), message));
    }
    found
}

fn value(root: &Node, path: &str) -> Option<Value> {
    root.at(path).map(Node::to_json)
}

fn number(root: &Node, path: &str) -> Option<f64> {
    value(root, path)?.as_f64()
}

fn given(root: &Node, path: &str) -> bool {
    root.at(path).is_some_and(|node| !node.is_null())
}

fn name(root: &Node, path: &str, default: &str) -> String {
    let value = value(root, path);
    value
        .as_ref()
        .and_then(Value::as_str)
        .unwrap_or(default)
        .to_lowercase()
}
