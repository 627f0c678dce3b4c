//! What a start does, as text: a change of the order or of the means of confinement shows here as a difference.

use coracle::{Root, Sandbox};
use std::path::Path;

#[test]
fn the_default_start_is_the_golden_one() {
    let root = Root::Directory("/srv/root".into());
    let listing = Sandbox::new(root, ["/bin/sh", "-c", "true"]).hostname("boat").init(true).listing().unwrap();
    // Only a machine with all controllers on version 2 mounts them in the sandbox.
    let pure = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let name = if pure { "default-start-cgroup-v2.txt" } else { "default-start.txt" };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    if listing != golden {
        let aside = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&aside, &listing).unwrap();
        panic!(
            "a start does something else now; if that is meant: cp {} {}\n{listing}",
            aside.display(),
            path.display()
        );
    }
}
