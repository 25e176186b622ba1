//! Warnings about valid keys that have no effect because of other keys.

use super::node::{Content, Mark, Node};
use serde_json::Value;

/// The keys of `scheduler_params` with the schedules that read them.
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

/// One message per key without effect, with its location. `root` must be resolved; a value equal to
/// the default, as in the configuration saved with a run, is not reported.
pub fn without_effect(root: &Node, schema: &Value) -> Vec<(Mark, String)> {
    let mut found = Found {
        root,
        schema,
        lines: Vec::new(),
    };
    for key in ["training.master_port", "training.preferred_strategy"] {
        found.warn_if(true, key, "training on several devices is not supported yet");
    }
    schedule(&mut found);
    epochs(&mut found);
    data(&mut found);
    let saves = root.value_at("output.visualization.save_images") == Some(Value::Bool(true));
    for key in ["confidence_threshold", "max_boxes", "max_images"] {
        let key = format!("output.visualization.{key}");
        found.warn_if(!saves, &key, "`output.visualization.save_images` is not set");
    }
    found.lines
}

struct Found<'a> {
    root: &'a Node,
    schema: &'a Value,
    lines: Vec<(Mark, String)>,
}

impl Found<'_> {
    /// Reports that the key has no effect if it is set and `condition` holds.
    fn warn_if(&mut self, condition: bool, key: &str, why: &str) {
        if condition && self.is_wanted(key) {
            self.lines
                .push((self.root.mark_of(key), format!("`{key}` has no effect: {why}")));
        }
    }

    fn is_wanted(&self, key: &str) -> bool {
        let Some(node) = self.root.at(key).filter(|node| !node.is_null()) else {
            return false;
        };
        let schema = key
            .split('.')
            .try_fold(self.schema, |schema, name| schema.get("properties")?.get(name));
        let default = schema.and_then(|schema| schema.get("default"));
        node.mark != Mark::Default && !default.is_some_and(|default| same(&node.to_json(), default))
    }
}

/// Equality that treats 1 and 1.0 as equal.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

fn schedule(found: &mut Found<'_>) {
    let scheduler = found.root.name_at("training.scheduler", "");
    for (key, readers) in SCHEDULER_PARAMS {
        let why = format!(
            "the schedule is `{scheduler}`; {} {} it",
            readers.join(", "),
            if readers.len() == 1 { "reads" } else { "read" }
        );
        let key = format!("training.scheduler_params.{key}");
        found.warn_if(!readers.contains(&scheduler.as_str()), &key, &why);
    }
}

/// Keys that refer to an epoch that is never reached.
fn epochs(found: &mut Found<'_>) {
    let root = found.root;
    let Some(epochs) = root.number_at("training.max_epochs") else {
        return;
    };
    let why = format!("training ends after {epochs} epochs");
    let unfreeze = "training.unfreeze_at_epoch";
    found.warn_if(
        root.number_at(unfreeze).is_some_and(|at| at >= epochs),
        unfreeze,
        &why,
    );
    let scheduler = root.name_at("training.scheduler", "");
    let size = "training.scheduler_params.step_size";
    let late = scheduler == "step" && root.number_at(size).is_some_and(|at| at >= epochs);
    found.warn_if(late, size, &why);
    let milestones = "training.scheduler_params.milestones";
    if let Some(Content::List(list)) = root.at(milestones).map(|node| &node.content) {
        let late = |node: &Node| node.to_json().as_f64().is_some_and(|at| at >= epochs);
        let all_late = scheduler == "multistep" && !list.is_empty() && list.iter().all(late);
        found.warn_if(all_late, milestones, &why);
    }
    let off = "data.augmentations.off_last_epochs";
    let all = root.number_at(off).is_some_and(|off| off >= epochs);
    found.warn_if(
        all,
        "data.augmentations",
        &format!("`{off}` covers all {epochs} epochs"),
    );
}

fn data(found: &mut Found<'_>) {
    let root = found.root;
    let sampling = root.name_at("data.sampling", "");
    let why = format!("`data.sampling` is {sampling}");
    found.warn_if(sampling != "repeat_factor", "data.repeat_threshold", &why);
    let splits = ["data.val_ratio", "data.test_ratio"];
    let why = "neither `data.val_ratio` nor `data.test_ratio` is given";
    found.warn_if(!splits.iter().any(|key| root.has(key)), "data.split_seed", why);
    let off = root.value_at("data.augment") == Some(Value::Bool(false));
    found.warn_if(off, "data.augmentations", "`data.augment` is false");
}
