//! libseccomp as runtimes use it: rules added one by one, the program exported. Opened at run time, so that the bench needs
//! no C library to be built.

use serde_json::Value;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;

/// seccomp_rule_add_array(3)'s condition.
#[repr(C)]
#[derive(Clone, Copy)]
struct Comparison {
    argument: u32,
    operator: c_int,
    first: u64,
    second: u64,
}

/// The functions.
pub struct Library {
    init: unsafe extern "C" fn(u32) -> *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
    arch_add: unsafe extern "C" fn(*mut c_void, u32) -> c_int,
    arch_resolve: unsafe extern "C" fn(*const c_char) -> u32,
    resolve: unsafe extern "C" fn(*const c_char) -> c_int,
    rule_add: unsafe extern "C" fn(*mut c_void, u32, c_int, u32, *const Comparison) -> c_int,
    export: unsafe extern "C" fn(*const c_void, c_int) -> c_int,
}

/// seccomp.h's SCMP_ACT_ALLOW.
const ALLOW: u32 = 0x7fff_0000;
/// And SCMP_ACT_ERRNO, to which the number is added.
const ERRNO: u32 = 0x0005_0000;

impl Library {
    /// `None` where it is not installed.
    pub fn open() -> Option<Library> {
        // SAFETY: the names are NUL-terminated; the signatures are those of seccomp.h.
        unsafe {
            let handle = libc::dlopen(c"libseccomp.so.2".as_ptr(), libc::RTLD_NOW);
            if handle.is_null() {
                return None;
            }
            let find = |name: &CStr| {
                let symbol = libc::dlsym(handle, name.as_ptr());
                assert!(!symbol.is_null(), "{name:?}");
                symbol
            };
            Some(Library {
                init: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(u32) -> *mut c_void>(find(
                    c"seccomp_init",
                )),
                release: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void)>(find(
                    c"seccomp_release",
                )),
                arch_add: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, u32) -> c_int>(find(
                    c"seccomp_arch_add",
                )),
                arch_resolve: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char) -> u32>(find(
                    c"seccomp_arch_resolve_name",
                )),
                resolve: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_char) -> c_int>(find(
                    c"seccomp_syscall_resolve_name",
                )),
                rule_add: std::mem::transmute::<
                    *mut c_void,
                    unsafe extern "C" fn(*mut c_void, u32, c_int, u32, *const Comparison) -> c_int,
                >(find(c"seccomp_rule_add_array")),
                export: std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*const c_void, c_int) -> c_int>(find(
                    c"seccomp_export_bpf",
                )),
            })
        }
    }

    /// The program for a runtime-spec profile, 8 bytes an instruction.
    pub fn compile(&self, profile: &Value) -> Vec<u8> {
        let default = action(&profile["defaultAction"], &profile["defaultErrnoRet"]);
        // SAFETY: the context is released once, after its last use; all texts are NUL-terminated.
        unsafe {
            let context = (self.init)(default);
            assert!(!context.is_null());
            for name in profile["architectures"].as_array().unwrap() {
                let name = name.as_str().unwrap().trim_start_matches("SCMP_ARCH_").to_ascii_lowercase();
                let name = CString::new(name).unwrap();
                // The native one is in it already.
                (self.arch_add)(context, (self.arch_resolve)(name.as_ptr()));
            }
            profile["syscalls"].as_array().unwrap().iter().for_each(|rule| self.add(context, rule, default));
            let program = self.program(context);
            (self.release)(context);
            program
        }
    }

    unsafe fn add(&self, context: *mut c_void, rule: &Value, default: u32) {
        let action = action(&rule["action"], &rule["errnoRet"]);
        if action == default {
            return;
        }
        let conditions = rule["args"].as_array().map_or(Vec::new(), |all| all.iter().map(comparison).collect());
        for name in rule["names"].as_array().unwrap() {
            let name = CString::new(name.as_str().unwrap()).unwrap();
            // SAFETY: the context lives, the array has its length.
            unsafe {
                let number = (self.resolve)(name.as_ptr());
                // Unknown to this version: runtimes pass over it.
                if number == -1 {
                    continue;
                }
                (self.rule_add)(context, action, number, conditions.len() as u32, conditions.as_ptr());
            }
        }
    }

    unsafe fn program(&self, context: *mut c_void) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        let mut program = Vec::new();
        // SAFETY: the context and the descriptor live.
        assert_eq!(unsafe { (self.export)(context, file.as_raw_fd()) }, 0);
        file.rewind().unwrap();
        file.read_to_end(&mut program).unwrap();
        program
    }
}

fn action(name: &Value, errno: &Value) -> u32 {
    match name.as_str().unwrap() {
        "SCMP_ACT_ALLOW" => ALLOW,
        "SCMP_ACT_ERRNO" => ERRNO | errno.as_u64().unwrap_or(1) as u32,
        other => panic!("engines' profiles have no {other}"),
    }
}

fn comparison(condition: &Value) -> Comparison {
    let number = |key: &str| condition[key].as_u64().unwrap_or(0);
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let operator = condition["op"].as_str().unwrap().trim_start_matches("SCMP_CMP_").to_owned();
    Comparison {
        argument: number("index") as u32,
        // scmp_compare begins at 1.
        operator: operators.iter().position(|known| *known == operator).unwrap() as c_int + 1,
        first: number("value"),
        second: number("valueTwo"),
    }
}
