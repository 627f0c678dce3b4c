use super::*;
use crate::kernel::set_xattr;
use crate::spec::{ImageConfig, Manifest};
use crate::{Platform, Reference};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

fn store() -> (tempfile::TempDir, Store) {
    let scratch = tempfile::tempdir().unwrap();
    let store = Store::open(&scratch.path().join("root"), &scratch.path().join("run")).unwrap();
    (scratch, store)
}

fn count(store: &Store, directory: &str) -> usize {
    fs::read_dir(store.root().join(directory)).unwrap().count()
}

/// A layer with these files.
fn layer(store: &Store, files: &[(&str, &[u8])]) -> CommittedLayer {
    let tree = store.layers().stage_tree().unwrap();
    for (path, content) in files {
        let path = tree.upper().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    store.layers().commit(tree).unwrap().unwrap()
}

fn forget(store: &Store, diff_id: &Digest) {
    fs::remove_dir_all(store.layers().home(diff_id)).unwrap();
}

#[test]
fn a_committed_layer_unpacks_to_the_same_files() {
    let (_scratch, store) = store();
    let made = layer(&store, &[("etc/motd", b"hello"), ("bin/sh", b"#!")]);
    assert!(store.layers().contains(&made.diff_id) && store.blobs().contains(&made.descriptor.digest));
    let again = layer(&store, &[("etc/motd", b"hello")]);
    assert_ne!(made.diff_id, again.diff_id);
    forget(&store, &made.diff_id);
    store.layers().unpack(&made.descriptor, &made.diff_id).unwrap();
    store.layers().unpack(&made.descriptor, &made.diff_id).unwrap();
    assert_eq!(fs::read(store.layers().path(&made.diff_id).join("etc/motd")).unwrap(), b"hello");
    assert_eq!(count(&store, "tmp"), 0);
    assert_eq!(count(&store, "leases"), 0);
}

#[test]
fn an_untouched_snapshot_is_no_layer() {
    let (_scratch, store) = store();
    let base = layer(&store, &[("a", b"x")]);
    let snapshot = store.layers().snapshot(&[base.diff_id]).unwrap();
    assert_eq!(snapshot.view().read(Path::new("a"), 10).unwrap().unwrap(), b"x");
    assert_eq!(store.layers().commit(snapshot).unwrap(), None);
    assert_eq!(count(&store, "tmp"), 0);
    let missing = Digest::of(b"missing");
    assert_eq!(store.layers().snapshot(&[missing]).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn content_that_is_not_what_the_configuration_says_stays_out() {
    let (_scratch, store) = store();
    let made = layer(&store, &[("a", b"x")]);
    let wrong = Digest::of(b"wrong");
    let error = store.layers().unpack(&made.descriptor, &wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = store.blobs().put(b"not an archive at all").unwrap();
    let descriptor = Descriptor::new(MediaType::LAYER, text, 21);
    assert_eq!(store.layers().unpack(&descriptor, &wrong).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!((count(&store, "tmp"), count(&store, "layers")), (0, 1));
}

#[test]
fn layers_below_an_opaque_root_are_left_out() {
    let (_scratch, store) = store();
    let low = layer(&store, &[("low", b"x")]);
    let tree = store.layers().stage_tree().unwrap();
    fs::write(tree.upper().join("high"), "x").unwrap();
    set_xattr(File::open(tree.upper()).unwrap().as_fd(), c"trusted.overlay.opaque", b"y").unwrap();
    let high = store.layers().commit(tree).unwrap().unwrap();
    for unpacked_again in [false, true] {
        if unpacked_again {
            forget(&store, &high.diff_id);
            store.layers().unpack(&high.descriptor, &high.diff_id).unwrap();
        }
        let snapshot = store.layers().snapshot(&[low.diff_id, high.diff_id]).unwrap();
        assert_eq!(snapshot.lower(), [store.layers().path(&high.diff_id)]);
    }
}

#[test]
fn an_image_is_unpacked_and_its_garbage_collected() {
    let (_scratch, store) = store();
    let layers = [layer(&store, &[("a", b"1"), ("b", b"1")]), layer(&store, &[("b", b"2")])];
    let mut config = ImageConfig::new(&Platform::host());
    config.rootfs.diff_ids = layers.iter().map(|layer| layer.diff_id).collect();
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MediaType::MANIFEST.to_owned()),
        config: Descriptor::new(MediaType::CONFIG, store.blobs().put(&config).unwrap(), config.len() as u64),
        layers: layers.iter().map(|layer| layer.descriptor.clone()).collect(),
        annotations: Default::default(),
        other: Default::default(),
    };
    let manifest = serde_json::to_vec(&manifest).unwrap();
    let descriptor = Descriptor::new(MediaType::MANIFEST, store.blobs().put(&manifest).unwrap(), manifest.len() as u64);
    let name: Reference = "shop/web:1".parse().unwrap();
    store.images().tag(&name, &descriptor).unwrap();
    forget(&store, &layers[0].diff_id);
    let image = store.images().get(&name).unwrap();
    let paths = store.layers().ensure_image(&image).unwrap();
    let view = store.layers().view(&paths, None);
    assert_eq!(view.read(Path::new("/b"), 10).unwrap().unwrap(), b"2");
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(store.collect_garbage().unwrap(), Default::default());
    let kept = store.root().join("containers/one");
    fs::create_dir_all(&kept).unwrap();
    let snapshot = store.layers().snapshot(&image.config.rootfs.diff_ids).unwrap().into_kept(&kept).unwrap();
    assert!(snapshot.upper.is_dir() && snapshot.work.is_dir());
    let pin = "container-one".parse().unwrap();
    store.pins().hold(&pin, &image.config.rootfs.diff_ids).unwrap();
    assert!(store.images().untag(&name).unwrap());
    std::thread::sleep(std::time::Duration::from_millis(20));
    let collected = store.collect_garbage().unwrap();
    assert_eq!((collected.blobs, collected.layers), (4, 0));
    let view = super::super::MergedView::new(&snapshot.lower, Some(&snapshot.upper));
    assert_eq!(view.read(Path::new("/a"), 10).unwrap().unwrap(), b"1");
    store.pins().release(&pin).unwrap();
    assert_eq!(store.collect_garbage().unwrap().layers, 2);
    assert_eq!((count(&store, "tmp"), count(&store, "layers"), count(&store, "blobs/sha256")), (0, 0, 0));
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("small");
    fs::create_dir(&root).unwrap();
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        let options = Some("size=2m,nr_inodes=200");
        mount(Some("tmpfs"), &root, Some("tmpfs"), MsFlags::empty(), options).unwrap();
        let store = Store::open(&root.join("store"), &root.join("run")).unwrap();
        let big = archive_of_zeros(8 << 20);
        let blob = store.blobs().put(&big).unwrap();
        let descriptor = Descriptor::new(MediaType::LAYER_GZIP, blob, big.len() as u64);
        let error = store.layers().unpack(&descriptor, &Digest::of(b"any")).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::ResourceExhausted, Some(libc::ENOSPC)));
        let text = error.to_string();
        assert!(text.contains("unpack layer") && text.contains("zeros") && text.contains("make room on"), "{text}");
        assert_eq!((count(&store, "tmp"), count(&store, "layers")), (0, 0));
        let mut writer = store.blobs().write().unwrap();
        assert!(io::copy(&mut io::repeat(7).take(8 << 20), &mut writer).is_err());
        drop(writer);
        assert_eq!(count(&store, "tmp"), 0);
        store.blobs().put(&[7; 1 << 20]).unwrap();
    })
    .join()
    .unwrap();
}

fn archive_of_zeros(size: u64) -> Vec<u8> {
    let mut builder = tar::Builder::new(archive::compress_gzip(Vec::new()));
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    for set in [tar::Header::set_uid, tar::Header::set_gid, tar::Header::set_mtime] {
        set(&mut header, 0);
    }
    header.set_size(size);
    header.set_path("zeros").unwrap();
    header.set_cksum();
    builder.append(&header, io::repeat(0).take(size)).unwrap();
    builder.into_inner().unwrap().finish().unwrap()
}

/// In a user namespace that maps nobody, this process is neither root nor may it do anything but own its files.
#[test]
fn an_ordinary_user_has_layers_too() {
    const ROOT: &str = "CORACLE_ORDINARY_ROOT";
    let Some(root) = std::env::var_os(ROOT) else {
        let scratch = tempfile::tempdir().unwrap();
        let output = std::process::Command::new("unshare")
            .arg("--user")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "store::layer::tests::an_ordinary_user_has_layers_too"])
            .env(ROOT, scratch.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(scratch.path().join("done").exists());
        return;
    };
    let root = PathBuf::from(root);
    assert_ne!(nix::unistd::geteuid().as_raw(), 0);
    let store = Store::open(&root.join("store"), &root.join("run")).unwrap();
    let low = layer(&store, &[("a", b"1"), ("d/b", b"2"), ("e/c", b"3")]);
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, mode) in [
        ("closed/", tar::EntryType::Directory, 0o500),
        ("closed/file", tar::EntryType::Regular, 0),
        ("null", tar::EntryType::Char, 0o666),
        (".wh.a", tar::EntryType::Regular, 0),
        ("d/.wh..wh..opq", tar::EntryType::Regular, 0),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).unwrap();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_device_major(1).unwrap();
        header.set_device_minor(3).unwrap();
        for set in [tar::Header::set_uid, tar::Header::set_gid, tar::Header::set_mtime, tar::Header::set_size] {
            set(&mut header, 0);
        }
        header.set_uid(33);
        header.set_cksum();
        builder.append(&header, io::empty()).unwrap();
    }
    let high = builder.into_inner().unwrap();
    let diff_id = store.blobs().put(&high).unwrap();
    store.layers().unpack(&Descriptor::new(MediaType::LAYER, diff_id, high.len() as u64), &diff_id).unwrap();
    let note = fs::read_to_string(store.layers().home(&diff_id).join("layer.json")).unwrap();
    assert!(note.contains(r#""dropped":{"device":1}"#), "{note}");
    let snapshot = store.layers().snapshot(&[low.diff_id, diff_id]).unwrap();
    let names: Vec<_> = snapshot.view().read_dir(Path::new("/")).unwrap().unwrap();
    let names: Vec<_> = names.iter().map(|entry| entry.name.to_str().unwrap()).collect();
    assert_eq!(names, ["closed", "d", "e"]);
    assert_eq!(snapshot.view().read_dir(Path::new("d")).unwrap().unwrap(), []);
    drop(snapshot);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(store.collect_garbage().unwrap().layers, 2);
    assert_eq!(count(&store, "tmp"), 0);
    fs::write(root.join("done"), "").unwrap();
}
