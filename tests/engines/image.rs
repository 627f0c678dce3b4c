//! One image of a static busybox, as the archive that `docker save` writes and every engine loads.

use crate::ground::Ground;
use crate::program::require_program;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::PathBuf;

/// The image's name in every engine.
pub const TINY: &str = "localhost/tiny:1";
/// The same file system, whose configuration says that the user `ann` runs it.
pub const ANN: &str = "localhost/ann:1";

const APPLETS: &[&str] = &[
    "sh", "cat", "chmod", "dd", "df", "echo", "env", "false", "grep", "head", "hostname", "httpd", "id", "ip", "kill",
    "ls", "mkdir", "mount", "nproc", "od", "ps", "pwd", "readlink", "rm", "sleep", "sort", "stat", "stty", "tail",
    "test", "touch", "true", "tty", "umount", "wget", "yes",
];

/// Writes the archive with both images.
pub fn archive(ground: &Ground) -> PathBuf {
    let layer = layer();
    let diff = hex(&layer);
    let tiny = configuration(&diff, "");
    let ann = configuration(&diff, r#""User": "ann","#);
    let manifest = format!(
        r#"[{{"Config": "{0}.json", "RepoTags": ["{TINY}"], "Layers": ["layer.tar"]}},
            {{"Config": "{1}.json", "RepoTags": ["{ANN}"], "Layers": ["layer.tar"]}}]"#,
        hex(tiny.as_bytes()),
        hex(ann.as_bytes()),
    );
    let mut archive = tar::Builder::new(Vec::new());
    add(&mut archive, "layer.tar", 0o644, &layer);
    add(&mut archive, &format!("{}.json", hex(tiny.as_bytes())), 0o644, tiny.as_bytes());
    add(&mut archive, &format!("{}.json", hex(ann.as_bytes())), 0o644, ann.as_bytes());
    add(&mut archive, "manifest.json", 0o644, manifest.as_bytes());
    ground.file("image.tar", archive.into_inner().unwrap())
}

fn configuration(diff: &str, user: &str) -> String {
    format!(
        r#"{{"architecture": "{}", "os": "linux",
            "config": {{{user} "Env": ["PATH=/bin", "GREETING=hello"], "Cmd": ["/bin/sh"]}},
            "rootfs": {{"type": "layers", "diff_ids": ["sha256:{diff}"]}},
            "history": [{{"created_by": "test"}}]}}"#,
        architecture()
    )
}

/// As Go names it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn layer() -> Vec<u8> {
    let busybox = std::fs::read(require_program("busybox", "busybox-static")).unwrap();
    let mut layer = tar::Builder::new(Vec::new());
    for directory in ["bin", "etc", "kept", "proc", "sys", "dev", "www"] {
        directory_entry(&mut layer, directory, 0o755);
    }
    directory_entry(&mut layer, "tmp", 0o1777);
    add(&mut layer, "bin/busybox", 0o755, &busybox);
    for name in APPLETS {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        layer.append_link(&mut header, format!("bin/{name}"), "busybox").unwrap();
    }
    add(&mut layer, "etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\nann:x:1000:1000::/:/bin/sh\n");
    add(&mut layer, "etc/group", 0o644, b"root:x:0:\nann:x:1000:\nfriends:x:2000:ann\n");
    add(&mut layer, "kept/seed", 0o644, b"from the image\n");
    layer.into_inner().unwrap()
}

fn directory_entry(archive: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32) {
    let mut header = header(tar::EntryType::Directory, mode, 0);
    archive.append_data(&mut header, format!("{name}/"), std::io::empty()).unwrap();
}

fn add(archive: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32, content: &[u8]) {
    let mut header = header(tar::EntryType::Regular, mode, content.len() as u64);
    archive.append_data(&mut header, name, content).unwrap();
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
