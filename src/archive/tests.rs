//! Archives made to do harm, and the meaning of whiteouts.

use super::*;
use crate::kernel::{get_xattr, get_xattr_at};
use crate::{Error, Result};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use tar::{EntryType, Header};

/// An archive in the making, with headers that the tar crate's own writer would refuse.
#[derive(Default)]
pub(super) struct Archive(Vec<u8>);

impl Archive {
    fn add(mut self, kind: EntryType, name: &[u8], link: &[u8], content: &[u8]) -> Archive {
        self.header(kind, name, link, content.len() as u64);
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn header(&mut self, kind: EntryType, name: &[u8], link: &[u8], size: u64) {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1000);
        header.set_size(size);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
    }

    fn file(self, name: &str, content: &str) -> Archive {
        self.add(EntryType::Regular, name.as_bytes(), b"", content.as_bytes())
    }

    fn directory(self, name: &str) -> Archive {
        self.add(EntryType::Directory, name.as_bytes(), b"", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Archive {
        self.add(EntryType::Symlink, name.as_bytes(), target.as_bytes(), b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Archive {
        self.add(EntryType::Link, name.as_bytes(), target.as_bytes(), b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Archive {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions(records.iter().copied()).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(bytes.len() - 1024);
        Archive([self.0, bytes].concat())
    }

    fn device(mut self, name: &str, kind: EntryType, major: u32, minor: u32) -> Archive {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_path(name).unwrap();
        header.set_mode(0o620);
        for set in [Header::set_uid, Header::set_gid, Header::set_mtime, Header::set_size] {
            set(&mut header, 0);
        }
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self
    }

    pub(super) fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// Extracts into a fresh directory beside a file `secret` that must stay as it is.
    fn extract(self) -> (tempfile::TempDir, Result<Summary>) {
        extract_bytes(&self.end())
    }

    fn refused(self, why: &str) {
        let (scratch, result) = self.extract();
        let error = result.expect_err(why);
        assert!(error.to_string().contains(why), "{error} should say {why:?}");
        assert_eq!(fs::read(scratch.path().join("secret")).unwrap(), b"secret");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 2, "something was made outside");
    }
}

fn extract_bytes(bytes: &[u8]) -> (tempfile::TempDir, Result<Summary>) {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("secret"), "secret").unwrap();
    fs::create_dir(scratch.path().join("into")).unwrap();
    let into = File::open(scratch.path().join("into")).unwrap();
    let result = extract(bytes, into.as_fd(), &ExtractOptions::default());
    (scratch, result)
}

fn is_opaque(path: &Path) -> bool {
    Overlay::Trusted.is_opaque(File::open(path).unwrap().as_fd()).unwrap()
}

fn is_hidden(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_char_device() && it.rdev() == 0)
}

#[test]
fn names_that_lead_out_are_refused() {
    Archive::default().file("../secret", "x").refused("leads out of the archive");
    Archive::default().file("a/../../secret", "x").refused("leads out of the archive");
    Archive::default().directory("..").refused("leads out of the archive");
    Archive::default().pax(&[("path", b"../secret")]).file("a", "x").refused("leads out of the archive");
    Archive::default().pax(&[("path", b"a\0b")]).file("a", "x").refused("malformed value");
    Archive::default().file("", "x").refused("empty or overlong name");
    Archive::default().symlink("./.", "x").refused("is no directory");
}

#[test]
fn absolute_names_mean_the_root_of_the_archive() {
    let (scratch, result) = Archive::default().file("/etc/passwd", "x").extract();
    assert_eq!(result.unwrap().entries, 1);
    assert_eq!(fs::read(scratch.path().join("into/etc/passwd")).unwrap(), b"x");
}

#[test]
fn symbolic_links_lead_nowhere_but_inside() {
    for target in ["..", "/", "../../../..", "/.."] {
        let (scratch, result) = Archive::default().symlink("a", target).file("a/secret", "inside").extract();
        result.unwrap();
        assert_eq!(fs::read(scratch.path().join("secret")).unwrap(), b"secret");
        assert_eq!(fs::read(scratch.path().join("into/secret")).unwrap(), b"inside");
    }
    // A final link is replaced, never followed.
    let (scratch, result) = Archive::default().symlink("a", "../secret").file("a", "own").extract();
    result.unwrap();
    assert_eq!(fs::read(scratch.path().join("into/a")).unwrap(), b"own");
    assert_eq!(fs::read(scratch.path().join("secret")).unwrap(), b"secret");
    Archive::default().symlink("a", "b").symlink("b", "a").file("a/x", "x").refused("too many symbolic links");
    Archive::default().file("a", "x").file("a/b", "x").refused("below a file");
}

#[test]
fn members_behind_a_link_of_the_layer_go_to_its_target() {
    let archive = Archive::default().symlink("bin", "usr/bin").file("bin/sh", "shell").directory("usr/");
    let (scratch, result) = archive.directory("usr/bin/").file("bin/ls", "list").extract();
    result.unwrap();
    let into = scratch.path().join("into");
    assert!(fs::symlink_metadata(into.join("bin")).unwrap().is_symlink());
    assert_eq!(fs::read(into.join("usr/bin/sh")).unwrap(), b"shell");
    assert_eq!(fs::read(into.join("usr/bin/ls")).unwrap(), b"list");
    assert_eq!(fs::metadata(into.join("usr")).unwrap().mtime(), 1000);
}

#[test]
fn hard_links_stay_inside() {
    Archive::default().hard_link("a", "../secret").refused("leads out of the archive");
    Archive::default().hard_link("a", "/secret").refused("not in the archive before it");
    Archive::default().symlink("l", "..").hard_link("a", "l/secret").refused("not in the archive before it");
    Archive::default().directory("d").hard_link("a", "d").refused("is no file");
    Archive::default().file(".wh.gone", "").hard_link("a", "gone").refused("is no file");
    Archive::default().hard_link("a", "a").refused("not in the archive before it");
    // A link to a link is one to the link itself: writing through it replaces it.
    let (scratch, result) = Archive::default().symlink("l", "../secret").hard_link("a", "l").file("a", "own").extract();
    result.unwrap();
    assert_eq!(fs::read(scratch.path().join("secret")).unwrap(), b"secret");
    let (scratch, result) =
        Archive::default().file("one", "x").hard_link("two", "/one").hard_link("two", "one").extract();
    result.unwrap();
    assert_eq!(fs::metadata(scratch.path().join("into/two")).unwrap().nlink(), 2);
}

#[test]
fn an_archive_has_one_meaning() {
    // The PAX size wins: what a reader of the header alone takes for a member is content.
    let inner = Archive::default().file("smuggled", "").0;
    let mut archive = Archive::default().pax(&[("size", b"512")]);
    archive.header(EntryType::Regular, b"outer", b"", 0);
    archive.0.extend_from_slice(&inner);
    let (scratch, result) = archive.extract();
    assert_eq!(result.unwrap().entries, 1);
    assert_eq!(fs::metadata(scratch.path().join("into/outer")).unwrap().len(), 512);
    Archive::default().pax(&[("size", b"0x")]).file("a", "x").refused("malformed value");
    let pax = [("path", &b"b"[..])];
    Archive::default().pax(&pax).pax(&pax).file("a", "x").refused("two extended headers");
    Archive::default().pax(&pax).refused("ends after an extended header");
    Archive::default().add(EntryType::XGlobalHeader, b"g", b"", b"10 path=x\n").refused("global PAX header");
    Archive::default().add(EntryType::Symlink, b"a", b"b", b"content").refused("has content but is no file");
    Archive::default().add(EntryType::new(b'Z'), b"a", b"", b"").refused("unknown type");
    Archive::default().add(EntryType::GNUSparse, b"a", b"", b"").refused("sparse file");
    Archive::default().pax(&[("GNU.sparse.realsize", b"99999999999999")]).file("a", "").refused("sparse file");
    let (_scratch, result) =
        extract_bytes(&[Archive::default().end(), Archive::default().file("a", "x").end()].concat());
    assert!(result.unwrap_err().to_string().contains("goes on after its end"));
}

#[test]
fn damage_is_an_error() {
    let whole = Archive::default().file("a", "content").end();
    for length in [100, 512, 515, 600, 1023] {
        assert_eq!(extract_bytes(&whole[..length]).1.unwrap_err().kind(), ErrorKind::Corrupt, "{length}");
    }
    let mut turned = whole.clone();
    turned[0] ^= 1;
    assert!(extract_bytes(&turned).1.unwrap_err().to_string().contains("checksum"));
    let mut huge = Archive::default();
    huge.header(EntryType::Regular, b"a", b"", 1 << 32);
    assert_eq!(extract_bytes(&huge.end()).1.unwrap_err().kind(), ErrorKind::Corrupt);
    Archive::default().pax(&[("size", b"18446744073709551615")]).file("a", "x").refused("ends within");
    Archive::default().pax(&[("uid", b"4294967295")]).file("a", "x").refused("owner out of range");
    Archive::default().pax(&[("gid", b"4294967296")]).file("a", "x").refused("owner out of range");
}

fn with_budget(bytes: impl Read, budget: Budget) -> Error {
    let scratch = tempfile::tempdir().unwrap();
    let into = File::open(scratch.path()).unwrap();
    let options = ExtractOptions { budget, ..ExtractOptions::default() };
    extract(bytes, into.as_fd(), &options).unwrap_err()
}

#[test]
fn bombs_are_cut() {
    let entry = Archive::default().directory("./").0;
    let error = with_budget(entry.repeat(1001).as_slice(), Budget { entries: 1000, ..Budget::default() });
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    let many = entry.repeat(1_000_001);
    let mut archive = TarReader::new(many.as_slice(), Budget::default());
    let count = std::iter::from_fn(|| archive.next_member().ok()).count();
    assert_eq!(count, 1_000_000);

    let mut zeros = compress_gzip(Vec::new());
    let mut archive = Archive::default();
    archive.header(EntryType::Regular, b"zeros", b"", 64 << 20);
    zeros.write_all(&archive.0).unwrap();
    zeros.write_all(&vec![0; 64 << 20]).unwrap();
    let zeros = zeros.finish().unwrap();
    let small = Budget { bytes: 1 << 20, ..Budget::of_compressed(zeros.len() as u64) };
    let error = with_budget(decompress(zeros.as_slice()).unwrap(), small);
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error}");
    assert_eq!(Budget::of_compressed(1000).bytes, (256 << 20) + 200_000);

    let deep = Archive::default().pax(&[("path", "d/".repeat(300).as_bytes())]).directory("d").end();
    assert_eq!(with_budget(deep.as_slice(), Budget::default()).kind(), ErrorKind::LimitExceeded);
    let mut extension = Archive::default();
    extension.header(EntryType::XHeader, b"x", b"", 1 << 30);
    assert_eq!(with_budget(extension.0.as_slice(), Budget::default()).kind(), ErrorKind::LimitExceeded);
}

#[test]
fn long_names_are_whole() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(255));
    let name = format!("{long}\0");
    let gnu =
        Archive::default().add(EntryType::GNULongName, b"././@LongLink", b"", name.as_bytes()).file("short", "gnu");
    let (scratch, result) = gnu.pax(&[("path", b"other")]).file("short", "pax").extract();
    result.unwrap();
    assert_eq!(fs::read(scratch.path().join("into").join(&long)).unwrap(), b"gnu");
    assert_eq!(fs::read(scratch.path().join("into/other")).unwrap(), b"pax");
    let too_long = "f".repeat(256);
    Archive::default().pax(&[("path", too_long.as_bytes())]).file("a", "x").refused("ENAMETOOLONG");
}

#[test]
fn the_last_of_two_members_counts() {
    let archive =
        Archive::default().file("a", "one").file("a", "two").directory("b").file("b/c", "x").file("b", "flat");
    let (scratch, result) = archive.symlink("s", "x").directory("s").file("s/y", "y").directory("s").extract();
    result.unwrap();
    let into = scratch.path().join("into");
    assert_eq!(fs::read(into.join("a")).unwrap(), b"two");
    assert_eq!(fs::read(into.join("b")).unwrap(), b"flat");
    assert_eq!(fs::read(into.join("s/y")).unwrap(), b"y");
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let archive = Archive::default().file(".wh.gone", "").file("d/.wh..wh..opq", "").file("e/.wh.x", "");
    let archive = archive.file("kept", "x").file(".wh.kept", "").file("dir/f", "x").file(".wh.dir", "");
    let archive = archive.file(".wh.late", "").file("late/f", "x").file(".wh.after", "").directory("after");
    let (scratch, result) = archive.file(".wh..wh.plnk", "").extract();
    assert_eq!(result.unwrap().dropped["marker of aufs"], 1);
    let into = scratch.path().join("into");
    assert!(is_hidden(&into.join("gone")) && is_hidden(&into.join("e/x")));
    assert!(is_opaque(&into.join("d")) && !is_opaque(&into.join("e")));
    assert_eq!(fs::read(into.join("kept")).unwrap(), b"x");
    for directory in ["dir", "late", "after"] {
        assert!(is_opaque(&into.join(directory)), "{directory}");
    }
    assert_eq!(fs::read(into.join("late/f")).unwrap(), b"x");
}

#[test]
fn whiteouts_cannot_be_abused() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh..."] {
        Archive::default().file(name, "").refused("names nothing");
    }
    Archive::default().file(".wh.a/b", "").refused("has members below it");
    Archive::default().device("a", EntryType::Char, 0, 0).refused("device 0:0");
    let (scratch, result) = Archive::default().symlink("l", "..").file("l/.wh.secret", "").extract();
    result.unwrap();
    assert!(is_hidden(&scratch.path().join("into/secret")));
    assert_eq!(fs::read(scratch.path().join("secret")).unwrap(), b"secret");
}

#[test]
fn attributes_of_the_overlay_do_not_pass() {
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let records: [(&str, &[u8]); 6] = [
        ("SCHILY.xattr.security.capability", &capability),
        ("SCHILY.xattr.user.note", b"kept"),
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("SCHILY.xattr.user.overlay.whiteout", b"y"),
        ("SCHILY.xattr.security.ima", b"x"),
    ];
    let (scratch, result) = Archive::default().pax(&records).file("ping", "x").extract();
    assert_eq!(result.unwrap().dropped["extended attribute that an image may not set"], 4);
    let into = File::open(scratch.path().join("into")).unwrap();
    let value = |key| get_xattr_at(into.as_fd(), OsStr::new("ping"), key).unwrap();
    assert_eq!(value(c"security.capability").unwrap(), capability);
    assert_eq!(value(c"user.note").unwrap(), b"kept");
    for key in [c"trusted.overlay.redirect", c"trusted.overlay.opaque", c"user.overlay.whiteout"] {
        assert_eq!(value(key), None);
    }
    assert_eq!(get_xattr(into.as_fd(), c"trusted.overlay.opaque").unwrap(), None);
}

#[test]
fn devices_and_set_user_id_bits_are_made() {
    let mut archive = Archive::default().device("null", EntryType::Char, 1, 3).device("disk", EntryType::Block, 7, 0);
    archive = archive.add(EntryType::Fifo, b"pipe", b"", b"");
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_path("su").unwrap();
    header.set_mode(0o4755);
    header.set_uid(7);
    header.set_gid(8);
    header.set_mtime(1_000_000_000);
    header.set_size(0);
    header.set_cksum();
    archive.0.extend_from_slice(header.as_bytes());
    let (scratch, result) = archive.extract();
    result.unwrap();
    let stat = |name: &str| fs::symlink_metadata(scratch.path().join("into").join(name)).unwrap();
    assert!(stat("null").file_type().is_char_device() && stat("null").rdev() == nix::sys::stat::makedev(1, 3));
    assert!(stat("disk").file_type().is_block_device() && stat("pipe").file_type().is_fifo());
    assert_eq!(stat("null").permissions().mode() & 0o7777, 0o620);
    let su = stat("su");
    assert_eq!((su.mode() & 0o7777, su.uid(), su.gid(), su.mtime()), (0o4755, 7, 8, 1_000_000_000));
}
