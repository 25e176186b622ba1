//! Rules between keys of `training`: optimizer parameters and frozen parameters.

use serde_json::Value;

use super::check::Problem;
use super::node::{Content, Node};

/// The keys of `optimizer_params` with the optimizers that read them.
const OPTIMIZER_PARAMS: [(&str, [&str; 2]); 5] = [
    ("beta1", ["adamw", "muon"]),
    ("beta2", ["adamw", "muon"]),
    ("epsilon", ["adamw", "muon"]),
    ("momentum", ["sgd", "muon"]),
    ("nesterov", ["sgd", "muon"]),
];

/// Reports contradictory settings.
pub fn rules(root: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |path: &str, message: &str, help: &str| {
        problems.push(Problem::new(path, root.mark_of(path), message).help(help));
    };
    let optimizer = root.name_at("training.optimizer", "adamw");
    for (key, readers) in OPTIMIZER_PARAMS {
        let path = format!("training.optimizer_params.{key}");
        if root.has(&path) && !readers.contains(&optimizer.as_str()) {
            let help = format!("remove it, or set training.optimizer to {}", readers.join(" or "));
            refuse(
                &path,
                &format!("the optimizer `{optimizer}` has no parameter `{key}`"),
                &help,
            );
        }
    }
    let nesterov = "training.optimizer_params.nesterov";
    if root.value_at(nesterov) == Some(Value::Bool(true))
        && root.number_at("training.optimizer_params.momentum") == Some(0.0)
    {
        refuse(
            nesterov,
            "`nesterov` requires momentum, but the momentum is 0",
            "remove one of them",
        );
    }
    let unfreeze = "training.unfreeze_at_epoch";
    let frozen = match root.at("training.freeze").map(|n| &n.content) {
        Some(Content::List(patterns)) => patterns.len(),
        _ => 0,
    };
    if root.has(unfreeze) && frozen == 0 {
        refuse(
            unfreeze,
            "`unfreeze_at_epoch` is set, but no parameters are frozen",
            "list the parameters in training.freeze, or remove it",
        );
    }
    problems
}
