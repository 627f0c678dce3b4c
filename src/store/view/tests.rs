//! The view against an overlay mount of the same layers.

use super::*;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs;
use std::os::unix::fs::symlink;

/// Three layers in which every rule has a case; lowest first.
fn layers(scratch: &Path) -> Vec<PathBuf> {
    let layers: Vec<PathBuf> = ["low", "middle", "high"].iter().map(|name| scratch.join(name)).collect();
    for layer in &layers {
        fs::create_dir_all(layer.join("usr/bin")).unwrap();
    }
    let [low, middle, high] = [&layers[0], &layers[1], &layers[2]];
    symlink("usr/bin", low.join("bin")).unwrap();
    symlink("/../../../../usr/bin/tool", low.join("far")).unwrap();
    symlink("loop", low.join("loop")).unwrap();
    for (layer, path) in [(low, "tool"), (low, "gone"), (middle, "extra"), (high, "again"), (low, "again")] {
        fs::write(layer.join("usr/bin").join(path), layer.file_name().unwrap().as_bytes()).unwrap();
    }
    fs::create_dir_all(low.join("opaque/below")).unwrap();
    fs::create_dir_all(middle.join("opaque/own")).unwrap();
    fs::create_dir_all(low.join("hidden/dir")).unwrap();
    fs::create_dir_all(high.join("hidden")).unwrap();
    fs::write(middle.join("hidden"), "a file between two directories").unwrap();
    fs::create_dir_all(low.join("flat/dir")).unwrap();
    fs::write(high.join("flat"), "flat").unwrap();
    for path in ["usr/bin/gone", "nowhere"] {
        let mode = nix::sys::stat::SFlag::S_IFCHR;
        nix::sys::stat::mknod(&high.join(path), mode, Mode::empty(), 0).unwrap();
    }
    let opaque = File::open(middle.join("opaque")).unwrap();
    crate::kernel::set_xattr(opaque.as_fd(), c"trusted.overlay.opaque", b"y").unwrap();
    layers
}

#[test]
fn links_stay_in_the_view() {
    let scratch = tempfile::tempdir().unwrap();
    let view = MergedView::new(&layers(scratch.path()), None);
    let read = |path: &str| view.read(Path::new(path), 100).unwrap().map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(read("/bin/tool").as_deref(), Some("low"));
    assert_eq!(read("bin/../../usr/bin/again").as_deref(), Some("high"));
    assert_eq!(read("far").as_deref(), Some("low"));
    assert_eq!(read("bin/gone"), None);
    assert_eq!(read("flat/dir"), None);
    assert_eq!(view.resolve(Path::new("/bin/extra")).unwrap().unwrap(), Path::new("/usr/bin/extra"));
    assert_eq!(view.resolve(Path::new("/")).unwrap().unwrap(), Path::new("/"));
    assert_eq!(view.read_link(Path::new("bin")).unwrap().unwrap(), Path::new("usr/bin"));
    assert_eq!(view.symlink_metadata(Path::new("bin")).unwrap().unwrap().kind, EntryKind::Symlink);
    assert_eq!(view.metadata(Path::new("bin")).unwrap().unwrap().kind, EntryKind::Directory);
    assert_eq!(view.metadata(Path::new("loop")).unwrap_err().errno(), Some(libc::ELOOP));
    assert_eq!(view.read(Path::new("usr"), 1).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(view.read(Path::new("flat"), 3).unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(MergedView::new(&[], None).read_dir(Path::new("/")).unwrap().unwrap(), []);
}

#[test]
fn the_view_is_what_the_kernel_shows() {
    let scratch = tempfile::tempdir().unwrap();
    let layers = layers(scratch.path());
    let view = MergedView::new(&layers[..2], Some(&layers[2]));
    let mut seen = Vec::new();
    view.walk(Path::new("/"), &mut |path, metadata| {
        seen.push((path.to_owned(), metadata.kind, metadata.mode));
        Ok(())
    })
    .unwrap();
    let target = scratch.path().join("merged");
    fs::create_dir(&target).unwrap();
    let expected = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let lower: Vec<_> = layers.iter().rev().map(|layer| layer.to_str().unwrap()).collect();
        let options = format!("lowerdir={}", lower.join(":"));
        mount(Some("overlay"), &target, Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap();
        let plain = MergedView::new(&[target], None);
        let mut expected = Vec::new();
        plain
            .walk(Path::new("/"), &mut |path, metadata| {
                expected.push((path.to_owned(), metadata.kind, metadata.mode));
                Ok(())
            })
            .unwrap();
        expected
    });
    assert_eq!(seen, expected.join().unwrap());
}
