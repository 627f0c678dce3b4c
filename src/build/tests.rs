//! Whole builds in a store of their own.

use super::*;
use crate::container::Services;
use crate::spec::ImageConfig;
use crate::store::{MergedView, StoredImage};
use crate::{ErrorKind, Platform, Reference, Result};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

mod cases;
mod dockerfiles;

/// Images of the store alone.
struct Local(Arc<Services>);

impl BaseResolver for Local {
    fn resolve(&self, reference: &Reference, _: &Platform) -> Result<StoredImage> {
        self.0.store.images().get(reference)
    }
}

/// A store with the image `busybox`, and a build context.
struct Bench {
    services: Arc<Services>,
    context: PathBuf,
    events: Arc<Mutex<Vec<String>>>,
    _scratch: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let scratch = tempfile::tempdir().unwrap();
        let services = Services::open(&scratch.path().join("root"), &scratch.path().join("run")).unwrap();
        let context = scratch.path().join("context");
        fs::create_dir(&context).unwrap();
        let bench = Bench { services, context, events: Arc::default(), _scratch: scratch };
        let tree = bench._scratch.path().join("busybox");
        for directory in ["usr/bin", "etc", "tmp", "var"] {
            fs::create_dir_all(tree.join(directory)).unwrap();
        }
        fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::copy("/bin/busybox", tree.join("usr/bin/busybox")).unwrap();
        for name in ["sh", "echo", "cat", "ls", "touch", "mkdir", "rm", "id", "chown", "chmod", "stat", "env", "test"] {
            symlink("busybox", tree.join("usr/bin").join(name)).unwrap();
        }
        symlink("usr/bin", tree.join("bin")).unwrap();
        fs::write(tree.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n").unwrap();
        fs::write(tree.join("etc/group"), "root:x:0:\napp:x:1001:\n").unwrap();
        bench.builder().copy(&tree, "/").command(["/bin/sh"]).tag("busybox").commit().unwrap();
        bench
    }

    fn builder(&self) -> ImageBuilder<'static> {
        ImageBuilder::new(self.services.clone(), Arc::new(Local(self.services.clone())))
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.context.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A build of this Dockerfile, whose news go to `events`.
    fn dockerfile(&self, text: &str) -> BuildBuilder<'static> {
        self.file("Dockerfile", text);
        self.events.lock().unwrap().clear();
        let events = self.events.clone();
        BuildBuilder::new(self.services.clone(), Arc::new(Local(self.services.clone())), &self.context)
            .on_progress(move |event| events.lock().unwrap().push(event.to_string()))
    }

    fn build(&self, text: &str) -> Image {
        self.dockerfile(text).run().unwrap()
    }

    /// The error of a build and its kind.
    fn fail(&self, text: &str) -> (ErrorKind, String) {
        let error = self.dockerfile(text).tag("failed").run().unwrap_err();
        assert!(self.services.store.images().find(&"failed".parse().unwrap()).unwrap().is_none());
        assert_eq!(fs::read_dir(self.services.store.root().join("tmp")).unwrap().count(), 0);
        (error.kind(), error.to_string())
    }

    /// The steps that were told, without the cached ones.
    fn carried_out(&self) -> Vec<String> {
        let events = self.events.lock().unwrap();
        events.iter().filter(|event| event.starts_with('[') && !event.ends_with("(cached)")).cloned().collect()
    }

    /// How many layers there are in the store.
    fn layers(&self) -> usize {
        fs::read_dir(self.services.store.root().join("layers")).unwrap().count()
    }

    fn view(&self, image: &Image) -> MergedView {
        let layers = self.services.store.layers().ensure_image(image.stored()).unwrap();
        MergedView::new(&layers, None)
    }

    fn read(&self, image: &Image, path: &str) -> String {
        let bytes = self.view(image).read(Path::new(path), 1 << 20).unwrap();
        String::from_utf8(bytes.unwrap_or_else(|| panic!("the image has no {path}"))).unwrap()
    }

    /// Owner, group and mode of a file of the image.
    fn owner(&self, image: &Image, path: &str) -> (u32, u32, u32) {
        let metadata = self.view(image).symlink_metadata(Path::new(path)).unwrap().unwrap();
        (metadata.uid, metadata.gid, metadata.mode)
    }

    /// What the last layer of the image holds, sorted.
    fn last_layer(&self, image: &Image) -> Vec<String> {
        let diff_id = image.config().rootfs.diff_ids.last().unwrap();
        let directory = self.services.store.layers().path(diff_id);
        let mut names = Vec::new();
        let view = MergedView::new(&[directory], None);
        view.walk(Path::new("/"), &mut |path, _| {
            names.push(path.display().to_string());
            Ok(())
        })
        .unwrap();
        names.remove(0);
        names
    }
}

fn history(config: &ImageConfig) -> Vec<(String, bool)> {
    let history = config.history.iter().flatten();
    history.map(|entry| (entry.created_by.clone().unwrap(), entry.empty_layer)).collect()
}
