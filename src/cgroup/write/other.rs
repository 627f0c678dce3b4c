//! What is neither memory, processors nor block devices: huge pages, marks on packets, adapters, devices, and the
//! files that the caller names.

use super::Writer;
use super::refusal::Reason;
use crate::cgroup::controller::{Controller, Version};
use crate::cgroup::device;
use crate::cgroup::resources::unified_controller;

impl Writer<'_> {
    pub(super) fn other(&mut self) {
        let held = |controller| self.target.held.contains(&controller);
        let (huge, class, priority) =
            (held(Controller::HugeTlb), held(Controller::NetClass), held(Controller::NetPriority));
        let (rdma, devices) = (held(Controller::Rdma), held(Controller::Devices));
        if huge {
            self.huge_pages();
        }
        if class && let Some(class) = self.resources.network.class {
            self.write("network.classID", "net_cls.classid", class.to_string());
        }
        if priority {
            for (interface, priority) in &self.resources.network.priorities {
                self.write("network.priorities", "net_prio.ifpriomap", format!("{interface} {priority}"));
            }
        }
        if rdma {
            self.rdma();
        }
        if devices {
            self.devices();
        }
        if self.version() == Version::V2 {
            self.unified();
        }
    }

    fn huge_pages(&mut self) {
        for limit in &self.resources.huge_pages {
            let (size, file) = match self.version() {
                Version::V1 => (&limit.page_size, "limit_in_bytes"),
                Version::V2 => (&limit.page_size, "max"),
            };
            let value = limit.limit.text(self.version());
            self.write("hugepageLimits", &format!("hugetlb.{size}.{file}"), value.as_str());
            // What is reserved counts as well, on kernels that keep account of it.
            let reserved = format!("hugetlb.{size}.rsvd.{file}");
            if self.directory().has(&reserved) {
                self.write("hugepageLimits", &reserved, value);
            }
        }
    }

    fn rdma(&mut self) {
        for (adapter, limit) in &self.resources.rdma {
            let mut line = adapter.clone();
            for (key, value) in [("hca_handle", limit.handles), ("hca_object", limit.objects)] {
                if let Some(value) = value {
                    line.push_str(&format!(" {key}={value}"));
                }
            }
            self.write("rdma", "rdma.max", line);
        }
    }

    fn devices(&mut self) {
        let Some(rules) = &self.resources.devices else { return };
        let (written, error) = match self.version() {
            Version::V1 => match device::write_exceptions(self.directory(), rules) {
                Ok(()) => return,
                Err((written, error)) => (format!("write {written}"), error),
            },
            Version::V2 if device::allows_everything(rules) => match device::detach(self.directory()) {
                // Who may not ask which programs there are has never put one there.
                Ok(()) => return,
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => return,
                Err(error) => ("take the device program off the group".to_owned(), error),
            },
            Version::V2 => match device::attach(self.directory(), rules) {
                Ok(()) => return,
                Err(error) => ("put a device program (bpf) on the group".to_owned(), error),
            },
        };
        self.refuse("devices", written, Reason::Kernel(error));
    }

    /// As the caller wrote them. One command a line, which is how the kernel wants several of them.
    fn unified(&mut self) {
        for (file, value) in &self.resources.unified {
            if unified_controller(file).is_some_and(|controller| !self.target.held.contains(&controller)) {
                continue;
            }
            if self.defers && file == "memory.max" {
                self.outcome.later.push((file.clone(), value.trim().to_owned()));
                continue;
            }
            for line in value.lines().filter(|line| !line.trim().is_empty()) {
                self.write("unified", file, line);
            }
        }
    }
}
