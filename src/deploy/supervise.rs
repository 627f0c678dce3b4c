//! Looking after all deployments as long as a program wants to.

use super::handle::{Deployed, open};
use super::record::names;
use super::runner::Look;
use super::scaling::Samples;
use super::wait::Watch;
use crate::container::{Container, Services};
use crate::error::During;
use crate::{ErrorKind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long after a change at the latest a look follows that no event has told of: a new deployment, a fed metric.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A thread that looks after every deployment of an engine until it is dropped: replaces replicas that ended for good,
/// goes on with what was cut off, scales by load, and takes what does not work out of traffic.
///
/// Nothing depends on it that has to happen at once: the replicas' keepers check their health, start them again, and
/// take them out of traffic and back, with or without it. Several processes may supervise one root.
#[derive(Debug)]
#[must_use = "a supervisor that is dropped looks after nothing any more"]
pub struct Supervisor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Supervisor {
    /// `on_error` hears what could not be done, by deployment; the supervisor goes on.
    pub(crate) fn start(
        services: &Arc<Services>,
        on_error: impl FnMut(&str, crate::Error) + Send + 'static,
    ) -> Result<Supervisor> {
        services.networks.restore()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (services, told) = (services.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("coracle-supervisor".into())
            .spawn(move || supervise(&services, &told, on_error))
            .during(|| "start the supervisor")?;
        Ok(Supervisor { stop, thread: Some(thread) })
    }
}

/// Waits for the look that is under way.
impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn supervise(services: &Arc<Services>, stop: &AtomicBool, mut on_error: impl FnMut(&str, crate::Error)) {
    let mut watch = Watch::new();
    let mut samples = Samples::default();
    while !stop.load(Ordering::Relaxed) {
        let mut pause = LONGEST_PAUSE;
        let mut replicas = Vec::new();
        match names(services) {
            Ok(all) => {
                for name in all {
                    // One that is damaged keeps nobody from looking after the others.
                    let look = open(services, &name).and_then(|deployed| match deployed {
                        Some(deployed) => look_after(services, &deployed, &mut samples, &mut replicas),
                        None => Ok(None),
                    });
                    match look {
                        Ok(Some(look)) => pause = pause.min(look.pause.max(Duration::from_millis(5))),
                        Ok(None) => {}
                        Err(error) => on_error(name.as_str(), error),
                    }
                }
            }
            Err(error) => on_error("", error),
        }
        if watch.wait(replicas.iter(), pause).is_err() {
            watch = Watch::new();
            std::thread::sleep(pause);
        }
    }
}

/// One look at one deployment; `None` where somebody else is at it.
fn look_after(
    services: &Arc<Services>,
    deployed: &Deployed,
    samples: &mut Samples,
    replicas: &mut Vec<Container>,
) -> Result<Option<Look>> {
    let mut runner = match deployed.runner(Duration::ZERO) {
        Err(error) if matches!(error.kind(), ErrorKind::InUse | ErrorKind::NotFound) => return Ok(None),
        runner => runner?,
    };
    let adjusted = super::scaling::adjust(services, &mut runner, samples);
    let look = runner.look()?;
    replicas.extend(runner.replicas().cloned());
    match look.error {
        Some(error) => Err(error),
        None => adjusted.map(|()| Some(look)),
    }
}
