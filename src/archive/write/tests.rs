//! What is written is what was there, and what is extracted is what was written.

use super::super::*;
use crate::Digest;
use crate::kernel::{list_xattrs_at, set_xattr, set_xattr_at};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid};
use proptest::prelude::*;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

fn pack(tree: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    write_layer(File::open(tree).unwrap().as_fd(), &mut bytes).unwrap();
    bytes
}

fn unpack(bytes: &[u8], into: &Path) {
    fs::create_dir(into).unwrap();
    extract(bytes, File::open(into).unwrap().as_fd(), &ExtractOptions::default()).unwrap();
}

/// Everything that must survive, as text, one line per file.
fn describe(tree: &Path) -> String {
    let mut text = String::new();
    let mut pending = vec![PathBuf::new()];
    let mut inodes = std::collections::HashMap::new();
    while let Some(path) = pending.pop() {
        let directory = File::open(tree.join(&path)).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(tree.join(&path)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            let full = tree.join(&path).join(&name);
            let stat = fs::symlink_metadata(&full).unwrap();
            let relative = path.join(&name);
            write!(text, "{relative:?} {:o} {}:{} {:x}", stat.mode(), stat.uid(), stat.gid(), stat.rdev()).unwrap();
            if stat.rdev() != 0 || stat.mode() & libc::S_IFMT != libc::S_IFCHR {
                write!(text, " {}.{:09}", stat.mtime(), stat.mtime_nsec()).unwrap();
            }
            if stat.is_file() {
                let first = inodes.entry(stat.ino()).or_insert_with(|| relative.clone());
                write!(text, " {first:?} {:?}", Digest::of(&fs::read(&full).unwrap())).unwrap();
            } else if stat.is_symlink() {
                write!(text, " -> {:?}", fs::read_link(&full).unwrap()).unwrap();
            } else if stat.is_dir() {
                pending.push(relative);
            }
            let mut xattrs = list_xattrs_at(directory.as_fd(), &name).unwrap();
            xattrs.sort();
            for key in xattrs {
                let value = crate::kernel::get_xattr_at(directory.as_fd(), &name, &key).unwrap();
                write!(text, " {key:?}={value:?}").unwrap();
            }
            text.push('\n');
        }
    }
    text
}

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>),
    Directory { opaque: bool },
    Symlink(String),
    HardLink,
    Whiteout,
    Device(u8, u8),
    Fifo,
}

/// A name, what it is, its mode, owner, time in seconds and nanoseconds, and whether it has attributes.
type Planted = (Vec<u8>, Node, u16, u32, i64, u32, bool);

fn nodes() -> impl Strategy<Value = Vec<Planted>> {
    let node = prop_oneof![
        4 => proptest::collection::vec(any::<u8>(), 0..1500).prop_map(Node::File),
        4 => any::<bool>().prop_map(|opaque| Node::Directory { opaque }),
        1 => "[a-z./]{1,150}".prop_map(Node::Symlink),
        2 => Just(Node::HardLink),
        1 => Just(Node::Whiteout),
        1 => (1u8.., any::<u8>()).prop_map(|(major, minor)| Node::Device(major, minor)),
        1 => Just(Node::Fifo),
    ];
    let name = proptest::collection::vec(prop_oneof![b'a'..=b'e', Just(0xffu8), Just(b' ')], 1..130);
    let time = prop_oneof![0i64..2_000_000_000, -1000i64..0, Just(8_589_934_592i64)];
    let nanoseconds = prop_oneof![Just(0u32), 0u32..1_000_000_000];
    let owner = prop_oneof![0u32..100_000, Just(4_000_000_000)];
    proptest::collection::vec((name, node, 0u16..0o10000, owner, time, nanoseconds, any::<bool>()), 0..25)
}

/// Makes the nodes; every second directory becomes the place of what follows.
fn plant(tree: &Path, nodes: &[Planted]) {
    use std::os::unix::ffi::OsStrExt;
    let (mut places, mut files, mut made) = (vec![tree.to_owned()], Vec::new(), Vec::new());
    for (index, (name, node, mode, owner, time, nanoseconds, attribute)) in nodes.iter().enumerate() {
        let place = places[index % places.len()].clone();
        let path = place.join(OsStr::from_bytes(name));
        if fs::symlink_metadata(&path).is_ok() || matches!(name.as_slice(), b"." | b"..") {
            continue;
        }
        let directory = File::open(&place).unwrap();
        let name = OsStr::from_bytes(name);
        match node {
            Node::File(content) => {
                fs::write(&path, content).unwrap();
                files.push(path.clone());
            }
            Node::Directory { opaque } => {
                fs::create_dir(&path).unwrap();
                if *opaque {
                    set_xattr(File::open(&path).unwrap().as_fd(), c"trusted.overlay.opaque", b"y").unwrap();
                }
                places.push(path.clone());
            }
            Node::Symlink(target) => symlink(target, &path).unwrap(),
            Node::HardLink => {
                if let Some(first) = files.first() {
                    fs::hard_link(first, &path).unwrap();
                }
                continue;
            }
            Node::Whiteout => {
                mknodat(&directory, name, SFlag::S_IFCHR, Mode::empty(), 0).unwrap();
                continue;
            }
            Node::Device(major, minor) => {
                let device = makedev(u64::from(*major), u64::from(*minor));
                mknodat(&directory, name, SFlag::S_IFBLK, Mode::empty(), device).unwrap();
            }
            Node::Fifo => nix::unistd::mkfifoat(&directory, name, Mode::S_IRWXU).unwrap(),
        }
        let is_plain = matches!(node, Node::File(_) | Node::Directory { .. });
        if *attribute && is_plain {
            set_xattr_at(directory.as_fd(), name, c"user.note", b"a\nb\0c").unwrap();
        }
        made.push((path, *mode, *owner, (*time, *nanoseconds), matches!(node, Node::Symlink(_))));
    }
    for (path, mode, owner, (seconds, nanoseconds), is_symlink) in made.iter().rev() {
        lchown(path, Some(*owner), Some(owner / 2)).unwrap();
        if !is_symlink {
            fs::set_permissions(path, fs::Permissions::from_mode(u32::from(*mode))).unwrap();
        }
        let time = TimeSpec::new(*seconds, i64::from(*nanoseconds));
        utimensat(nix::fcntl::AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_survives_the_archive(nodes in nodes()) {
        let scratch = tempfile::tempdir().unwrap();
        let (tree, again) = (scratch.path().join("tree"), scratch.path().join("again"));
        fs::create_dir(&tree).unwrap();
        plant(&tree, &nodes);
        let bytes = pack(&tree);
        unpack(&bytes, &again);
        prop_assert_eq!(describe(&tree), describe(&again));
        prop_assert_eq!(pack(&again), bytes);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let mut archive = TarReader::new(bytes.as_slice(), Budget::default());
        while let Ok(Some(_)) = archive.next_member() {}
    }
}

#[test]
fn gnu_tar_reads_what_is_written() {
    let scratch = tempfile::tempdir().unwrap();
    let tree = scratch.path().join("tree");
    fs::create_dir_all(tree.join("d").join("e".repeat(150))).unwrap();
    fs::write(tree.join("d").join("e".repeat(150)).join("f".repeat(120)), "content").unwrap();
    fs::hard_link(tree.join("d").join("e".repeat(150)).join("f".repeat(120)), tree.join("z")).unwrap();
    lchown(tree.join("d"), Some(Uid::from_raw(3_000_000).as_raw()), Some(Gid::from_raw(5).as_raw())).unwrap();
    fs::write(scratch.path().join("tree.tar"), pack(&tree)).unwrap();
    fs::create_dir(scratch.path().join("again")).unwrap();
    let status = std::process::Command::new("tar")
        .args(["-xpf", "tree.tar", "--same-owner", "--numeric-owner", "-C", "again"])
        .current_dir(scratch.path())
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(describe(&tree), describe(&scratch.path().join("again")));
}

#[test]
fn names_that_look_like_whiteouts_and_half_files_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join(".wh.real"), "").unwrap();
    let tree = File::open(scratch.path()).unwrap();
    let error = write_layer(tree.as_fd(), std::io::sink()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    fs::rename(scratch.path().join(".wh.real"), scratch.path().join("real")).unwrap();
    set_xattr_at(tree.as_fd(), OsStr::new("real"), c"trusted.overlay.metacopy", b"").unwrap();
    assert_eq!(write_layer(tree.as_fd(), std::io::sink()).unwrap_err().kind(), ErrorKind::Unsupported);
}
