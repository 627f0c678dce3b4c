//! Profiles as runtime configurations write them: runtime-spec, config-linux, "Seccomp".

use super::compile::within_budget;
use super::filter::WAIT_KILLABLE_RECV;
use super::profile::{Action, Comparison, Condition, Profile};
use super::syscall::{Architecture, Syscall};
use crate::error::Context;
use crate::{Error, ErrorKind, Result};
use oci_spec::runtime::{
    Arch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall,
};

/// The longest document that is read: 20 times Docker's default.
const MAX_BYTES: usize = 1 << 20;

impl Profile {
    /// Reads the `linux.seccomp` object of a runtime configuration.
    ///
    /// It decides as under runc: names that no architecture knows are passed over; of the rules for a call the first
    /// without conditions decides before any with conditions; several conditions on one argument are alternatives.
    /// Unlike there, two rules with the same conditions are no error (the first counts), and x32 is always refused.
    ///
    /// # Errors
    /// `InvalidInput` for what is not such an object: an unknown action, operator, architecture or flag among others.
    pub fn from_json(json: &[u8]) -> Result<Profile> {
        if json.len() > MAX_BYTES {
            return Err(Error::new(ErrorKind::LimitExceeded, format!("a seccomp profile may have {MAX_BYTES} bytes")));
        }
        let document: LinuxSeccomp =
            serde_json::from_slice(json).map_err(|error| Error::invalid("seccomp profile").source_error(error))?;
        Profile::from_runtime_spec(&document)
    }

    /// As [`Profile::from_json`], from the parsed object.
    pub(crate) fn from_runtime_spec(document: &LinuxSeccomp) -> Result<Profile> {
        let mut profile = Profile::new(action(document.default_action(), document.default_errno_ret())?)
            .architectures(document.architectures().iter().flatten().filter_map(architecture));
        for flag in document.flags().iter().flatten() {
            profile.flags |= flag_bits(flag);
        }
        let rules = document.syscalls().as_deref().unwrap_or_default();
        let (plain, conditional): (Vec<_>, Vec<_>) =
            rules.iter().enumerate().partition(|(_, rule)| rule.args().as_ref().is_none_or(Vec::is_empty));
        for (index, rule) in plain.into_iter().chain(conditional) {
            profile = add(profile, rule).context(|| format!("syscalls[{index}]"))?;
        }
        Ok(profile)
    }
}

fn add(mut profile: Profile, rule: &LinuxSyscall) -> Result<Profile> {
    let takes_errno = matches!(rule.action(), LinuxSeccompAction::ScmpActErrno | LinuxSeccompAction::ScmpActTrace);
    if rule.names().is_empty() {
        return Err(Error::invalid("names is empty"));
    }
    if rule.errno_ret().is_some() && !takes_errno {
        return Err(Error::invalid(format!("errnoRet means nothing for {}", rule.action())));
    }
    let action = action(rule.action(), rule.errno_ret())?;
    let calls: Vec<Syscall> = rule.names().iter().filter_map(|name| Syscall::named(name)).collect();
    let conditions: Vec<Condition> = rule.args().iter().flatten().map(condition).collect::<Result<_>>()?;
    let mut seen = 0u8;
    let repeated = conditions.iter().any(|condition| {
        let bit = 1 << condition.argument;
        let again = seen & bit != 0;
        seen |= bit;
        again
    });
    if !repeated {
        return Ok(profile.rule_if(action, calls, conditions));
    }
    // Before the calls are copied for each alternative.
    within_budget(profile.rules.len() + conditions.len(), calls.len().saturating_mul(conditions.len()))?;
    for condition in conditions {
        profile = profile.rule_if(action, calls.iter().copied(), [condition]);
    }
    Ok(profile)
}

fn action(action: LinuxSeccompAction, number: Option<u32>) -> Result<Action> {
    // runc's answer where the profile gives no errno.
    let number = number.unwrap_or(libc::EPERM as u32);
    let number =
        || u16::try_from(number).map_err(|_| Error::invalid(format!("seccomp errnoRet {number} is too large")));
    Ok(match action {
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => Action::KillThread,
        LinuxSeccompAction::ScmpActKillProcess => Action::KillProcess,
        LinuxSeccompAction::ScmpActTrap => Action::Trap,
        LinuxSeccompAction::ScmpActErrno => Action::Errno(number()?),
        LinuxSeccompAction::ScmpActNotify => Action::Notify,
        LinuxSeccompAction::ScmpActTrace => Action::Trace(number()?),
        LinuxSeccompAction::ScmpActLog => Action::Log,
        LinuxSeccompAction::ScmpActAllow => Action::Allow,
    })
}

fn condition(argument: &LinuxSeccompArg) -> Result<Condition> {
    let index = match u8::try_from(argument.index()) {
        Ok(index @ 0..=5) => index,
        _ => return Err(Error::invalid(format!("seccomp argument {} is above 5", argument.index()))),
    };
    let value = argument.value();
    let comparison = match argument.op() {
        LinuxSeccompOperator::ScmpCmpNe => Comparison::NotEqual(value),
        LinuxSeccompOperator::ScmpCmpLt => Comparison::Less(value),
        LinuxSeccompOperator::ScmpCmpLe => Comparison::LessOrEqual(value),
        LinuxSeccompOperator::ScmpCmpEq => Comparison::Equal(value),
        LinuxSeccompOperator::ScmpCmpGe => Comparison::GreaterOrEqual(value),
        LinuxSeccompOperator::ScmpCmpGt => Comparison::Greater(value),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            Comparison::MaskedEqual { mask: value, value: argument.value_two().unwrap_or(0) }
        }
    };
    Ok(Condition::new(index, comparison))
}

/// `None` for the architectures of other machines, whose programs cannot run here, and for x32.
fn architecture(architecture: &Arch) -> Option<Architecture> {
    match architecture {
        Arch::ScmpArchX86_64 => Some(Architecture::X86_64),
        Arch::ScmpArchX86 => Some(Architecture::X86),
        Arch::ScmpArchAarch64 => Some(Architecture::Aarch64),
        Arch::ScmpArchArm => Some(Architecture::Arm),
        _ => None,
    }
}

fn flag_bits(flag: &LinuxSeccompFilterFlag) -> u32 {
    match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG as u32,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as u32,
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => WAIT_KILLABLE_RECV,
        // The filter is loaded by a process with one thread.
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => 0,
    }
}
