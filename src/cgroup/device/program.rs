//! The list as a program of the kind `BPF_PROG_TYPE_CGROUP_DEVICE`: the kernel runs it at every access of a version 2
//! group, and denies where it returns 0 (Documentation/admin-guide/cgroup-v2.rst, "Device controller").

use super::{DeviceAccess, DeviceRule};

/// An instruction as the kernel reads it: struct bpf_insn (linux/bpf.h) in one number.
pub(super) type Instruction = u64;

// Operation codes: Documentation/bpf/standardization/instruction-set.rst.
const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbf;
const MOVE_CONSTANT: u8 = 0xb7;
const AND_CONSTANT: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
/// The comparison of the lower 32 bits, so that a constant with its highest bit set is not taken as negative.
const JUMP_UNLESS_EQUAL_WORD: u8 = 0x56;
const EXIT: u8 = 0x95;

// Registers: the result, the argument, the access that is still asked for, what is compared, what a rule denies of it.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const REST: u8 = 2;
const VALUE: u8 = 3;
const SHARED: u8 = 4;

/// Offsets in struct bpf_cgroup_dev_ctx: `access_type` holds the access in its upper and the kind in its lower half.
const ACCESS_AND_KIND: i16 = 0;
const MAJOR_AT: i16 = 4;
const MINOR_AT: i16 = 8;

/// Rules are tried from the last to the first. Each takes the access it speaks of out of what is still asked for: one
/// that denies any of it ends with 0, one that allows the last of it with 1; where something is left at the end, that
/// is denied.
pub(super) fn compile(rules: &[DeviceRule]) -> Vec<Instruction> {
    let mut program =
        vec![instruction(LOAD_WORD, REST, CONTEXT, ACCESS_AND_KIND, 0), instruction(SHIFT_RIGHT, REST, 0, 0, 16)];
    for (index, rule) in rules.iter().enumerate().rev() {
        // What a later rule has decided needs no second decision.
        if rule.access == DeviceAccess::default() || rules[index + 1..].contains(rule) {
            continue;
        }
        if rule.is_about_everything() {
            program.extend(end(rule.allow));
            return program;
        }
        append(&mut program, rule);
    }
    program.extend(end(false));
    program
}

/// Conditions that jump over the action where they do not hold, then the action.
///
/// Every condition loads what it compares anew. A value kept in a register would be one more thing that the verifier
/// knows on one way to the next rule and not on the other, and it would follow all ways separately: a thousand rules
/// were refused for that (E2BIG).
fn append(program: &mut Vec<Instruction>, rule: &DeviceRule) {
    let action = action(rule);
    let load = |at| instruction(LOAD_WORD, VALUE, CONTEXT, at, 0);
    let mut conditions: Vec<(Vec<Instruction>, u8, u32)> = Vec::new();
    if let Some(kind) = rule.kind {
        let lower_half = instruction(AND_CONSTANT, VALUE, 0, 0, 0xffff);
        let number = u32::from(kind.number());
        conditions.push((vec![load(ACCESS_AND_KIND), lower_half], JUMP_UNLESS_EQUAL, number));
    }
    for (at, number) in [(MAJOR_AT, rule.major), (MINOR_AT, rule.minor)] {
        if let Some(number) = number {
            conditions.push((vec![load(at)], JUMP_UNLESS_EQUAL_WORD, number));
        }
    }
    let mut left: usize = conditions.iter().map(|(loads, ..)| loads.len() + 1).sum::<usize>() + action.len();
    for (loads, code, number) in conditions {
        left -= loads.len() + 1;
        program.extend(loads);
        program.push(instruction(code, VALUE, 0, left as i16, number));
    }
    program.extend(action);
}

fn action(rule: &DeviceRule) -> Vec<Instruction> {
    let bits = u32::from(rule.access.bits());
    if rule.allow {
        let [allow, exit] = end(true);
        return vec![
            instruction(AND_CONSTANT, REST, 0, 0, !bits & 0xffff),
            instruction(JUMP_UNLESS_EQUAL, REST, 0, 2, 0),
            allow,
            exit,
        ];
    }
    let [deny, exit] = end(false);
    vec![
        instruction(MOVE_REGISTER, SHARED, REST, 0, 0),
        instruction(AND_CONSTANT, SHARED, 0, 0, bits),
        instruction(JUMP_IF_EQUAL, SHARED, 0, 2, 0),
        deny,
        exit,
    ]
}

fn end(allow: bool) -> [Instruction; 2] {
    [instruction(MOVE_CONSTANT, RESULT, 0, 0, u32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

/// In the byte order of the machine: the code, the registers (destination low), the offset, the constant.
fn instruction(code: u8, destination: u8, source: u8, offset: i16, constant: u32) -> Instruction {
    let [low, high] = offset.to_ne_bytes();
    let [a, b, c, d] = constant.to_ne_bytes();
    let registers = if cfg!(target_endian = "little") { source << 4 | destination } else { destination << 4 | source };
    u64::from_ne_bytes([code, registers, low, high, a, b, c, d])
}

#[cfg(test)]
pub(super) mod interpreter {
    use super::*;

    /// What the kernel would return for an access; panics where its verifier would refuse the program.
    pub(in super::super) fn run(program: &[Instruction], access_and_kind: u32, major: u32, minor: u32) -> u64 {
        let mut registers: [Option<u64>; 11] = [None; 11];
        let mut at = 0;
        loop {
            let [code, pair, low, high, a, b, c, d] = program[at].to_le_bytes();
            let (destination, source) = (usize::from(pair & 15), usize::from(pair >> 4));
            let offset = i16::from_le_bytes([low, high]);
            let constant = i32::from_le_bytes([a, b, c, d]);
            let value = registers[destination];
            let wide = i64::from(constant) as u64;
            at += 1;
            let jump = match code {
                LOAD_WORD => {
                    assert_eq!(source, usize::from(CONTEXT));
                    registers[destination] = Some(u64::from(match offset {
                        ACCESS_AND_KIND => access_and_kind,
                        MAJOR_AT => major,
                        MINOR_AT => minor,
                        _ => panic!("offset {offset}"),
                    }));
                    false
                }
                MOVE_REGISTER => {
                    registers[destination] = Some(registers[source].unwrap());
                    false
                }
                MOVE_CONSTANT => {
                    registers[destination] = Some(wide);
                    false
                }
                AND_CONSTANT => {
                    registers[destination] = Some(value.unwrap() & wide);
                    false
                }
                SHIFT_RIGHT => {
                    registers[destination] = Some(value.unwrap() >> constant);
                    false
                }
                JUMP_IF_EQUAL => value.unwrap() == wide,
                JUMP_UNLESS_EQUAL => value.unwrap() != wide,
                JUMP_UNLESS_EQUAL_WORD => value.unwrap() as u32 != constant as u32,
                EXIT => return registers[usize::from(RESULT)].unwrap(),
                _ => panic!("code {code:#x}"),
            };
            if jump {
                assert!(offset >= 0);
                at += offset as usize;
            }
        }
    }
}
