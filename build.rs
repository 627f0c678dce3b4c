//! Compiles the stage (`src/stage/main.rs`) with the same compiler for the same target; `launch` embeds it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/stage");
    println!("cargo:rerun-if-changed=src/plan");
    println!("cargo:rerun-if-changed=src/value/civil.rs");
    println!("cargo:rerun-if-env-changed=RUSTC_LINKER");
    println!("cargo:rustc-check-cfg=cfg(fuzzing)");
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    let system = variable("CARGO_CFG_TARGET_OS");
    assert!(
        system == "linux" && matches!(architecture.as_str(), "x86_64" | "aarch64"),
        "coracle runs on Linux on x86_64 and aarch64, not on {system} on {architecture}"
    );
    let output = PathBuf::from(variable("OUT_DIR")).join("stage");
    let mut compile = Command::new(variable("RUSTC"));
    compile
        .args(["--edition=2024", "--crate-name=coracle_stage", "--crate-type=bin", "src/stage/main.rs"])
        .args([
            "-C",
            "panic=abort",
            "-C",
            "lto=fat",
            "-C",
            "codegen-units=1",
            "-C",
            "opt-level=s",
            "-C",
            "strip=symbols",
            "-C",
            "relocation-model=static",
        ])
        .args(["-C", "target-feature=+crt-static", "-C", "default-linker-libraries=no"])
        // The fewer segments, the fewer mappings and page faults of the exec.
        .args([
            "-C",
            "link-args=-nostartfiles -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,norelro -Wl,-z,noexecstack \
             -Wl,--no-eh-frame-hdr -Wl,-T,src/stage/stage.ld",
        ])
        // The tables of plan/ are shared with the library: each side uses a part of them.
        .args(["-A", "dead_code"])
        .args(["--target", &variable("TARGET")])
        .arg("-o")
        .arg(&output);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        compile.arg("-C").arg(format!("linker={linker}"));
    }
    let status = compile.status().expect("the compiler must be runnable");
    assert!(status.success(), "compiling the stage failed: {status}");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name} for build scripts"))
}
