//! Keys that are understood, and that other keys keep from having an effect.

use super::node::{Content, Mark, Node, given, name, number, value};
use serde_json::Value;

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

/// A line for each, with its place. `root` has what the user gave, without defaults.
pub fn without_effect(root: &Node) -> Vec<(Mark, String)> {
    let mut found = Found {
        root,
        lines: Vec::new(),
    };
    for key in ["training.master_port", "training.preferred_strategy"] {
        found.tell_if(true, key, "training on several devices does not exist yet");
    }
    schedule(&mut found);
    epochs(&mut found);
    data(&mut found);
    let saves = value(root, "output.visualization.save_images") == Some(Value::Bool(true));
    for key in ["confidence_threshold", "max_boxes", "max_images"] {
        let key = format!("output.visualization.{key}");
        found.tell_if(!saves, &key, "`output.visualization.save_images` is not set");
    }
    found.lines
}

struct Found<'a> {
    root: &'a Node,
    lines: Vec<(Mark, String)>,
}

impl Found<'_> {
    /// The key has no effect, if it is given and `so`.
    fn tell_if(&mut self, so: bool, key: &str, why: &str) {
        if so && given(self.root, key) {
            self.lines
                .push((self.root.mark_of(key), format!("`{key}` has no effect: {why}")));
        }
    }
}

fn schedule(found: &mut Found<'_>) {
    let scheduler = name(found.root, "training.scheduler", "cosine");
    for (key, readers) in SCHEDULER_PARAMS {
        let why = format!(
            "the schedule is `{scheduler}`; {} {} it",
            readers.join(", "),
            if readers.len() == 1 { "reads" } else { "read" }
        );
        let key = format!("training.scheduler_params.{key}");
        found.tell_if(!readers.contains(&scheduler.as_str()), &key, &why);
    }
}

/// Keys that name an epoch which never comes.
fn epochs(found: &mut Found<'_>) {
    let root = found.root;
    let Some(epochs) = number(root, "training.max_epochs") else {
        return;
    };
    let why = format!("the training ends after {epochs} epochs");
    for key in [
        "training.unfreeze_at_epoch",
        "training.scheduler_params.step_size",
    ] {
        found.tell_if(number(root, key).is_some_and(|at| at >= epochs), key, &why);
    }
    let milestones = "training.scheduler_params.milestones";
    if let Some(Content::List(list)) = root.at(milestones).map(|node| &node.content) {
        let late = |node: &Node| node.to_json().as_f64().is_some_and(|at| at >= epochs);
        found.tell_if(!list.is_empty() && list.iter().all(late), milestones, &why);
    }
    let off = "data.augmentations.off_last_epochs";
    if number(root, off).is_some_and(|off| off >= epochs) {
        found.tell_if(
            true,
            "data.augmentations",
            &format!("`{off}` covers all {epochs} epochs"),
        );
    }
}

fn data(found: &mut Found<'_>) {
    let root = found.root;
    let sampling = name(root, "data.sampling", "natural");
    let why = format!("`data.sampling` is {sampling}");
    found.tell_if(sampling != "repeat_factor", "data.repeat_threshold", &why);
    let splits = ["data.val_ratio", "data.test_ratio"];
    let why = "neither `data.val_ratio` nor `data.test_ratio` is given";
    found.tell_if(!splits.iter().any(|key| given(root, key)), "data.split_seed", why);
    let off = value(root, "data.augment") == Some(Value::Bool(false));
    found.tell_if(off, "data.augmentations", "`data.augment` is false");
}
