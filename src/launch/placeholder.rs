//! Processes that stand in a place until somebody else has it.

use super::channel::Channel;
use super::conversation::{Request, start};
use super::launcher::Launcher;
use super::process::Process;
use crate::Result;
use crate::error::During;
use crate::plan::op::OpCode;
use crate::plan::{Builder, Phase};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

/// A process that waits until it is killed, which dropping it does.
pub(crate) fn start_placeholder() -> Result<Process> {
    let channel = Channel::new()?;
    // It holds both ends, so nothing ever comes.
    let (never, other) = pipe2(OFlag::O_CLOEXEC).during(|| "create a pipe for a placeholder")?;
    let mut plan = Builder::new();
    let (never, other) = (plan.inherit(never), plan.inherit(other));
    plan.push(OpCode::CloseOthers, &[], "close foreign descriptors");
    plan.push(OpCode::DieWithParent, &[1], "tie the placeholder's life to the caller's");
    plan.push(OpCode::NewSession, &[], "start a new session");
    plan.phase(Phase::EarlyFilter);
    plan.push(OpCode::CloseOnExec, &[3], "have the exec close descriptors");
    plan.phase(Phase::Park);
    plan.push(OpCode::AwaitStart, &[never.into(), other.into()], "wait until the place is taken");
    // It never comes to this.
    plan.phase(Phase::Exec);
    let (texts, nothing) = (plan.texts(["/"]), plan.texts([""; 0]));
    plan.push(OpCode::Execute, &[texts, nothing, texts], "execute nothing");
    let request = Request::new(plan.finish(channel.child())?, channel);
    start(&Launcher::shared()?, request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rootless_it_waits_and_goes_with_its_value() {
        let placeholder = start_placeholder().unwrap();
        let directory = format!("/proc/{}", placeholder.pid());
        let state = std::fs::read_to_string(format!("{directory}/stat")).unwrap();
        assert!(!state.contains(") Z "), "{state}");
        drop(placeholder);
        assert!(!std::path::Path::new(&directory).exists());
    }
}
