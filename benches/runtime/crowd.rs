//! Many containers alive at once, started and deleted by two threads.

use crate::peer::Peer;
use crate::setting::{Ground, Setting, group_of};
use crate::table::Target;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Starts and deletes containers, from several threads.
pub trait Crowd: Sync {
    /// Leaves a container of the bundle running.
    fn start(&self, id: &str, bundle: &Path) -> Result<(), String>;

    /// Kills and deletes it.
    fn delete(&self, id: &str) -> Result<(), String>;
}

const THREADS: usize = 2;

impl Crowd for Peer {
    fn start(&self, id: &str, bundle: &Path) -> Result<(), String> {
        said(self.command(&["run", "--detach", "--bundle", bundle.to_str().unwrap(), id]))
    }

    fn delete(&self, id: &str) -> Result<(), String> {
        said(self.command(&["delete", "--force", id]))
    }
}

fn said(mut command: std::process::Command) -> Result<(), String> {
    let status = command.status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}

/// Containers a second: started, and deleted.
pub struct Rates {
    pub started: f64,
    pub deleted: f64,
}

/// Has `count` of them alive at once. Each has a bundle of its own, as engines write them.
pub fn gather(
    name: &str,
    crowd: &dyn Crowd,
    ground: &Ground,
    setting: &Setting,
    count: usize,
) -> Result<Rates, String> {
    let directory = ground.scratch.join("crowd").join(name);
    let bundle = ground.bundle(setting, name, "/bin/wait");
    let mut config = bundle.config();
    let members: Vec<(String, PathBuf)> = (0..count)
        .map(|number| {
            let id = format!("coracle-bench-{}-crowd-{number}", std::process::id());
            let bundle = directory.join(&id);
            config["linux"]["cgroupsPath"] = serde_json::Value::String(format!("{}-{number}", group_of(name)));
            std::fs::create_dir_all(&bundle).unwrap();
            std::fs::write(bundle.join("config.json"), config.to_string()).unwrap();
            (id, bundle)
        })
        .collect();
    let started = rate(&members, |(id, bundle)| crowd.start(id, bundle));
    let deleted = rate(&members, |(id, _)| crowd.delete(id));
    std::fs::remove_dir_all(&directory).unwrap();
    Ok(Rates { started: started?, deleted: deleted? })
}

fn rate(
    members: &[(String, PathBuf)],
    step: impl Fn(&(String, PathBuf)) -> Result<(), String> + Sync,
) -> Result<f64, String> {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let step = &step;
        let halves = members.chunks(members.len().div_ceil(THREADS));
        let workers: Vec<_> = halves.map(|half| scope.spawn(move || half.iter().try_for_each(step))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap())
    })?;
    Ok(members.len() as f64 / begin.elapsed().as_secs_f64())
}

/// The targets of a crowd of ours.
pub fn targets(setting: &Setting, rates: &Rates) -> [Target; 2] {
    [
        Target::at_least(format!("started a second by {THREADS} threads; {setting}"), 500.0, rates.started),
        Target::at_least(format!("deleted a second by {THREADS} threads; {setting}"), 1000.0, rates.deleted),
    ]
}
