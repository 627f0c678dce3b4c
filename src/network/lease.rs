//! Who has which address: one small file for each, below the run directory, since no address outlives a reboot.

use super::publish::PublishedPort;
use super::subnet::Subnet;
use crate::error::During;
use crate::value::{ContainerId, Name};
use crate::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// What is known about a container's place in the network: enough to undo it from any process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttachmentRecord {
    /// 1.
    pub(crate) version: u32,
    /// Whose place it is.
    pub(crate) container: ContainerId,
    /// The bridge, and the nftables table of the same name.
    pub(crate) bridge: String,
    /// The host's end of the container's virtual cable.
    pub(crate) interface: String,
    /// The container's address.
    pub(crate) address: Ipv4Addr,
    /// The published ports, with their numbers on the host.
    pub(crate) ports: Vec<PublishedPort>,
    /// Its place among the members of services.
    #[serde(default)]
    pub(crate) membership: Membership,
    /// The networks it belongs to; none is `default` alone.
    #[serde(default)]
    pub(crate) networks: Vec<Name>,
    /// Its `/etc/hosts` on the host, where services are named; once it has been written.
    #[serde(default)]
    pub(crate) hosts: Option<PathBuf>,
}

/// Whether a container is behind a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Membership {
    /// It is not.
    #[default]
    None,
    /// It is, and takes connections as soon as the service is led to it.
    Ready,
    /// It is, and takes connections once it says that it is ready.
    Awaited,
}

/// The leases of one network. Whoever calls holds the network's lock.
#[derive(Debug)]
pub(super) struct Leases {
    directory: PathBuf,
}

impl Leases {
    /// The leases in `directory`, which is made where it is missing.
    pub(super) fn open(directory: PathBuf) -> Result<Leases> {
        fs::create_dir_all(&directory).during(|| format!("create {}", directory.display()))?;
        Ok(Leases { directory })
    }

    /// Leases the next free address of `subnet` and writes the record that `record` makes of it.
    ///
    /// Addresses are taken in turn, so that one that has become free rests as long as it can: connections and caches of
    /// others may still mean its last holder. A lease whose interface is gone (`alive`) was left by a crash and is free;
    /// it comes back beside the new one.
    pub(super) fn take(
        &self,
        subnet: Subnet,
        record: impl Fn(Ipv4Addr) -> AttachmentRecord,
        mut alive: impl FnMut(&str) -> Result<bool>,
    ) -> Result<(AttachmentRecord, Option<AttachmentRecord>)> {
        let next = self.directory.join("next");
        let start: u32 = fs::read_to_string(&next).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
        for step in 0..subnet.capacity() {
            let index = start.wrapping_add(step) % subnet.capacity();
            let address = subnet.host(index);
            let before = self.read(&self.path(address))?;
            if let Some(holder) = &before
                && alive(&holder.interface)?
            {
                continue;
            }
            let record = record(address);
            let text = serde_json::to_vec(&record).map_err(|error| Error::invalid("lease").source_error(error))?;
            self.write(&self.path(address), &text)?;
            self.write(&next, (index + 1).to_string().as_bytes())?;
            return Ok((record, before));
        }
        Err(Error::new(ErrorKind::ResourceExhausted, format!("every address of {subnet} is in use")))
    }

    /// Gives the address of `record` back, unless another container has it by now.
    pub(super) fn give_back(&self, record: &AttachmentRecord) -> Result<()> {
        if self.is_held_by(record)? { remove(&self.path(record.address)) } else { Ok(()) }
    }

    /// Replaces the lease of `record`'s container by `record`; nothing where it has none any more.
    pub(super) fn update(&self, record: &AttachmentRecord) -> Result<()> {
        if !self.is_held_by(record)? {
            return Ok(());
        }
        let text = serde_json::to_vec(record).map_err(|error| Error::invalid("lease").source_error(error))?;
        self.write(&self.path(record.address), &text)
    }

    /// Whether the container of `record` has its address still.
    pub(super) fn is_held_by(&self, record: &AttachmentRecord) -> Result<bool> {
        let holder = self.read(&self.path(record.address))?;
        Ok(holder.is_some_and(|holder| holder.container == record.container))
    }

    /// All leases.
    pub(super) fn all(&self) -> Result<Vec<AttachmentRecord>> {
        let mut all = Vec::new();
        for path in self.paths()? {
            all.extend(self.read(&path)?);
        }
        Ok(all)
    }

    /// Forgets every lease; the turn goes on where it was.
    pub(super) fn clear(&self) -> Result<()> {
        self.paths()?.iter().try_for_each(|path| remove(path))
    }

    fn paths(&self) -> Result<Vec<PathBuf>> {
        let operation = || format!("list {}", self.directory.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.directory).during(operation)? {
            let entry = entry.during(operation)?;
            if entry.file_name().to_str().is_some_and(|name| name.parse::<Ipv4Addr>().is_ok()) {
                paths.push(entry.path());
            }
        }
        Ok(paths)
    }

    fn path(&self, address: Ipv4Addr) -> PathBuf {
        self.directory.join(address.to_string())
    }

    /// The lease in `path`; one that cannot be understood is none.
    fn read(&self, path: &Path) -> Result<Option<AttachmentRecord>> {
        match fs::read(path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).during(|| format!("read {}", path.display())),
        }
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let aside = self.directory.join("new");
        fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, path)).during(|| format!("write {}", path.display()))
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).during(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(address: Ipv4Addr) -> AttachmentRecord {
        let container = ContainerId::random().unwrap();
        let interface = format!("crcl{address}");
        AttachmentRecord {
            version: 1,
            container,
            bridge: "coracle0".into(),
            interface,
            address,
            ports: Vec::new(),
            membership: Membership::None,
            networks: Vec::new(),
            hosts: None,
        }
    }

    #[test]
    fn addresses_are_taken_in_turn() {
        let scratch = tempfile::tempdir().unwrap();
        let leases = Leases::open(scratch.path().join("leases")).unwrap();
        let subnet = Subnet::new(Ipv4Addr::new(10, 77, 0, 0), 29);
        let take = || leases.take(subnet, record, |_| Ok(true)).map(|(taken, _)| taken);
        let first = take().unwrap();
        assert_eq!(first.address, Ipv4Addr::new(10, 77, 0, 2));
        leases.give_back(&first).unwrap();
        leases.give_back(&first).unwrap();
        let others: Vec<u8> = (0..3).map(|_| take().unwrap().address.octets()[3]).collect();
        assert_eq!(others, [3, 4, 5]);
        assert_eq!(take().unwrap().address, Ipv4Addr::new(10, 77, 0, 2));
        assert_eq!(take().unwrap_err().kind(), ErrorKind::ResourceExhausted);
        assert_eq!(leases.all().unwrap().len(), 4);
    }

    #[test]
    fn what_a_crash_left_is_free_and_another_holder_is_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        let leases = Leases::open(scratch.path().join("leases")).unwrap();
        let subnet = Subnet::new(Ipv4Addr::new(10, 77, 0, 0), 30);
        let (dead, nobody) = leases.take(subnet, record, |_| Ok(true)).unwrap();
        let (alive, before) = leases.take(subnet, record, |_| Ok(false)).unwrap();
        assert_eq!((nobody, before), (None, Some(dead.clone())));
        assert_eq!(dead.address, alive.address);
        leases.give_back(&dead).unwrap();
        assert_eq!(leases.all().unwrap(), [alive]);
        fs::write(scratch.path().join("leases/10.77.0.2"), "{").unwrap();
        assert!(leases.take(subnet, record, |_| Ok(true)).is_ok());
        leases.clear().unwrap();
        assert!(leases.all().unwrap().is_empty());
    }
}
