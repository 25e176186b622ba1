use super::*;
use crate::events::{DrawnImage, Epoch, Parameters, RunEnd};
use crossbeam_channel::{Receiver, Sender, unbounded};
use cvhost_plugin_api::abi::{Logger, Logger_TO, RunInfoRef};
use cvhost_plugin_api::abi_stable::sabi_trait::TD_Opaque;
use cvhost_plugin_api::abi_stable::std_types::{ROk, RStr};
use cvhost_plugin_api::data::{Image, List, LogKind, Text};
use cvhost_plugin_api::error::AbiResult;
use serde_json::{Map, json};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// What a logger has written: lines, which a resumed one truncates to its state.
type Lines = Arc<Mutex<Vec<(LogKind, u64, String)>>>;

/// Writes lines. With a gate it waits before each call of `log` until something comes through.
struct Fake {
    lines: Lines,
    gate: Option<Receiver<()>>,
    started: Option<Receiver<()>>,
    done: Sender<Status>,
}

impl Logger for Fake {
    fn start(&mut self, _: RunInfoRef<'_>, resume: RStr<'_>) -> AbiResult<()> {
        if let Some(started) = &self.started {
            let _ = started.recv();
        }
        let resume: Value = serde_json::from_str(&resume).unwrap();
        if resume.is_object() {
            let kept = resume["lines"].as_u64().unwrap_or(0);
            self.lines.lock().unwrap().truncate(kept as usize);
        }
        ROk(())
    }

    fn log(&mut self, items: List<LogItem>) -> AbiResult<()> {
        if let Some(gate) = &self.gate {
            let _ = gate.recv();
        }
        let lines = items.into_iter().map(|item| {
            let what = [item.name, item.json, item.path].map(Text::into_string);
            (item.kind, item.step, what.join("|"))
        });
        self.lines.lock().unwrap().extend(lines);
        ROk(())
    }

    fn state(&self) -> AbiResult<Text> {
        let lines = self.lines.lock().unwrap().len();
        ROk(json!({ "lines": lines }).to_string().into())
    }

    fn shutdown(&mut self, _: u64, status: Status) -> AbiResult<()> {
        let _ = self.done.send(status);
        ROk(())
    }
}

/// The loggers of a run with one fake, its lines, and where it reports its end.
struct Setup {
    loggers: Loggers,
    done: Receiver<Status>,
}

fn start(lines: &Lines, gate: Option<Receiver<()>>, started: Option<Receiver<()>>, resume: &Value) -> Setup {
    let (ended, done) = unbounded();
    let fake = Fake {
        lines: Arc::clone(lines),
        gate,
        started,
        done: ended,
    };
    let mut loggers = Loggers {
        patience: Duration::from_millis(300),
        ..Loggers::default()
    };
    let run = RunInfo {
        name: "run".to_owned(),
        folder: "/nowhere".to_owned(),
        config: Value::Null,
        parameters: Value::Null,
        extra: Value::Null,
    };
    let logger = Logger_TO::from_value(fake, TD_Opaque);
    loggers.start("fake", logger, &run, resume);
    Setup { loggers, done }
}

fn epoch(step: u64) -> RunEvent {
    RunEvent::Epoch(Epoch {
        epoch: step,
        epochs: 9,
        batch: 0,
        step,
        learning_rate: 0.1,
        train_seconds: 1.0,
        metrics: Map::new(),
    })
}

fn checkpoint(loggers: &mut Loggers) -> Value {
    let mut json = json!({});
    loggers.checkpoint_state().unwrap()(&mut json);
    json
}

fn finish(mut setup: Setup) -> Status {
    let end = RunEvent::Finished(Box::default());
    setup.loggers.observe(&end).unwrap();
    setup.done.recv().unwrap()
}

fn steps(lines: &Lines) -> Vec<u64> {
    lines.lock().unwrap().iter().map(|(_, step, _)| *step).collect()
}

#[track_caller]
fn wait_for(lines: &Lines, expected: &[u64]) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while steps(lines) != expected && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(steps(lines), expected);
}

#[test]
fn a_logger_too_busy_for_a_checkpoint_logs_no_step_twice_after_resuming() {
    let lines = Lines::default();
    let (open, gate) = unbounded();
    let mut first = start(&lines, Some(gate), None, &json!({}));
    for step in [1, 2] {
        open.send(()).unwrap();
        first.loggers.observe(&epoch(step)).unwrap();
        wait_for(&lines, &[1, 2][..step as usize]);
    }
    let in_time = checkpoint(&mut first.loggers);
    assert_eq!(in_time, json!({"loggers": {"fake": {"lines": 2}}}));

    for step in [3, 4] {
        first.loggers.observe(&epoch(step)).unwrap();
    }
    let asked = Instant::now();
    let state = checkpoint(&mut first.loggers);
    assert!(asked.elapsed() >= Duration::from_millis(300), "it was busy");
    assert_eq!(
        state["loggers"], in_time["loggers"],
        "the last state that it reported"
    );
    assert_eq!(missing_items(&state), [("fake".to_owned(), 2)]);

    // It writes both steps late; then the run is killed, and resumed from this checkpoint.
    open.send(()).unwrap();
    open.send(()).unwrap();
    wait_for(&lines, &[1, 2, 3, 4]);
    let mut second = start(&lines, None, None, &state["loggers"]["fake"]);
    for step in [5, 6] {
        second.loggers.observe(&epoch(step)).unwrap();
    }
    let complete = checkpoint(&mut second.loggers);
    assert!(missing_items(&complete).is_empty(), "{complete}");
    assert_eq!(steps(&lines), [1, 2, 5, 6]);
}

#[test]
fn a_logger_that_is_still_starting_has_the_state_that_it_starts_with() {
    let lines = Lines::default();
    let (open, started) = unbounded();
    let mut setup = start(&lines, None, Some(started), &json!({"lines": 0}));
    setup.loggers.observe(&epoch(1)).unwrap();
    let state = checkpoint(&mut setup.loggers);
    assert_eq!(state["loggers"]["fake"], json!({"lines": 0}));
    assert_eq!(missing_items(&state), [("fake".to_owned(), 1)]);
    open.send(()).unwrap();
    assert_eq!(finish(setup), Status::OK);
    assert_eq!(steps(&lines), [1]);
}

#[test]
fn the_next_checkpoint_does_not_wait_for_a_slow_logger_for_long() {
    let (_open, gate) = unbounded();
    let mut setup = start(&Lines::default(), Some(gate), None, &json!({}));
    setup.loggers.patience = Duration::from_secs(600);
    setup.loggers.grace = Duration::from_millis(50);
    setup.loggers.observe(&epoch(1)).unwrap();
    let add_states = setup.loggers.checkpoint_state().unwrap();
    let waiting = std::thread::spawn(move || {
        let mut json = json!({});
        add_states(&mut json);
        json
    });
    setup.loggers.hurry();
    assert_eq!(missing_items(&waiting.join().unwrap()), [("fake".to_owned(), 1)]);
}

#[test]
fn loggers_get_tags_parameters_metrics_images_artifacts_and_the_status() {
    let lines = Lines::default();
    let mut setup = start(&lines, None, None, &json!({}));
    let events = [
        RunEvent::Parameters(Parameters {
            values: json!({"model": {}}),
            tags: json!({"task": "toy"}).as_object().unwrap().clone(),
        }),
        epoch(3),
        RunEvent::Checkpoint(crate::events::Checkpoint {
            path: "/c/epoch-001-step-000003".into(),
            epoch: 1,
            step: 3,
            is_best: true,
            waited: Duration::ZERO,
            written_in: Duration::ZERO,
        }),
        RunEvent::Image(DrawnImage {
            name: "a.jpg".to_owned(),
            step: 3,
            image: Image::filled(2, 2, [0, 0, 0]),
            path: "/r/pictures/a.jpg".into(),
        }),
        RunEvent::Artifact(crate::events::Artifact {
            name: "report".to_owned(),
            step: 3,
            path: "/r/report.json".into(),
            kind: ArtifactKind::File,
        }),
    ];
    for event in &events {
        setup.loggers.observe(event).unwrap();
    }
    assert_eq!(finish(setup), Status::OK);
    let found = lines.lock().unwrap().clone();
    let expected = [
        (LogKind::PARAMETERS, 0, r#"|{"model":{}}|"#),
        (LogKind::TAGS, 0, r#"|{"task":"toy"}|"#),
        (LogKind::METRICS, 3, "||"),
        (
            LogKind::ARTIFACT,
            3,
            r#"epoch-001-step-000003|{"kind":"checkpoint"}|/c/epoch-001-step-000003"#,
        ),
        (LogKind::IMAGE, 3, "a.jpg||/r/pictures/a.jpg"),
        (LogKind::ARTIFACT, 3, r#"report|{"kind":"file"}|/r/report.json"#),
    ];
    assert_eq!(
        found,
        expected.map(|(kind, step, what)| (kind, step, what.to_owned()))
    );
}

#[test]
fn the_status_tells_failure_from_interruption() {
    use cvhost::error::Error;
    let ends = [
        (RunStatus::Failed, Some(Error::failed("no")), Status::FAILED),
        (
            RunStatus::Failed,
            Some(Error::new(Kind::Interrupted, "interrupted")),
            Status::INTERRUPTED,
        ),
        (RunStatus::Interrupted, None, Status::INTERRUPTED),
        (RunStatus::StoppedEarly, None, Status::OK),
    ];
    for (status, error, expected) in ends {
        let mut setup = start(&Lines::default(), None, None, &json!({}));
        let end = RunEnd {
            status,
            error,
            ..RunEnd::default()
        };
        setup.loggers.observe(&RunEvent::Finished(Box::new(end))).unwrap();
        assert_eq!(setup.done.recv().unwrap(), expected);
    }
}
