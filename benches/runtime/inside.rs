//! This crate's runtime, called without a command.

use crate::contest::{Contestant, Verb};
use crate::crowd::Crowd;
use crate::meter::{self, Sample};
use crate::table::INSIDE;
use coracle::Stream;
use coracle::runtime::{Container, Create, Runtime};
use std::path::{Path, PathBuf};

/// The library in this process.
pub struct Inside {
    runtime: Runtime,
    /// Holds the bundles `exit` and `wait`.
    bundles: PathBuf,
    next: u32,
}

impl Inside {
    /// With its states in `state`.
    pub fn new(state: &Path, bundles: &Path) -> Inside {
        Inside { runtime: Runtime::open(state).unwrap(), bundles: bundles.to_owned(), next: 0 }
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("coracle-bench-inside-{}-{}", std::process::id(), self.next)
    }

    fn create(&self, id: &str, bundle: &Path) -> Create<'_> {
        self.runtime.create(id, bundle).streams([Stream::Null, Stream::Null, Stream::Null])
    }

    fn run(&self, id: &str) -> coracle::Result<()> {
        let mut running = self.create(id, &self.bundles.join("exit")).run()?;
        running.wait()?;
        running.container().delete(false)
    }

    fn live(&self, id: &str, gap: &dyn Fn()) -> coracle::Result<Vec<(Verb, Sample)>> {
        gap();
        let (container, mut create) = meter::inside(|| self.create(id, &self.bundles.join("wait")).create());
        let container = container?;
        let pid = container.state()?.pid;
        let before = meter::cpu_of(pid);
        create.cpu += before;
        gap();
        let (started, mut start) = meter::inside(|| container.start());
        started?;
        gap();
        let (executed, exec) = meter::inside(|| execute(&container));
        executed?;
        start.cpu += meter::cpu_of(pid) - before;
        container.kill(libc::SIGKILL, false)?;
        meter::wait(pid);
        gap();
        let (deleted, delete) = meter::inside(|| container.delete(false));
        deleted?;
        Ok(vec![(Verb::Create, create), (Verb::Start, start), (Verb::Exec, exec), (Verb::Delete, delete)])
    }
}

fn execute(container: &Container) -> coracle::Result<()> {
    let streams = [Stream::Null, Stream::Null, Stream::Null];
    container.exec(["/bin/exit"]).streams(streams).spawn()?.wait().map(drop)
}

impl Contestant for Inside {
    fn name(&self) -> String {
        INSIDE.to_owned()
    }

    fn run(&mut self) -> Result<Sample, String> {
        let id = self.fresh();
        let (ran, sample) = meter::inside(|| Inside::run(self, &id));
        ran.map(|()| sample).map_err(|error| format!("{INSIDE}: {error}"))
    }

    fn live(&mut self, gap: &dyn Fn()) -> Result<Vec<(Verb, Sample)>, String> {
        let id = self.fresh();
        Inside::live(self, &id, gap).map_err(|error| {
            let _ = self.runtime.container(&id).and_then(|container| container.delete(true));
            format!("{INSIDE}: {error}")
        })
    }
}

impl Crowd for Inside {
    fn start(&self, id: &str, bundle: &Path) -> Result<(), String> {
        let running = self.create(id, bundle).run().map_err(|error| error.to_string())?;
        running.detach();
        Ok(())
    }

    fn delete(&self, id: &str) -> Result<(), String> {
        let deleted = self.runtime.container(id).and_then(|container| container.delete(true));
        deleted.map_err(|error| error.to_string())
    }
}
