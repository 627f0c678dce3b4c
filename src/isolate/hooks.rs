//! The hooks of a container (runtime-spec, config, "POSIX-platform Hooks"): which there are, where each runs, what it
//! reads, and what its failure means.

use crate::launch::{HostProgram, Launcher};
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase, Slot};
use crate::{Error, Result};
use oci_spec::runtime::{Hook, Spec};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// When in the life of a container a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookPoint {
    /// On the host, before `createRuntime`; deprecated.
    Prestart,
    /// On the host, when the container is built and its root is not pivoted yet.
    CreateRuntime,
    /// In the container's namespaces, by a path of the host, before the pivot.
    CreateContainer,
    /// In the container, as its process, when it is started.
    StartContainer,
    /// On the host, when the container's process runs.
    Poststart,
    /// On the host, when the container is deleted.
    Poststop,
}

impl HookPoint {
    /// The name in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            HookPoint::Prestart => "prestart",
            HookPoint::CreateRuntime => "createRuntime",
            HookPoint::CreateContainer => "createContainer",
            HookPoint::StartContainer => "startContainer",
            HookPoint::Poststart => "poststart",
            HookPoint::Poststop => "poststop",
        }
    }

    /// The status that its hooks read (runtime-spec, State).
    fn status(self) -> &'static str {
        match self {
            HookPoint::Prestart | HookPoint::CreateRuntime | HookPoint::CreateContainer => "creating",
            HookPoint::StartContainer => "created",
            HookPoint::Poststart => "running",
            HookPoint::Poststop => "stopped",
        }
    }

    /// The hooks of the configuration that run then, in their order.
    pub(crate) fn hooks(self, spec: &Spec) -> &[Hook] {
        let Some(hooks) = spec.hooks() else { return &[] };
        let hooks = match self {
            HookPoint::Prestart => hooks.prestart(),
            HookPoint::CreateRuntime => hooks.create_runtime(),
            HookPoint::CreateContainer => hooks.create_container(),
            HookPoint::StartContainer => hooks.start_container(),
            HookPoint::Poststart => hooks.poststart(),
            HookPoint::Poststop => hooks.poststop(),
        };
        hooks.as_deref().unwrap_or_default()
    }

    /// Whether there are any.
    pub(crate) fn is_used(self, spec: &Spec) -> bool {
        !self.hooks(spec).is_empty()
    }

    const ALL: [HookPoint; 6] = [
        HookPoint::Prestart,
        HookPoint::CreateRuntime,
        HookPoint::CreateContainer,
        HookPoint::StartContainer,
        HookPoint::Poststart,
        HookPoint::Poststop,
    ];
}

/// What hooks read about the container, less its status and its process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HookState<'a> {
    /// The `ociVersion` of the configuration.
    pub(crate) version: &'a str,
    /// The container's id.
    pub(crate) id: &'a str,
    /// The absolute path of the bundle.
    pub(crate) bundle: &'a Path,
    /// Of the configuration.
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

impl HookState<'_> {
    /// The JSON before and behind the number of the process.
    fn around_pid(&self, point: HookPoint) -> Result<[String; 2]> {
        let bundle = self.bundle.to_str();
        let bundle = bundle.ok_or_else(|| Error::invalid("the path of the bundle is not UTF-8, which hooks read"))?;
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let (version, id, status) = (quoted(self.version), quoted(self.id), quoted(point.status()));
        let mut behind = format!(",\"bundle\":{}", quoted(bundle));
        if !self.annotations.is_empty() {
            let text = serde_json::to_string(self.annotations);
            behind += ",\"annotations\":";
            behind += &text.map_err(|error| Error::invalid("annotations").source_error(error))?;
        }
        behind.push('}');
        Ok([format!("{{\"ociVersion\":{version},\"id\":{id},\"status\":{status},\"pid\":"), behind])
    }
}

/// Whether the hooks of the configuration can be run at all.
///
/// # Errors
/// A path that is not absolute, a text with a NUL byte, a timeout that is not above 0: with the name of the field.
pub(crate) fn check_hooks(spec: &Spec) -> Result<()> {
    for point in HookPoint::ALL {
        for (index, hook) in point.hooks(spec).iter().enumerate() {
            let field = |name: &str| format!("hooks.{}[{index}].{name}", point.name());
            if !hook.path().is_absolute() {
                return Err(Error::invalid(format!("{} {} is not absolute", field("path"), hook.path().display())));
            }
            let texts = hook.args().iter().chain(hook.env()).flatten().map(String::as_bytes);
            if texts.chain([hook.path().as_os_str().as_bytes()]).any(|text| text.contains(&0)) {
                return Err(Error::invalid(format!("{} holds a NUL byte", field("path, args or env"))));
            }
            if hook.timeout().is_some_and(|timeout| timeout <= 0) {
                return Err(Error::invalid(format!("{} is not above 0 seconds", field("timeout"))));
            }
        }
    }
    Ok(())
}

/// Lowers the `createContainer` or `startContainer` hooks into the current phase: before the pivot, or behind the
/// confinement of the process, whose filter also confines what the container's image may have put there.
///
/// Each reads the number of the container's process as the container sees it (runtime-spec, State).
pub(crate) fn lower_hooks(plan: &mut Builder, spec: &Spec, point: HookPoint, state: &HookState<'_>) -> Result<()> {
    let hooks = point.hooks(spec);
    if hooks.is_empty() {
        return Ok(());
    }
    let around = state.around_pid(point)?;
    for (index, hook) in hooks.iter().enumerate() {
        let path = plan.text(hook.path().as_os_str().as_bytes());
        let arguments = plan.texts(arguments(hook));
        let environment = plan.texts(hook.env().as_deref().unwrap_or_default());
        // Each a list of its own: the stage turns it into pointers in place.
        let state = plan.texts(&around);
        let timeout = hook.timeout().unwrap_or(0).clamp(0, i64::from(u32::MAX)) as u32;
        plan.push(OpCode::RunHook, &[path, arguments, environment, state, timeout], sentence(point, index, hook))
            .hint(libc::ENOENT, "the program, or the interpreter it names, does not exist")
            .hint(libc::EACCES, "the program is not executable")
            .hint(libc::ENOEXEC, "the program is for another machine, or a script without #!")
            .hint(libc::EPERM, "the state is longer than a pipe holds: shorten the annotations");
    }
    Ok(())
}

/// Lowers the wait for what the host does to the container before the pivot, with the bundle as working directory of the
/// hooks that follow.
pub(crate) fn lower_gate(plan: &mut Builder) {
    plan.phase(Phase::Mount);
    plan.push(OpCode::Gate, &[], "wait for the hooks of the host");
}

/// Makes the bundle the working directory of the `createContainer` hooks, as it is of those on the host.
pub(crate) fn lower_hook_directory(plan: &mut Builder, bundle: &Path) {
    plan.phase(Phase::Mount);
    let directory: Slot = plan.slot();
    let path = plan.text(bundle.as_os_str().as_bytes());
    let flags = (libc::O_PATH | libc::O_DIRECTORY) as u32;
    plan.push(OpCode::OpenHost, &[path, flags, directory.into()], "open the bundle");
    plan.push(OpCode::ChangeDirectory, &[directory.into()], "enter the bundle");
}

/// Runs hooks on the host, in their order, up to the first that fails. `pid`: the container's process.
///
/// # Errors
/// A hook cannot be executed, fails or takes too long; what that means for the container is the caller's: before the
/// start and right after it, the container is torn down.
pub(crate) fn run_hooks(
    launcher: &Arc<Launcher>,
    spec: &Spec,
    point: HookPoint,
    state: &HookState<'_>,
    pid: Option<i32>,
) -> Result<()> {
    let hooks = point.hooks(spec);
    hooks.iter().enumerate().try_for_each(|(index, hook)| run_hook(launcher, point, index, hook, state, pid))
}

/// Runs the `poststop` hooks, each whatever came of those before; their failures are warnings (runtime-spec, Lifecycle).
pub(crate) fn run_poststop_hooks(
    launcher: &Arc<Launcher>,
    spec: &Spec,
    state: &HookState<'_>,
    warn: &mut dyn FnMut(String),
) {
    for (index, hook) in HookPoint::Poststop.hooks(spec).iter().enumerate() {
        if let Err(error) = run_hook(launcher, HookPoint::Poststop, index, hook, state, None) {
            warn(error.to_string());
        }
    }
}

fn run_hook(
    launcher: &Arc<Launcher>,
    point: HookPoint,
    index: usize,
    hook: &Hook,
    state: &HookState<'_>,
    pid: Option<i32>,
) -> Result<()> {
    let [before, behind] = state.around_pid(point)?;
    let input = format!("{before}{}{behind}", pid.unwrap_or(0));
    let timeout = hook.timeout().filter(|&timeout| timeout > 0);
    HostProgram {
        preserved: &[],
        what: sentence(point, index, hook),
        path: hook.path(),
        arguments: &arguments(hook),
        environment: hook.env().as_deref().unwrap_or_default(),
        // The bundle may be gone when the container is deleted.
        directory: if state.bundle.is_dir() { state.bundle } else { Path::new("/") },
        input: input.as_bytes(),
        timeout: timeout.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
    }
    .run(launcher)
}

fn sentence(point: HookPoint, index: usize, hook: &Hook) -> String {
    format!("run {} hook {} ({})", point.name(), index + 1, hook.path().display())
}

/// Without `args` the name alone (execv(3)).
fn arguments(hook: &Hook) -> Vec<String> {
    match hook.args().as_deref() {
        Some(arguments) if !arguments.is_empty() => arguments.to_vec(),
        _ => vec![hook.path().display().to_string()],
    }
}
