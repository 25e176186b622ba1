//! GPU utilisation, as reported by `nvidia-smi`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{SystemTime, UNIX_EPOCH};

/// Samples the first GPU's utilisation five times per second.
pub struct Sampler {
    child: Option<Child>,
    reader: Option<JoinHandle<Vec<(u64, f64)>>>,
}

/// Utilisation samples in percent, each with its time in milliseconds since 1970.
#[derive(Debug, Default, PartialEq)]
pub struct Samples(Vec<(u64, f64)>);

impl Sampler {
    /// Starts sampling. Without `nvidia-smi` there are no samples.
    pub fn start() -> Self {
        let spawned = Command::new("nvidia-smi")
            .args([
                "--id=0",
                "--query-gpu=utilization.gpu",
                "--format=csv,noheader,nounits",
                "-lms",
                "200",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = spawned.ok();
        let output = child.as_mut().and_then(|child| child.stdout.take());
        let reader = output.map(|output| {
            thread::spawn(move || {
                let lines = BufReader::new(output).lines().map_while(Result::ok);
                lines
                    .filter_map(|line| Some((now(), line.trim().parse().ok()?)))
                    .collect()
            })
        });
        Sampler { child, reader }
    }

    pub fn stop(mut self) -> Samples {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let read = self.reader.map(JoinHandle::join);
        Samples(read.and_then(Result::ok).unwrap_or_default())
    }
}

impl Samples {
    /// The mean of the samples between two times; `None` if there are none.
    pub fn mean_between(&self, first: u64, last: u64) -> Option<f64> {
        let inside = self.0.iter().filter(|(at, _)| (first..=last).contains(at));
        let percents: Vec<f64> = inside.map(|(_, percent)| *percent).collect();
        (!percents.is_empty()).then(|| percents.iter().sum::<f64>() / percents.len() as f64)
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_samples_within_the_interval_count() {
        let samples = Samples(vec![(1, 0.0), (5, 90.0), (6, 100.0), (9, 3.0)]);
        assert_eq!(samples.mean_between(5, 6), Some(95.0));
        assert_eq!(samples.mean_between(2, 4), None);
    }
}
