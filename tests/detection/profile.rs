//! `run --profile`: where the time of the first steps goes.

use crate::bench::{Bench, path_in};
use serde_json::Value;

/// Start and end in microseconds.
fn times(event: &Value) -> (f64, f64) {
    let start = event["ts"].as_f64().unwrap();
    (start, start + event["dur"].as_f64().unwrap())
}

#[test]
fn a_trace_accounts_for_the_whole_of_each_step() {
    let bench = Bench::new("yolos");
    let run = bench
        .run(&[
            "--profile=4",
            "training.save_every_n_steps=2",
            "training.log_every_n_steps=1",
        ])
        .success();
    let end = run.last_event();
    let path = path_in(&end, "run_dir").join("trace.json");
    assert_eq!(end["profile"]["path"], path.to_str().unwrap());
    let trace: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let named = |name: &str| -> Vec<&Value> {
        let complete = events.iter().filter(|e| e["ph"] == "X");
        complete.filter(|e| e["name"] == name).collect()
    };
    let threads: Vec<&str> = events
        .iter()
        .filter(|e| e["ph"] == "M")
        .map(|e| e["args"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(threads, ["trainer", "loader-0"]);
    let steps = named("step");
    assert_eq!(steps.len(), 4);
    let parts = [
        "load",
        "to device",
        "forward",
        "backward",
        "optimizer",
        "log",
        "save",
    ];
    let (mut covered, mut whole) = (0.0, 0.0);
    for step in &steps {
        let (start, end) = times(step);
        let mut inside: Vec<(f64, f64)> = parts
            .iter()
            .flat_map(|name| named(name))
            .inspect(|part| assert_eq!(part["tid"], step["tid"]))
            .map(times)
            .filter(|part| part.0 >= start && part.1 <= end)
            .collect();
        inside.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(
            inside.windows(2).all(|pair| pair[0].1 <= pair[1].0),
            "parts overlap: {inside:?}"
        );
        covered += inside.iter().map(|part| part.1 - part.0).sum::<f64>();
        whole += end - start;
    }
    assert!(covered >= 0.95 * whole, "{covered} of {whole} µs");
    for name in parts {
        let all_inside = named(name).into_iter().all(|part| {
            let (start, end) = times(part);
            let mut steps = steps.iter().map(|step| times(step));
            steps.any(|step| step.0 <= start && end <= step.1)
        });
        assert!(all_inside && !named(name).is_empty(), "{name}");
    }
    assert_eq!(named("save").len(), 2);
    assert!(!named("decode").is_empty() && !named("prepare").is_empty());
    let rows = end["profile"]["spans"].as_array().unwrap();
    let shares: f64 = rows[1..].iter().filter_map(|row| row["share"].as_f64()).sum();
    assert!(
        rows[0]["name"] == "step" && (0.95..=1.0).contains(&shares),
        "{rows:?}"
    );
}
