//! Who a container runs as: names are looked up in the image's own `/etc/passwd` and `/etc/group`, by this parser,
//! never by the host's name service.

use crate::store::MergedView;
use crate::value::{GroupEntry, IdOrName, User, UserEntry};
use crate::{Error, ErrorKind, Result};
use std::path::Path;

/// The largest passwd or group file that is read: 1 MiB.
const FILE_BUDGET: u64 = 1 << 20;

/// The most supplementary groups that are taken over (NGROUPS_MAX is 65,536).
const GROUP_BUDGET: usize = 1024;

/// Numbers, and the home directory that goes with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) user: u32,
    pub(crate) group: u32,
    pub(crate) additional_groups: Vec<u32>,
    pub(crate) home: String,
}

/// Looks `user` up in the image.
///
/// A number needs no entry; a name without one is `NotFound`. Without a group it is the entry's, else 0, and the groups
/// that list the user as a member come along (Docker's rule).
pub(crate) fn resolve(view: &MergedView, user: &User) -> Result<Identity> {
    let passwd = read(view, "/etc/passwd")?;
    let entry = UserEntry::all(&passwd).find(|entry| match &user.user {
        IdOrName::Id(id) => entry.user == *id,
        IdOrName::Name(name) => entry.name == name,
    });
    let id = match (&user.user, &entry) {
        (IdOrName::Id(id), _) => *id,
        (IdOrName::Name(_), Some(entry)) => entry.user,
        (IdOrName::Name(name), None) => return Err(unknown("user", name, "/etc/passwd")),
    };
    let groups = read(view, "/etc/group")?;
    let group = match &user.group {
        Some(IdOrName::Id(id)) => *id,
        Some(IdOrName::Name(name)) => GroupEntry::all(&groups)
            .find(|entry| entry.name == name)
            .map(|entry| entry.group)
            .ok_or_else(|| unknown("group", name, "/etc/group"))?,
        None => entry.as_ref().map_or(0, |entry| entry.group),
    };
    let additional_groups = match (&user.group, &entry) {
        (None, Some(entry)) => GroupEntry::all(&groups)
            .filter(|listed| listed.group != group && listed.has(entry.name))
            .map(|listed| listed.group)
            .take(GROUP_BUDGET)
            .collect(),
        _ => Vec::new(),
    };
    let home = entry.map(|entry| entry.home).filter(|home| home.starts_with('/')).unwrap_or("/").to_owned();
    Ok(Identity { user: id, group, additional_groups, home })
}

fn read(view: &MergedView, path: &str) -> Result<String> {
    let bytes = view.read(Path::new(path), FILE_BUDGET)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unknown(what: &str, name: &str, file: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("the image's {file} has no {what} {name:?}"))
        .hint("use a number, or a name that the image knows")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(root: &Path) -> MergedView {
        std::fs::create_dir_all(root.join("etc")).unwrap();
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:/bin/sh\n99:x:7:7::/nine:\nbad:x:4294967295:1::/:\n";
        std::fs::write(root.join("etc/passwd"), passwd).unwrap();
        std::fs::write(root.join("etc/group"), "root:x:0:\nwww:x:33:\nlog:x:44:root,www\n").unwrap();
        MergedView::new(&[root.to_owned()], None)
    }

    #[test]
    fn names_are_looked_up_and_numbers_never_are() {
        let root = tempfile::tempdir().unwrap();
        let view = view(root.path());
        let resolved = |text: &str| resolve(&view, &text.parse().unwrap());
        let www = resolved("www").unwrap();
        assert_eq!((www.user, www.group, www.additional_groups, www.home), (33, 33, vec![44], "/var/www".to_owned()));
        let nine = resolved("99").unwrap();
        assert_eq!((nine.user, nine.group, nine.home.as_str()), (99, 0, "/"));
        assert_eq!(resolved("www:log").unwrap().group, 44);
        assert_eq!(resolved("bad").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(resolved("nobody-here").unwrap_err().kind(), ErrorKind::NotFound);
    }
}
