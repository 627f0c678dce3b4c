//! A few transfers at a time.

use crate::{Error, ErrorKind, Result};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// How late a pausing worker may notice that it is to stop.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// What a worker is given: where its events go, and whether to stop.
pub(super) struct Worker<'a, E> {
    events: Sender<E>,
    stop: &'a AtomicBool,
}

impl<E> Worker<'_, E> {
    /// Hands an event to the calling thread.
    pub(super) fn emit(&self, event: E) {
        // Where nobody listens any more, `stop` is set.
        let _ = self.events.send(event);
    }

    /// Waits; cut short, with an error, as by [`check`](Worker::check).
    pub(super) fn pause(&self, pause: Duration) -> Result<()> {
        let end = Instant::now() + pause;
        loop {
            self.check()?;
            match end.saturating_duration_since(Instant::now()) {
                Duration::ZERO => return Ok(()),
                rest => std::thread::sleep(rest.min(LONGEST_SLEEP)),
            }
        }
    }

    /// Fails when another worker failed, or the caller is gone.
    pub(super) fn check(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Unavailable, "stopped, because another transfer failed"));
        }
        Ok(())
    }
}

/// Does `work` for every item on up to `count` threads, which end before this returns; `on_event` runs on the calling
/// thread. The first error stops the others and is returned.
pub(super) fn for_each<T: Sync, E: Send>(
    items: &[T],
    count: usize,
    work: impl Fn(&T, &Worker<'_, E>) -> Result<()> + Sync,
    mut on_event: impl FnMut(E),
) -> Result<()> {
    let stop = AtomicBool::new(false);
    let next = AtomicUsize::new(0);
    let first_error: Mutex<Option<Error>> = Mutex::new(None);
    let fail = |error: Error| {
        let mut first = first_error.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Set under the lock, so that no worker's "stopped" comes before its reason.
        if first.is_none() {
            *first = Some(error);
        }
        stop.store(true, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        let (sender, events) = channel();
        for _ in 0..count.min(items.len()) {
            let worker = Worker { events: sender.clone(), stop: &stop };
            let (next, work, fail) = (&next, &work, &fail);
            let body = move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = worker.check().and_then(|()| work(item, &worker)) {
                        return fail(error);
                    }
                }
            };
            let spawned = std::thread::Builder::new().name("coracle-registry".into()).spawn_scoped(scope, body);
            if let Err(error) = spawned {
                fail(Error::new(ErrorKind::ResourceExhausted, "start a thread for a transfer").source_error(error));
            }
        }
        drop(sender);
        // A callback that panics must not leave the workers going on for minutes.
        let _stop = StopOnDrop(&stop);
        events.iter().for_each(&mut on_event);
    });
    first_error.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_and_every_event_heard() {
        let mut heard = Vec::new();
        let items: Vec<u32> = (0..50).collect();
        for_each(
            &items,
            3,
            |item, worker| {
                worker.emit(*item);
                Ok(())
            },
            |event| heard.push(event),
        )
        .unwrap();
        heard.sort_unstable();
        assert_eq!(heard, items);
        for_each(&[], 3, |_: &u32, _: &Worker<'_, ()>| Ok(()), |()| {}).unwrap();
    }

    #[test]
    fn the_first_error_is_the_one_returned() {
        let error = for_each(
            &[0, 1, 2],
            3,
            |item, worker: &Worker<'_, ()>| {
                if *item == 1 {
                    return Err(Error::invalid("the cause"));
                }
                while worker.check().is_ok() {
                    std::thread::yield_now();
                }
                worker.check()
            },
            |()| {},
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "the cause");
    }

    #[test]
    fn a_panic_in_the_callback_stops_the_workers() {
        let caught = std::panic::catch_unwind(|| {
            let work = |_: &u32, worker: &Worker<'_, u32>| {
                worker.emit(0);
                while worker.check().is_ok() {
                    std::thread::yield_now();
                }
                worker.check()
            };
            for_each(&[0, 1], 2, work, |_| panic!("the callback's"))
        });
        assert!(caught.is_err());
    }
}
