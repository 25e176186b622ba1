//! The duration of steps, and how much of it is spent waiting for data.

use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Measures the steps since the last call of [`Pace::take`].
#[derive(Debug)]
pub struct Pace {
    since: Instant,
    steps: u32,
    waited: Duration,
}

impl Pace {
    pub fn new() -> Self {
        Pace {
            since: Instant::now(),
            steps: 0,
            waited: Duration::ZERO,
        }
    }

    /// Runs `load` and counts its time as waiting.
    pub fn wait<T>(&mut self, load: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let loaded = load();
        self.waited += started.elapsed();
        loaded
    }

    pub fn step(&mut self) {
        self.steps += 1;
    }

    /// The mean duration of a step since the last call, and the part of it spent waiting for data,
    /// in seconds. Everything between two steps counts: saving, logging.
    pub fn take(&mut self) -> Map<String, Value> {
        let past = std::mem::replace(self, Pace::new());
        let steps = f64::from(past.steps.max(1));
        let mut values = Map::new();
        values.insert(
            "step_seconds".to_owned(),
            json!(past.since.elapsed().as_secs_f64() / steps),
        );
        values.insert(
            "load_seconds".to_owned(),
            json!(past.waited.as_secs_f64() / steps),
        );
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_means_over_the_steps_since_the_last_call() {
        let mut pace = Pace::new();
        pace.since -= Duration::from_secs(8);
        pace.waited = Duration::from_secs(2);
        for _ in 0..4 {
            assert_eq!(pace.wait(|| 7), 7);
            pace.step();
        }
        let values = pace.take();
        let near = |name: &str, expected: f64| (values[name].as_f64().unwrap() - expected).abs() < 0.4;
        assert!(
            near("step_seconds", 2.0) && near("load_seconds", 0.5),
            "{values:?}"
        );
        pace.step();
        assert!(pace.take()["step_seconds"].as_f64().unwrap() < 1.0);
    }
}
