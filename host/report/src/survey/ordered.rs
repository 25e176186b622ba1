//! Parallel work whose results are returned in order.

use cvhost::error::{Error, Result};
use cvhost::interrupt;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How far threads may be ahead of the result that is waited for, as a multiple of the number of
/// threads.
const AHEAD: usize = 16;

/// Calls `look` with every index below `count` on `threads` threads (0: on the caller's thread),
/// and `take` with the results on the caller's thread, in index order. An error of `take` or Ctrl-C
/// ends the work.
pub fn for_each<T: Send>(
    count: usize,
    threads: usize,
    look: impl Fn(usize) -> T + Sync,
    mut take: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    if threads == 0 {
        for index in 0..count {
            if interrupt::requested() {
                return Err(interrupt::error());
            }
            take(index, guarded(&look, index)?)?;
        }
        return Ok(());
    }
    let (jobs, todo) = crossbeam_channel::unbounded::<usize>();
    let (done, made) = crossbeam_channel::unbounded();
    std::thread::scope(|scope| {
        // Moved in here so that it is dropped, which ends the threads, before the scope joins them.
        let jobs = jobs;
        for number in 0..threads.min(count) {
            let (todo, done, look) = (todo.clone(), done.clone(), &look);
            let work = move || {
                for index in todo {
                    if done.send((index, guarded(look, index))).is_err() {
                        return;
                    }
                }
            };
            let builder = std::thread::Builder::new().name(format!("survey-{number}"));
            builder.spawn_scoped(scope, work).map_err(|e| {
                Error::environment(format!("cannot start thread {number}: {e}"))
                    .with_help("lower data.num_workers")
            })?;
        }
        drop(done);
        let (mut asked, mut early) = (0, BTreeMap::new());
        for index in 0..count {
            while asked < count && asked < index + AHEAD * threads && jobs.send(asked).is_ok() {
                asked += 1;
            }
            let result = loop {
                if let Some(result) = early.remove(&index) {
                    break result;
                }
                match made.recv() {
                    Ok((which, result)) => early.insert(which, result),
                    Err(_) => return Err(Error::failed("the worker threads have stopped unexpectedly")),
                };
            };
            if interrupt::requested() {
                // Discards the jobs that haven't started.
                while todo.try_recv().is_ok() {}
                return Err(interrupt::error());
            }
            if let Err(e) = result.and_then(|result| take(index, result)) {
                while todo.try_recv().is_ok() {}
                return Err(e);
            }
        }
        Ok(())
    })
}

fn guarded<T>(look: &impl Fn(usize) -> T, index: usize) -> Result<T> {
    catch_unwind(AssertUnwindSafe(|| look(index))).map_err(|_| {
        Error::failed(format!("processing record {index} panicked"))
            .with_help("this is a bug in cvhost or in a plugin; please report it")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn results_are_in_order_for_any_number_of_threads() {
        for threads in [0, 1, 5] {
            let mut seen = Vec::new();
            let look = |i: usize| {
                std::thread::sleep(Duration::from_micros((7 * i as u64) % 200));
                i * i
            };
            for_each(300, threads, look, |i, square| {
                assert_eq!(square, i * i);
                seen.push(i);
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, (0..300).collect::<Vec<_>>());
        }
        for_each(0, 3, |i| i, |_, _| panic!("nothing to take")).unwrap();
    }

    #[test]
    fn an_error_or_a_panic_ends_the_work() {
        for threads in [0, 3] {
            let stop = |i, _| match i {
                5 => Err(Error::input("five")),
                _ => Ok(()),
            };
            let error = for_each(1000, threads, |i| i, stop).unwrap_err();
            assert_eq!(error.what, "five");
            let look = |i: usize| if i == 7 { panic!("seven") } else { i };
            let error = for_each(1000, threads, look, |_, _| Ok(())).unwrap_err();
            assert!(error.what.contains("record 7 panicked"), "{error}");
        }
    }
}
