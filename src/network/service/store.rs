//! The records of services: one durable file each.

use super::super::balance::ServiceRecord;
use super::super::nftables::ServiceRules;
use super::super::record::{remove_durably, write_durably};
use super::super::subnet::Subnet;
use super::slots::slots;
use crate::error::During;
use crate::value::Name;
use crate::{Error, ErrorKind, Result};
use std::fs;
use std::path::PathBuf;

const VERSION: u32 = 1;

/// The services of one engine. Whoever calls holds the network's lock.
#[derive(Debug)]
pub(in crate::network) struct ServiceStore {
    directory: PathBuf,
}

impl ServiceStore {
    /// The records in `directory`, which is made with the first of them.
    pub(in crate::network) fn new(directory: PathBuf) -> ServiceStore {
        ServiceStore { directory }
    }

    /// All services, by name.
    pub(in crate::network) fn all(&self) -> Result<Vec<ServiceRecord>> {
        let operation = || format!("list {}", self.directory.display());
        let entries = match fs::read_dir(&self.directory) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.during(operation)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry.during(operation)?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(|name| name.parse().ok());
            if let Some(name) = name {
                all.extend(self.get(&name)?);
            }
        }
        all.sort_by(|one, other| one.specification.name.cmp(&other.specification.name));
        Ok(all)
    }

    /// The service `name`.
    pub(super) fn get(&self, name: &Name) -> Result<Option<ServiceRecord>> {
        let path = self.path(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).during(|| format!("read {}", path.display())),
        };
        let damaged = || {
            Error::new(ErrorKind::Corrupt, format!("{} is damaged or of another version", path.display()))
                .hint("remove the file and make the service again")
        };
        let record: ServiceRecord = serde_json::from_slice(&bytes).map_err(|error| damaged().source_error(error))?;
        if record.version != VERSION || record.specification.name != *name {
            return Err(damaged());
        }
        Ok(Some(record))
    }

    /// Writes the record of a service; a change gives it a new generation.
    pub(in crate::network) fn save(&self, record: &ServiceRecord) -> Result<()> {
        fs::create_dir_all(&self.directory).during(|| format!("create {}", self.directory.display()))?;
        let text = serde_json::to_vec_pretty(record).map_err(|error| Error::invalid("service").source_error(error))?;
        write_durably(&self.path(&record.specification.name), &text)
    }

    /// Removes the record of a service; it may be gone already.
    pub(super) fn remove(&self, name: &Name) -> Result<()> {
        remove_durably(&self.path(name))
    }

    fn path(&self, name: &Name) -> PathBuf {
        // A name may end in ".json.new"; no name begins with a dot, and none holds a slash.
        self.directory.join(format!("{}.json", name.as_str()))
    }
}

/// The records as the packet filter takes them. One whose address is not of `subnet` cannot be reached and is left out.
pub(in crate::network) fn rules(subnet: Subnet, records: &[ServiceRecord]) -> Vec<ServiceRules> {
    let rules = |record: &ServiceRecord| {
        Some(ServiceRules {
            number: subnet.service_index(record.address)?,
            generation: record.generation,
            address: record.address,
            ports: record.specification.ports.clone(),
            published: record.specification.published.clone(),
            balance: record.specification.balance,
            members: record.members.iter().map(|member| member.address).collect(),
            slots: slots(record.specification.balance, &record.members, record.generation),
        })
    };
    records.iter().filter_map(rules).collect()
}
