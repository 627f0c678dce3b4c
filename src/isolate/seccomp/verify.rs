//! The kernel's rules for a filter, for tests and fuzzing.

use super::filter::{AND, EQUAL, Filter, GREATER, GREATER_OR_EQUAL, JUMP, LOAD, RETURN, SockFilter};

impl Filter {
    /// Whether the kernel takes it: known instructions, aligned loads, jumps forward and inside, no way over the end.
    pub(crate) fn verify(&self) -> Result<(), String> {
        let length = self.instructions.len();
        if length == 0 || length > Filter::MAX_INSTRUCTIONS {
            return Err(format!("{length} instructions"));
        }
        for (at, &SockFilter { code, jt, jf, k }) in self.instructions.iter().enumerate() {
            let furthest = match code {
                LOAD if k % 4 == 0 && k < 64 => 0,
                AND => 0,
                JUMP => k as usize,
                EQUAL | GREATER | GREATER_OR_EQUAL => usize::from(jt.max(jf)),
                RETURN => continue,
                _ => return Err(format!("instruction {at} is not known: {code:#x} {k:#x}")),
            };
            if at + 1 + furthest >= length {
                return Err(format!("instruction {at} leads over the end"));
            }
        }
        Ok(())
    }
}

/// Compiles a profile from any bytes for both kinds of machines; what comes of it is valid and decides every call.
#[cfg(fuzzing)]
pub(crate) fn fuzz(data: &[u8]) {
    use super::run::Call;
    use super::{Architecture, Profile};
    let Ok(profile) = Profile::from_json(data) else { return };
    for native in [Architecture::X86_64, Architecture::Aarch64] {
        let Ok(filter) = profile.compile(native) else { continue };
        assert_eq!(filter.verify(), Ok(()));
        for number in [0, 1, 2, 41, 102, 117, 500, 0x4000_0000, u32::MAX] {
            for architecture in [Architecture::X86_64, Architecture::X86, Architecture::Aarch64, Architecture::Arm] {
                let architecture = architecture.audit_number();
                filter.run(&Call { number, architecture, arguments: [u64::from(number) << 31; 6] });
            }
        }
    }
}
