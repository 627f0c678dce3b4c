//! Which hierarchies this machine has, and where the caller is in them.

use super::controller::{Controller, Version};
use crate::error::During;
use crate::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// A mountinfo larger than this belongs to no machine (100,000 mounts, the kernel's default limit, take about 12 MB).
const FILE_BUDGET: u64 = 32 << 20;

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub(super) version: Version,
    /// Of version 1: those that are attached. Of version 2: empty, `cgroup.controllers` says.
    pub(super) controllers: Vec<Controller>,
    pub(super) mount_point: PathBuf,
    /// The caller's group relative to the mount point, where it lies below it.
    pub(super) own: Option<PathBuf>,
}

/// The hierarchies as the calling thread sees them.
pub(super) fn detect() -> Result<Vec<Hierarchy>> {
    // The thread's, not the process's: those of a process are gone when its first thread has ended before the others.
    let hierarchies = parse(&read("/proc/thread-self/mountinfo")?, &read("/proc/thread-self/cgroup")?);
    if hierarchies.is_empty() {
        return Err(Error::new(ErrorKind::Unsupported, "no control group file system is mounted")
            .hint("mount one: mount -t cgroup2 none /sys/fs/cgroup"));
    }
    Ok(hierarchies)
}

/// Whether block devices belong to the version 2 hierarchy, as far as the mounts say.
pub(super) fn serves_io_unified(hierarchies: &[Hierarchy]) -> bool {
    hierarchies.iter().all(|hierarchy| hierarchy.version == Version::V2)
}

fn read(path: &'static str) -> Result<Vec<u8>> {
    // The kernel writes these files anew for every read, so one that takes all is worth its memory.
    let mut text = Vec::with_capacity(32 << 10);
    File::open(path)
        .and_then(|file| file.take(FILE_BUDGET).read_to_end(&mut text))
        .during(|| format!("read {path}"))?;
    Ok(text)
}

/// proc_pid_mountinfo(5) and cgroups(7). Lines out of format are passed over.
fn parse(mountinfo: &[u8], own: &[u8]) -> Vec<Hierarchy> {
    let own = OwnGroups::parse(own);
    let mut found: Vec<(Hierarchy, bool)> = Vec::new();
    for line in mountinfo.split(|&byte| byte == b'\n') {
        let Some(mount) = Mount::parse(line) else { continue };
        let whole = mount.root == Path::new("/");
        let hierarchy = Hierarchy {
            own: own.path(&mount).and_then(|path| below(&path, &mount.root)),
            version: mount.version,
            controllers: mount.controllers,
            mount_point: mount.mount_point,
        };
        // Of several mounts of one hierarchy the whole one is taken; a bind of a part serves where it is all there is.
        let same = found
            .iter_mut()
            .find(|(known, _)| known.version == hierarchy.version && known.controllers == hierarchy.controllers);
        match same {
            Some(known) if !known.1 && whole => *known = (hierarchy, whole),
            Some(_) => {}
            None => found.push((hierarchy, whole)),
        }
    }
    found.into_iter().map(|(hierarchy, _)| hierarchy).collect()
}

struct Mount {
    version: Version,
    controllers: Vec<Controller>,
    root: PathBuf,
    mount_point: PathBuf,
}

impl Mount {
    /// A mount of a version 2 hierarchy, or of a version 1 hierarchy with a controller that is used here.
    fn parse(line: &[u8]) -> Option<Mount> {
        let mut fields = line.split(|&byte| byte == b' ');
        let root = unescape(fields.nth(3)?);
        let mount_point = unescape(fields.next()?);
        let mut tail = fields.skip_while(|field| *field != b"-").skip(1);
        let version = match tail.next()? {
            b"cgroup" => Version::V1,
            b"cgroup2" => Version::V2,
            _ => return None,
        };
        let options = std::str::from_utf8(tail.nth(1)?).ok()?;
        let controllers = match version {
            Version::V1 => controllers_v1(options),
            Version::V2 => Vec::new(),
        };
        (version == Version::V2 || !controllers.is_empty()).then_some(Mount { version, controllers, root, mount_point })
    }
}

fn controllers_v1(list: &str) -> Vec<Controller> {
    let all = Controller::ALL.into_iter();
    all.filter(|controller| list.split(',').any(|name| name == controller.name_v1())).collect()
}

/// The caller's groups.
struct OwnGroups(Vec<(Vec<Controller>, bool, PathBuf)>);

impl OwnGroups {
    fn parse(text: &[u8]) -> OwnGroups {
        let groups = text.split(|&byte| byte == b'\n').filter_map(|line| {
            let mut fields = line.splitn(3, |&byte| byte == b':');
            let unified = fields.next()? == b"0";
            let controllers = controllers_v1(std::str::from_utf8(fields.next()?).ok()?);
            let path = PathBuf::from(std::ffi::OsString::from_vec(fields.next()?.to_vec()));
            Some((controllers, unified, path))
        });
        OwnGroups(groups.collect())
    }

    fn path(&self, mount: &Mount) -> Option<PathBuf> {
        let found = self.0.iter().find(|(controllers, unified, _)| match mount.version {
            Version::V1 => !unified && *controllers == mount.controllers,
            Version::V2 => *unified,
        });
        found.map(|(_, _, path)| path.clone())
    }
}

/// `path` relative to `root`; `None` where it is not below it, as in a control group namespace seen from outside.
fn below(path: &Path, root: &Path) -> Option<PathBuf> {
    let relative = path.strip_prefix(root).ok()?;
    relative.components().all(|part| matches!(part, Component::Normal(_))).then(|| relative.to_path_buf())
}

/// Undoes the `\ooo` with which mountinfo writes blanks, tabs, line ends and backslashes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal =
            |digits: &[u8]| digits.iter().try_fold(0u32, |sum, digit| Some(sum * 8 + (*digit as char).to_digit(8)?));
        match tail.get(..3).and_then(octal).and_then(|value| u8::try_from(value).ok()) {
            Some(value) if byte == b'\\' => {
                path.push(value);
                rest = &tail[3..];
            }
            _ => {
                path.push(byte);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_machines_keep_each_controller_where_it_is() {
        let mountinfo = b"22 1 8:1 / / rw - ext4 /dev/vda rw\n\
            32 31 0:29 /part /bound rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
            33 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:1 - cgroup cgroup rw,cpu,cpuacct\n\
            34 31 0:30 / /sys/fs/cg\\040x/memory rw - cgroup cgroup rw,memory\n\
            40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw shared:2 - cgroup2 cgroup2 rw,nsdelegate\nrubbish\n";
        let own = b"5:cpu,cpuacct:/a/b\n4:memory:/c\n1:name=systemd:/x\n0::/user.slice/s:1.scope\n";
        let found = parse(mountinfo, own);
        assert_eq!(found.len(), 4);
        assert_eq!(found[0].mount_point, Path::new("/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(found[0].controllers, [Controller::Cpu, Controller::CpuAcct]);
        assert_eq!(found[0].own.as_deref(), Some(Path::new("a/b")));
        assert_eq!(found[1].mount_point, Path::new("/sys/fs/cg x/memory"));
        assert_eq!((found[2].version, &found[2].controllers[..]), (Version::V1, &[Controller::Systemd][..]));
        assert_eq!(found[2].own.as_deref(), Some(Path::new("x")));
        assert_eq!(found[3].version, Version::V2);
        assert_eq!(found[3].own.as_deref(), Some(Path::new("user.slice/s:1.scope")));
    }

    #[test]
    fn a_group_outside_the_namespace_is_nobodys() {
        let mountinfo = b"41 31 0:38 /../.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(parse(mountinfo, b"0::/../other\n")[0].own, None);
        let mountinfo = b"41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(parse(mountinfo, b"0::/../other\n")[0].own, None);
    }
}
