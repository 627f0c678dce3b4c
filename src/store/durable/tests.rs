//! Ends the process at every durable step, and looks at what is left.

use crate::archive::write_layer;
use crate::spec::{Descriptor, ImageConfig, Manifest, MediaType};
use crate::store::*;
use crate::value::Hasher;
use crate::{Digest, Platform, Reference};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::wait::{WaitStatus, waitpid};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// Steps left until the process ends; 0 for never.
static REMAINING: AtomicU64 = AtomicU64::new(0);

/// Called at every durable step.
pub(in crate::store) fn reached(_name: &'static str) {
    if REMAINING.load(Ordering::Relaxed) > 0 && REMAINING.fetch_sub(1, Ordering::Relaxed) == 1 {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

const ROOT: &str = "CORACLE_CRASH_ROOT";
const STEP: &str = "CORACLE_CRASH_STEP";

/// Everything that changes a store, once.
fn live(root: &Path) -> Result<()> {
    let store = Store::open(&root.join("store"), &root.join("run"))?;
    let name: Reference = "shop/web:1".parse()?;
    for author in ["one", "two"] {
        let lease = store.lease()?;
        let tree = store.layers().stage_tree()?;
        fs::create_dir(tree.upper().join("etc")).unwrap();
        fs::write(tree.upper().join("etc/motd"), author).unwrap();
        let layer = store.layers().commit(tree)?.unwrap();
        let image = document(&store, author, &layer)?;
        store.images().tag(&name, &image)?;
        store.pins().hold(&"cache".parse()?, &[layer.diff_id])?;
        drop(lease);
    }
    let image = store.images().get(&name)?;
    let diff_id = image.config.rootfs.diff_ids[0];
    fs::rename(store.layers().path(&diff_id).parent().unwrap(), store.root().join("tmp/gone")).unwrap();
    store.layers().ensure_image(&image)?;
    std::thread::sleep(std::time::Duration::from_millis(10));
    store.collect_garbage()?;
    store.pins().release(&"cache".parse()?)?;
    store.images().untag(&name)?;
    std::thread::sleep(std::time::Duration::from_millis(10));
    store.collect_garbage()?;
    Ok(())
}

fn document(store: &Store, author: &str, layer: &CommittedLayer) -> Result<Descriptor> {
    let mut config = ImageConfig::new(&Platform::host());
    config.author = Some(author.to_owned());
    config.rootfs.diff_ids.push(layer.diff_id);
    let config = serde_json::to_vec(&config).unwrap();
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MediaType::MANIFEST.to_owned()),
        config: Descriptor::new(MediaType::CONFIG, store.blobs().put(&config)?, config.len() as u64),
        layers: vec![layer.descriptor.clone()],
        annotations: Default::default(),
        other: Default::default(),
    };
    let manifest = serde_json::to_vec(&manifest).unwrap();
    Ok(Descriptor::new(MediaType::MANIFEST, store.blobs().put(&manifest)?, manifest.len() as u64))
}

/// Whatever happened before: after opening, all that is visible is whole and nothing half-made is left.
fn check(root: &Path) {
    let store = Store::open(&root.join("store"), &root.join("run")).unwrap();
    let names = |directory: &str| -> Vec<String> {
        let entries = fs::read_dir(store.root().join(directory)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    assert_eq!((names("tmp"), names("leases")), (Vec::new(), Vec::new()));
    for hex in names("blobs/sha256") {
        let digest: Digest = format!("sha256:{hex}").parse().unwrap();
        store.blobs().read(&digest, 1 << 20).unwrap();
    }
    for hex in names("layers") {
        let digest: Digest = format!("sha256:{hex}").parse().unwrap();
        let mut hasher = Hasher::default();
        write_layer(File::open(store.layers().path(&digest)).unwrap().as_fd(), &mut hasher).unwrap();
        assert_eq!(hasher.finish(), digest, "a layer is not what its name says");
    }
    let index: serde_json::Value = serde_json::from_slice(&fs::read(store.root().join("index.json")).unwrap()).unwrap();
    let images = store.images().list().unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), images.len());
    for (reference, descriptor) in images {
        let image = store.images().get(&reference).unwrap();
        assert!(matches!(image.config.author.as_deref(), Some("one" | "two")));
        assert_eq!(index["manifests"][0]["digest"], descriptor.digest.to_string());
        let paths = store.layers().ensure_image(&image).unwrap();
        assert_eq!(fs::read_to_string(paths[0].join("etc/motd")).ok(), image.config.author);
    }
    store.pins().digests().unwrap();
}

/// Runs this very test in another process, to be ended at `step`; whether it came to its end.
fn run_until(root: &Path, step: u64) -> bool {
    let program = CString::new(std::env::current_exe().unwrap().as_os_str().as_bytes()).unwrap();
    let arguments =
        [program.as_c_str(), c"--exact", c"store::durable::tests::every_step_may_be_the_last", c"--test-threads=1"];
    let environment =
        [CString::new(format!("{ROOT}={}", root.display())).unwrap(), CString::new(format!("{STEP}={step}")).unwrap()];
    let mut actions = PosixSpawnFileActions::init().unwrap();
    for fd in [1, 2] {
        let flags = nix::fcntl::OFlag::O_WRONLY;
        actions.add_open(fd, c"/dev/null", flags, nix::sys::stat::Mode::empty()).unwrap();
    }
    let attributes = PosixSpawnAttr::init().unwrap();
    let pid = posix_spawn(program.as_c_str(), &actions, &attributes, &arguments, &environment).unwrap();
    match waitpid(pid, None).unwrap() {
        WaitStatus::Exited(_, 0) => true,
        WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGKILL, _) => false,
        other => panic!("step {step}: {other:?}"),
    }
}

#[test]
fn every_step_may_be_the_last() {
    if let (Some(root), Ok(step)) = (std::env::var_os(ROOT), std::env::var(STEP)) {
        REMAINING.store(step.parse().unwrap(), Ordering::Relaxed);
        live(Path::new(&root)).unwrap();
        return;
    }
    // In memory: it is the process that dies, not the machine, and the synchronisations would take a minute.
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut step = 1;
    loop {
        let root = scratch.path().join(step.to_string());
        fs::create_dir(&root).unwrap();
        let finished = run_until(&root, step);
        check(&root);
        live(&root).unwrap();
        check(&root);
        fs::remove_dir_all(&root).unwrap();
        if finished {
            break;
        }
        step += 1;
    }
    assert!(step > 60, "only {step} steps were seen");
}
