//! Volumes without containers: content, snapshots, locks.

pub(super) mod crash;

use super::*;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

/// No container is on record.
struct Nobody;

impl VolumeUsers for Nobody {
    fn users_of(&self, _: &Name) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

pub(super) fn volume(root: &Path) -> Volume {
    let store = Store::open(&root.join("root"), &root.join("run")).unwrap();
    Volume::new(&store, Arc::new(Nobody), "data".parse().unwrap())
}

/// Everything that a listing shows of a tree, in order: kind, mode, owner, links, size, time, path, link target.
fn listing(path: &Path) -> String {
    let output = Command::new("find")
        .args([".", "-printf", "%y %m %U:%G %n %s %b %T@ %p %l\n"])
        .current_dir(path)
        .output()
        .unwrap();
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    // The size of a directory depends on its history.
    lines.iter_mut().filter(|line| line.starts_with("d ")).for_each(|line| {
        *line = line
            .split(' ')
            .enumerate()
            .filter(|(at, _)| ![4, 5].contains(at))
            .map(|(_, part)| format!("{part} "))
            .collect();
    });
    lines.sort();
    lines.join("\n")
}

fn various(data: &Path) {
    fs::create_dir_all(data.join("deep/er")).unwrap();
    fs::write(data.join("deep/er/file"), "content").unwrap();
    fs::set_permissions(data.join("deep/er/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(data.join("deep/er/file"), data.join("same")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", data.join("link")).unwrap();
    std::os::unix::fs::lchown(data.join("link"), Some(7), Some(8)).unwrap();
    std::os::unix::fs::chown(data.join("deep"), Some(1234), Some(5678)).unwrap();
    nix::unistd::mkfifo(&data.join("pipe"), nix::sys::stat::Mode::from_bits_truncate(0o640)).unwrap();
    let sparse = fs::File::create(data.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", 8 << 20).unwrap();
    sparse.set_len(16 << 20).unwrap();
    drop(std::os::unix::net::UnixListener::bind(data.join("socket")).unwrap());
    let directory = fs::File::open(data).unwrap();
    let set = |name: &str, key, value: &[u8]| {
        crate::kernel::set_xattr_at(std::os::fd::AsFd::as_fd(&directory), name.as_ref(), key, value).unwrap();
    };
    set("same", c"user.note", b"x");
    set("deep", c"user.note", b"y");
    set("link", c"trusted.note", b"z");
    let epoch = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(1_000_000_007);
    fs::File::open(data.join("deep")).unwrap().set_modified(epoch).unwrap();
    fs::set_permissions(data.join("deep"), fs::Permissions::from_mode(0o2705)).unwrap();
}

#[test]
fn a_snapshot_keeps_everything_and_a_restore_brings_it_back() {
    let scratch = tempfile::tempdir().unwrap();
    let volume = volume(scratch.path()).label("purpose", "test").create().unwrap();
    let details = volume.inspect().unwrap();
    assert_eq!(details.labels["purpose"], "test");
    various(&details.path);
    fs::remove_file(details.path.join("socket")).unwrap();
    let before = listing(&details.path);
    drop(std::os::unix::net::UnixListener::bind(details.path.join("socket")).unwrap());
    let snapshot = volume.snapshot("before").unwrap();
    assert_eq!((snapshot.sockets, snapshot.entries), (1, 7));
    assert_eq!(volume.snapshot("before").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(volume.snapshots().unwrap(), [snapshot]);

    fs::remove_dir_all(details.path.join("deep")).unwrap();
    fs::write(details.path.join("link2"), "other").unwrap();
    volume.restore("before").unwrap();
    // The socket's removal changes the time of the top alone.
    let strip = |text: &str| text.lines().filter(|line| !line.ends_with(" .  ")).collect::<Vec<_>>().join("\n");
    assert_eq!(strip(&listing(&details.path)), strip(&before));
    let xattr = |name: &str, key| {
        let directory = fs::File::open(&details.path).unwrap();
        crate::kernel::get_xattr_at(std::os::fd::AsFd::as_fd(&directory), name.as_ref(), key).unwrap().unwrap()
    };
    assert_eq!(xattr("same", c"user.note"), b"x");
    assert_eq!(xattr("deep", c"user.note"), b"y");
    assert_eq!(xattr("link", c"trusted.note"), b"z");
    assert!(fs::metadata(details.path.join("sparse")).unwrap().blocks() < 2048, "the holes were filled");

    volume.remove_snapshot("before").unwrap();
    assert_eq!(volume.restore("before").unwrap_err().kind(), ErrorKind::NotFound);
    volume.remove().unwrap();
    assert!(!volume.exists().unwrap());
    assert_eq!(volume.remove().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(fs::read_dir(scratch.path().join("root/tmp")).unwrap().count(), 0);
}

#[test]
fn a_mounted_volume_is_not_removed_copied_or_exchanged() {
    let scratch = tempfile::tempdir().unwrap();
    let volume = volume(scratch.path()).create().unwrap();
    volume.snapshot("empty").unwrap();
    let store = Store::open(&scratch.path().join("root"), &scratch.path().join("run")).unwrap();
    let view = crate::store::MergedView::new(&[], None);
    let held = mount(&store, volume.name(), &view, Path::new("/data")).unwrap();
    let duplicate = held.held.try_clone().unwrap();
    drop(held);
    for refused in [volume.remove(), volume.restore("empty"), volume.snapshot("late").map(drop)] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InUse);
    }
    drop(duplicate);
    volume.restore("empty").unwrap();
    volume.remove().unwrap();
}

#[test]
fn an_empty_volume_takes_over_what_the_image_has() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(&scratch.path().join("root"), &scratch.path().join("run")).unwrap();
    let (lower, upper) = (scratch.path().join("lower"), scratch.path().join("upper"));
    for layer in [&lower, &upper] {
        fs::create_dir_all(layer.join("var/lib/db")).unwrap();
    }
    fs::write(lower.join("var/lib/db/old"), "old").unwrap();
    fs::write(lower.join("var/lib/db/gone"), "gone").unwrap();
    let whiteout = upper.join("var/lib/db/gone");
    nix::sys::stat::mknod(&whiteout, nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::empty(), 0).unwrap();
    fs::create_dir(upper.join("var/lib/db/sub")).unwrap();
    fs::write(upper.join("var/lib/db/sub/new"), "new").unwrap();
    std::os::unix::fs::symlink("/../../etc", upper.join("var/lib/db/out")).unwrap();
    std::os::unix::fs::symlink("lib/db", upper.join("var/database")).unwrap();
    std::os::unix::fs::chown(upper.join("var/lib/db"), Some(999), Some(998)).unwrap();
    fs::set_permissions(upper.join("var/lib/db"), fs::Permissions::from_mode(0o700)).unwrap();
    let view = crate::store::MergedView::new(&[lower, upper], None);
    let held = mount(&store, &"db".parse().unwrap(), &view, Path::new("/var/database")).unwrap();
    let metadata = fs::metadata(&held.path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (999, 998, 0o700));
    assert_eq!(fs::read_to_string(held.path.join("old")).unwrap(), "old");
    assert_eq!(fs::read_to_string(held.path.join("sub/new")).unwrap(), "new");
    assert!(!held.path.join("gone").exists());
    assert_eq!(fs::read_link(held.path.join("out")).unwrap(), Path::new("/../../etc"));
    // What is there is left alone.
    fs::remove_file(held.path.join("old")).unwrap();
    drop(held);
    let held = mount(&store, &"db".parse().unwrap(), &view, Path::new("/var/lib/db")).unwrap();
    assert!(!held.path.join("old").exists());
}

#[test]
fn many_mount_and_remove_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let layer = scratch.path().join("layer");
    fs::create_dir_all(layer.join("data")).unwrap();
    fs::write(layer.join("data/file"), "content").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // As another process would: with a store and locks of its own.
                let volume = volume(scratch.path());
                let store = Store::open(&scratch.path().join("root"), &scratch.path().join("run")).unwrap();
                let view = crate::store::MergedView::new(std::slice::from_ref(&layer), None);
                for _ in 0..30 {
                    let held = mount(&store, volume.name(), &view, Path::new("/data")).unwrap();
                    assert_eq!(fs::read_to_string(held.path.join("file")).unwrap(), "content");
                    drop(held);
                    match volume.remove() {
                        Err(error) if ![ErrorKind::InUse, ErrorKind::NotFound].contains(&error.kind()) => {
                            panic!("{error}")
                        }
                        _ => {}
                    }
                }
            });
        }
    });
}

#[test]
fn rootless_volumes_are_copied_restored_and_removed_too() {
    let scratch = tempfile::tempdir().unwrap();
    let volume = volume(scratch.path()).create().unwrap();
    let data = volume.inspect().unwrap().path;
    fs::create_dir_all(data.join("closed/inner")).unwrap();
    fs::write(data.join("closed/inner/file"), "content").unwrap();
    fs::hard_link(data.join("closed/inner/file"), data.join("same")).unwrap();
    std::os::unix::fs::symlink("/etc", data.join("link")).unwrap();
    fs::set_permissions(data.join("closed/inner/file"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(data.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o555)).unwrap();
    let before = listing(&data);
    volume.snapshot("before").unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(data.join("same")).unwrap();
    volume.restore("before").unwrap();
    assert_eq!(listing(&data), before);
    volume.restore("before").unwrap();
    volume.remove().unwrap();
    assert_eq!(fs::read_dir(scratch.path().join("root/tmp")).unwrap().count(), 0);
}
