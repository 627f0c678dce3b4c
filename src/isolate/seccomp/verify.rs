//! The kernel's rules for a filter and its way of running one, for tests and fuzzing.

use super::filter::{AND, EQUAL, Filter, GREATER, GREATER_OR_EQUAL, JUMP, LOAD, RETURN, SockFilter};

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) architecture: u32,
    pub(crate) arguments: [u64; 6],
}

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

    /// What it returns for a call.
    pub(crate) fn run(&self, call: &Call) -> u32 {
        let mut accumulator = 0;
        let mut at = 0;
        loop {
            let SockFilter { code, jt, jf, k } = self.instructions[at];
            at += 1;
            let holds = match code {
                LOAD => {
                    accumulator = call.word(k);
                    continue;
                }
                AND => {
                    accumulator &= k;
                    continue;
                }
                JUMP => {
                    at += k as usize;
                    continue;
                }
                EQUAL => accumulator == k,
                GREATER => accumulator > k,
                GREATER_OR_EQUAL => accumulator >= k,
                _ => return k,
            };
            at += usize::from(if holds { jt } else { jf });
        }
    }
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.architecture,
            8 | 12 => 0,
            _ => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                (argument >> (offset % 8 * 8)) as u32
            }
        }
    }
}

/// Compiles a profile from any bytes for both kinds of machines; what comes of it is valid and decides every call.
#[cfg(fuzzing)]
pub(crate) fn fuzz(data: &[u8]) {
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
