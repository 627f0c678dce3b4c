//! The hooks of a container that run on the host, and what is done to it from outside before its root is pivoted.

use super::record::Record;
use super::state::OCI_VERSION;
use crate::Result;
use crate::error::During;
use crate::isolate::seccomp::Listener;
use crate::isolate::{HookPoint, HookState, run_hooks, run_poststop_hooks};
use crate::launch::{Gate, HandOver, Launcher};
use crate::network::{MovedDevice, move_devices};
use oci_spec::runtime::{ContainerState, Spec, State};
use std::fs::File;
use std::os::fd::AsFd;

impl Record {
    /// What hooks read about the container.
    pub(super) fn hook_state(&self) -> HookState<'_> {
        HookState { version: OCI_VERSION, id: &self.id, bundle: &self.bundle, annotations: &self.annotations }
    }

    /// Runs the hooks of one point, up to the first that fails.
    pub(super) fn run_hooks(&self, spec: &Spec, point: HookPoint, pid: Option<i32>) -> Result<()> {
        if !point.is_used(spec) {
            return Ok(());
        }
        run_hooks(&Launcher::shared()?, spec, point, &self.hook_state(), pid)
    }

    /// Runs the hooks of a container that has been deleted; failures are warnings.
    pub(super) fn run_poststop_hooks(&self, spec: &Spec, warn: &mut dyn FnMut(String)) {
        if !HookPoint::Poststop.is_used(spec) {
            return;
        }
        match Launcher::shared() {
            Ok(launcher) => run_poststop_hooks(&launcher, spec, &self.hook_state(), warn),
            Err(error) => warn(error.context("run poststop hooks").to_string()),
        }
    }

    /// What is done to the container from outside when all is built: network devices are moved in, then the `prestart`
    /// and the `createRuntime` hooks run. `None` where there is nothing to do.
    pub(super) fn gate<'a>(&'a self, spec: &'a Spec) -> Option<Gate<'a>> {
        if !has_gate(spec) {
            return None;
        }
        Some(Box::new(move |pid| {
            let devices = moved_devices(spec);
            if !devices.is_empty() {
                let namespace = File::open(format!("/proc/{pid}/ns/net"))
                    .during(|| "open the network namespace of the container")?;
                move_devices(namespace.as_fd(), &devices)?;
            }
            self.run_hooks(spec, HookPoint::Prestart, Some(pid))?;
            self.run_hooks(spec, HookPoint::CreateRuntime, Some(pid))
        }))
    }
}

/// Sends the descriptor of the filter of one of the container's processes to the supervisor that `linux.seccomp.listenerPath` names.
pub(super) fn hand_over<'a>(record: &'a Record, spec: &'a Spec, status: ContainerState) -> Option<HandOver<'a>> {
    let listener = spec.linux().as_ref()?.seccomp().as_ref().and_then(Listener::of)?;
    Some(Box::new(move |descriptor, pid| {
        let mut state = State::default();
        state.set_version(OCI_VERSION.to_owned()).set_id(record.id.clone()).set_bundle(record.bundle.clone());
        let first = record.process.as_ref().map_or(pid, |first| first.pid);
        state.set_status(status).set_pid(Some(first));
        state.set_annotations(Some(record.annotations.clone().into_iter().collect()));
        listener.hand_over(descriptor, pid, state)
    }))
}

/// Whether the start waits for what is done from outside.
pub(super) fn has_gate(spec: &Spec) -> bool {
    HookPoint::Prestart.is_used(spec) || HookPoint::CreateRuntime.is_used(spec) || !moved_devices(spec).is_empty()
}

/// The devices of `linux.netDevices`, by name.
pub(super) fn moved_devices(spec: &Spec) -> Vec<MovedDevice> {
    let devices = spec.linux().as_ref().and_then(|linux| linux.net_devices().as_ref());
    let mut devices: Vec<MovedDevice> = devices
        .into_iter()
        .flatten()
        .map(|(name, device)| {
            let target = device.name().as_ref().filter(|target| !target.is_empty()).unwrap_or(name);
            MovedDevice { name: name.clone(), target: target.clone() }
        })
        .collect();
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    devices
}
