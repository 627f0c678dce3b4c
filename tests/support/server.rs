//! The web server of the example `rollout`, as tests deploy it.

use std::path::PathBuf;

/// Its path: cargo puts examples beside the directory of the tests.
pub fn server() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples/rollout");
    assert!(path.is_file(), "{} is not built: cargo build --examples", path.display());
    path
}
