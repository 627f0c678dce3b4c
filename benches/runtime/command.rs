//! A runtime as a command.

use crate::contest::{Contestant, Verb};
use crate::meter::{self, Meter, Sample};
use crate::peer::Peer;
use std::fs::File;
use std::path::{Path, PathBuf};

/// A runtime, its bundle of something that ends at once, and one of something that waits.
pub struct Commands {
    name: &'static str,
    peer: Peer,
    /// Holds the bundles `exit` and `wait`.
    bundles: PathBuf,
    meter: Meter,
    next: u32,
}

impl Commands {
    pub fn new(name: &'static str, peer: Peer, bundles: &Path, meter: Meter) -> Commands {
        Commands { name, peer, bundles: bundles.to_owned(), meter, next: 0 }
    }

    fn fresh(&mut self) -> String {
        self.next += 1;
        format!("coracle-bench-{}-{}", std::process::id(), self.next)
    }

    fn call(&self, arguments: &[&str]) -> Result<Sample, String> {
        let said = self.bundles.join(format!("{}.stderr", self.name));
        let stderr = File::create(&said).map_err(|error| error.to_string())?;
        let (status, sample) = (self.meter)(self.peer.command(arguments).stderr(stderr));
        if status.success() {
            return Ok(sample);
        }
        let said = std::fs::read_to_string(said).unwrap_or_default();
        Err(format!("{} {}: {status}: {}", self.name, arguments[0], said.trim().replace('\n', "; ")))
    }

    fn bundle(&self, name: &str) -> String {
        self.bundles.join(name).to_str().unwrap().to_owned()
    }

    fn live(&self, id: &str, gap: &dyn Fn()) -> Result<Vec<(Verb, Sample)>, String> {
        let pid_file = self.bundles.join("pid");
        let mut samples = Vec::new();
        gap();
        let create = ["create", "--bundle", &self.bundle("wait"), "--pid-file", pid_file.to_str().unwrap(), id];
        let mut create = self.call(&create)?;
        let pid: i32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        let before = meter::cpu_of(pid);
        create.cpu += before;
        samples.push((Verb::Create, create));
        gap();
        let mut start = self.call(&["start", id])?;
        gap();
        let exec = self.call(&["exec", id, "/bin/exit"])?;
        // By now it has certainly come as far as its payload.
        start.cpu += meter::cpu_of(pid) - before;
        samples.extend([(Verb::Start, start), (Verb::Exec, exec)]);
        // SAFETY: a signal to a child of this process, which is not reaped.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        meter::wait(pid);
        gap();
        samples.push((Verb::Delete, self.call(&["delete", id])?));
        Ok(samples)
    }
}

impl Contestant for Commands {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn run(&mut self) -> Result<Sample, String> {
        let id = self.fresh();
        self.call(&["run", "--bundle", &self.bundle("exit"), &id])
    }

    fn live(&mut self, gap: &dyn Fn()) -> Result<Vec<(Verb, Sample)>, String> {
        let id = self.fresh();
        let samples = Commands::live(self, &id, gap);
        if samples.is_err() {
            let _ = self.call(&["delete", "--force", &id]);
        }
        samples
    }
}
