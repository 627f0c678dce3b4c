//! `linux.cgroupsPath` of the runtime-spec (config-linux, "Cgroups Path").

use crate::{Error, Result};
use std::path::Path;

/// The longest path that the kernel takes, with its NUL.
const LONGEST: usize = 4096 - 256;

/// Where the runtime is told to put a group.
///
/// ```
/// use coracle::cgroup::CgroupsPath;
///
/// let path = CgroupsPath::parse("/libpod_parent/libpod-0123".as_ref())?;
/// assert!(path.is_absolute());
/// assert!(CgroupsPath::parse("/a/../../b".as_ref()).is_err());
/// # Ok::<(), coracle::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupsPath {
    absolute: bool,
    components: String,
}

impl CgroupsPath {
    /// A path below the root of each hierarchy (absolute), or below the group that this library uses there (relative).
    ///
    /// # Errors
    /// `InvalidInput`: nothing, the root itself, an empty component, `.` or `..`, control characters, or one of the
    /// names of the kernel's own files. A path is never cleaned: what it would mean then is not what is written.
    pub fn parse(path: &Path) -> Result<CgroupsPath> {
        let wrong = |what: &str| {
            Error::invalid(format!("linux.cgroupsPath {:?}: {what}", path.display().to_string()))
                .hint("write it as /parent/name, or PARENT.slice:PREFIX:NAME for systemd")
        };
        let Some(text) = path.to_str() else { return Err(wrong("it is not UTF-8")) };
        let absolute = text.starts_with('/');
        let below = text.strip_prefix('/').unwrap_or(text);
        if text.is_empty() || below.is_empty() {
            return Err(wrong("it names no group below the root"));
        }
        match safe_components(below) {
            Ok(_) => Ok(CgroupsPath { absolute, components: below.to_owned() }),
            Err(what) => Err(wrong(what)),
        }
    }

    /// Whether it begins at the root of each hierarchy.
    pub fn is_absolute(&self) -> bool {
        self.absolute
    }

    /// The path without a leading slash.
    pub(super) fn components(&self) -> &str {
        &self.components
    }
}

/// What the kernel or a reader of its files would take for something else than a group.
const FILES: [&str; 4] = ["tasks", "notify_on_release", "release_agent", "cgroup.procs"];

/// The components of a relative path that cannot lead anywhere but down, or what is wrong with it.
pub(super) fn safe_components(path: &str) -> Result<Vec<&str>, &'static str> {
    if path.len() > LONGEST {
        return Err("it is too long");
    }
    let parts: Vec<&str> = path.split('/').collect();
    for part in &parts {
        match *part {
            "" => return Err("it has an empty component"),
            "." | ".." => return Err("it leads elsewhere by . or .."),
            _ if part.len() > 255 => return Err("a component is longer than 255 bytes"),
            _ if part.chars().any(char::is_control) => return Err("it holds a control character"),
            _ if FILES.contains(part) => return Err("a component is the name of one of the kernel's files"),
            _ => {}
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_engines_pass() {
        let deep = format!("/{}x", "a/".repeat(100));
        for path in [
            "/libpod_parent/libpod-0a1b",
            "/docker/0a1b",
            "/system.slice/docker-0a1b.scope",
            "/kubepods/burstable/pod-1/0a1b",
            "/machine.slice/a@b:c\\x2d.service",
            "relative/path",
            &deep,
        ] {
            let parsed = CgroupsPath::parse(Path::new(path)).unwrap();
            assert_eq!(
                (parsed.is_absolute(), parsed.components()),
                (path.starts_with('/'), path.trim_start_matches('/'))
            );
        }
    }

    #[test]
    fn no_path_leads_out_or_to_a_file() {
        for path in [
            "",
            "/",
            "//a",
            "/a//b",
            "/a/",
            "..",
            "/../a",
            "/a/../b",
            "a/..",
            "./a",
            "/a/.",
            "/a\nb",
            "/a\u{1b}b",
            "/release_agent",
            "/a/cgroup.procs",
        ] {
            let error = CgroupsPath::parse(Path::new(path)).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput, "{path:?}");
            assert!(error.to_string().starts_with("linux.cgroupsPath "), "{error}");
        }
        assert!(CgroupsPath::parse(Path::new(&"a/".repeat(3000))).is_err());
        assert!(CgroupsPath::parse(Path::new(&"a".repeat(256))).is_err());
    }
}
