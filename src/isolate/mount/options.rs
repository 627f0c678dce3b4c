//! The options of a mount, as runc and crun read them (runtime-spec, config, "Linux mount options").

use crate::{Error, Result};

/// What the options of one mount ask for. Of two that contradict each other the later one counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MountOptions {
    /// `bind` (false) or `rbind` (true).
    pub(crate) bind: Option<bool>,
    /// `remount`: changes what is mounted there.
    pub(crate) remount: bool,
    /// Of the mount itself.
    pub(crate) attributes: Attributes,
    /// Of the mount and all below it (`rro`, `rnosuid` ...).
    pub(crate) recursive: Attributes,
    /// The last one asked for.
    pub(crate) propagation: Option<Propagation>,
    /// Flags of the file system rather than of the mount: `sync`, `dirsync`, `lazytime` ...
    pub(crate) superblock: Vec<&'static str>,
    /// What only the file system itself can read: keys with and without value.
    pub(crate) data: Vec<(String, Option<String>)>,
    /// `tmpcopyup`: begins with the content of the directory it hides.
    pub(crate) copy_up: bool,
    /// `idmap` (false) or `ridmap` (true).
    pub(crate) id_map: Option<bool>,
    /// `copy-symlink` (crun): a source that is a link is made anew instead of mounted.
    pub(crate) copy_link: bool,
    /// `src-nofollow` (crun): a source that is a link is itself mounted.
    pub(crate) source_link: bool,
    /// `dest-nofollow` (crun): a destination that is a link is itself mounted over.
    pub(crate) destination_link: bool,
}

/// Bits of MOUNT_ATTR_*: mount_setattr(2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) set: u32,
    pub(crate) clear: u32,
}

/// How mounts made elsewhere show here (mount_namespaces(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Propagation {
    /// MS_PRIVATE, MS_SLAVE, MS_SHARED or MS_UNBINDABLE.
    pub(crate) kind: u32,
    pub(crate) recursive: bool,
}

const ACCESS_TIME: u32 = libc::MOUNT_ATTR__ATIME as u32;

/// The attributes that the options set and clear.
const ATTRIBUTES: [(&str, u64, u64); 17] = [
    ("ro", libc::MOUNT_ATTR_RDONLY, 0),
    ("rw", 0, libc::MOUNT_ATTR_RDONLY),
    ("nosuid", libc::MOUNT_ATTR_NOSUID, 0),
    ("suid", 0, libc::MOUNT_ATTR_NOSUID),
    ("nodev", libc::MOUNT_ATTR_NODEV, 0),
    ("dev", 0, libc::MOUNT_ATTR_NODEV),
    ("noexec", libc::MOUNT_ATTR_NOEXEC, 0),
    ("exec", 0, libc::MOUNT_ATTR_NOEXEC),
    ("nosymfollow", libc::MOUNT_ATTR_NOSYMFOLLOW, 0),
    ("symfollow", 0, libc::MOUNT_ATTR_NOSYMFOLLOW),
    ("nodiratime", libc::MOUNT_ATTR_NODIRATIME, 0),
    ("diratime", 0, libc::MOUNT_ATTR_NODIRATIME),
    ("noatime", libc::MOUNT_ATTR_NOATIME, libc::MOUNT_ATTR__ATIME),
    ("strictatime", libc::MOUNT_ATTR_STRICTATIME, libc::MOUNT_ATTR__ATIME),
    // What the kernel does where nothing else is asked for.
    ("relatime", libc::MOUNT_ATTR_RELATIME, libc::MOUNT_ATTR__ATIME),
    ("atime", libc::MOUNT_ATTR_RELATIME, libc::MOUNT_ATTR__ATIME),
    ("nostrictatime", libc::MOUNT_ATTR_RELATIME, libc::MOUNT_ATTR__ATIME),
];

/// Flags of file systems, under the names that fsconfig(2) gives them.
const SUPERBLOCK: [&str; 7] = ["sync", "async", "dirsync", "lazytime", "nolazytime", "mand", "nomand"];

/// Options that ask for nothing: what is so anyway, or what only mount(8) and the kernel's log know. File systems that
/// count the versions of files do so unasked.
const NOTHING: [&str; 8] = ["", "defaults", "norelatime", "rnorelatime", "iversion", "noiversion", "silent", "loud"];

/// Options that only the runtime itself knows.
const SWITCHES: [&str; 9] =
    ["bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap", "copy-symlink", "src-nofollow", "dest-nofollow"];

/// The kinds of propagation; each also for all mounts below, with an `r` in front.
const PROPAGATIONS: [&str; 4] = ["private", "slave", "shared", "unbindable"];

/// Every option that is not the file system's own, sorted: for the list of features.
pub(crate) fn mount_option_names() -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, ..) in ATTRIBUTES {
        names.extend([name.to_owned(), format!("r{name}")]);
    }
    names.extend(PROPAGATIONS.iter().flat_map(|name| [(*name).to_owned(), format!("r{name}")]));
    let others = SUPERBLOCK.iter().chain(&NOTHING).chain(&SWITCHES).filter(|name| !name.is_empty());
    names.extend(others.map(|name| (*name).to_owned()));
    names.sort_unstable();
    names
}

/// The longest key and value (fsconfig(2): 256 bytes with the NUL).
const TEXT_BUDGET: usize = 255;

/// The most options of one mount.
const OPTION_BUDGET: usize = 1024;

impl MountOptions {
    /// Reads the options of one mount.
    pub(crate) fn parse<T: AsRef<str>>(options: &[T]) -> Result<MountOptions> {
        if options.len() > OPTION_BUDGET {
            return Err(Error::invalid(format!("{} options, more than {OPTION_BUDGET}", options.len())));
        }
        let mut parsed = MountOptions::default();
        for option in options {
            parsed.add(option.as_ref())?;
        }
        Ok(parsed)
    }

    fn add(&mut self, option: &str) -> Result<()> {
        if option.contains('\0') {
            return Err(Error::invalid(format!("option {option:?} holds a NUL byte")));
        }
        if NOTHING.contains(&option) || self.add_switch(option) {
            return Ok(());
        }
        if let Some(attribute) = attribute(option) {
            self.attributes.add(attribute);
        } else if let Some(attribute) = option.strip_prefix('r').and_then(attribute) {
            self.recursive.add(attribute);
        } else if let Some(propagation) = propagation(option) {
            self.propagation = Some(propagation);
        } else if let Some(flag) = SUPERBLOCK.iter().find(|name| **name == option) {
            self.superblock.push(flag);
        } else {
            self.data.push(data(option)?);
        }
        Ok(())
    }

    /// Whether it is one of those that only the runtime itself knows.
    fn add_switch(&mut self, option: &str) -> bool {
        match option {
            "bind" => self.bind = Some(false),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.id_map = Some(false),
            "ridmap" => self.id_map = Some(true),
            "copy-symlink" => self.copy_link = true,
            "src-nofollow" => self.source_link = true,
            "dest-nofollow" => self.destination_link = true,
            _ => return false,
        }
        true
    }
}

impl Attributes {
    /// Whether nothing is to change.
    pub(crate) fn is_empty(self) -> bool {
        self == Attributes::default()
    }

    fn add(&mut self, (set, clear): (u32, u32)) {
        // The kinds of access times are one number, which is cleared before it is set; the others are bits.
        self.set = (self.set & !clear) | set;
        self.clear = (self.clear & !(set & !ACCESS_TIME)) | clear;
    }
}

fn attribute(name: &str) -> Option<(u32, u32)> {
    let (_, set, clear) = ATTRIBUTES.iter().find(|(known, ..)| *known == name)?;
    Some((*set as u32, *clear as u32))
}

/// One of the kinds of propagation; also those of `linux.rootfsPropagation`.
pub(super) fn propagation(name: &str) -> Option<Propagation> {
    let (recursive, kind) = match name.strip_prefix('r') {
        Some(kind) => (true, kind),
        None => (false, name),
    };
    let kind = match kind {
        "private" => libc::MS_PRIVATE,
        "slave" => libc::MS_SLAVE,
        "shared" => libc::MS_SHARED,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some(Propagation { kind: kind as u32, recursive })
}

fn data(option: &str) -> Result<(String, Option<String>)> {
    let (key, value) = match option.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (option, None),
    };
    if key.is_empty() || key.len() > TEXT_BUDGET {
        return Err(Error::invalid(format!("option {option:?} has an empty or overlong name")));
    }
    Ok((key.to_owned(), value.map(str::to_owned)))
}

/// Options from anywhere, separated by commas: what is read of them makes sense.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let options: Vec<&str> = text.split(',').collect();
    let Ok(parsed) = MountOptions::parse(&options) else { return };
    for Attributes { set, clear } in [parsed.attributes, parsed.recursive] {
        assert_eq!(set & clear & !ACCESS_TIME, 0, "set and cleared at once");
        assert!(set & ACCESS_TIME == 0 || clear & ACCESS_TIME == ACCESS_TIME, "the kernel refuses it");
    }
    assert!(parsed.data.iter().all(|(key, _)| !key.is_empty() && key.len() <= TEXT_BUDGET));
    assert!(
        !parsed.data.iter().any(|(key, value)| [key.as_str(), value.as_deref().unwrap_or("")].concat().contains('\0'))
    );
    let twice: Vec<&str> = options.iter().chain(&options).copied().collect();
    if let Ok(again) = MountOptions::parse(&twice) {
        assert_eq!((again.attributes, again.recursive), (parsed.attributes, parsed.recursive));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> MountOptions {
        MountOptions::parse(&text.split(',').collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_is_listed_is_known() {
        for name in mount_option_names() {
            assert!(MountOptions::parse(&[&name]).unwrap().data.is_empty(), "{name}");
        }
    }

    #[test]
    fn attributes_are_set_and_cleared_and_the_last_word_counts() {
        let options = parse("ro,nosuid,nodev,noexec,rw,suid");
        assert_eq!(options.attributes.set, (libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC) as u32);
        assert_eq!(options.attributes.clear, (libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID) as u32);
        let options = parse("noatime,strictatime");
        assert_eq!(options.attributes, Attributes { set: libc::MOUNT_ATTR_STRICTATIME as u32, clear: ACCESS_TIME });
        assert_eq!(parse("strictatime,relatime").attributes, Attributes { set: 0, clear: ACCESS_TIME });
    }

    #[test]
    fn recursive_attributes_are_their_own() {
        let options = parse("rro,rnosymfollow,rrw,rstrictatime,rbind,rw,relatime");
        assert_eq!(options.bind, Some(true));
        assert_eq!(options.recursive.set, (libc::MOUNT_ATTR_NOSYMFOLLOW | libc::MOUNT_ATTR_STRICTATIME) as u32);
        assert_eq!(options.recursive.clear, (libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR__ATIME) as u32);
        assert_eq!(options.attributes.clear, (libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR__ATIME) as u32);
    }

    #[test]
    fn every_option_of_the_specification_is_known() {
        for name in [
            "async",
            "atime",
            "bind",
            "defaults",
            "dev",
            "diratime",
            "dirsync",
            "exec",
            "iversion",
            "lazytime",
            "loud",
            "mand",
            "noatime",
            "nodev",
            "nodiratime",
            "noexec",
            "noiversion",
            "nolazytime",
            "nomand",
            "norelatime",
            "nostrictatime",
            "nosuid",
            "nosymfollow",
            "private",
            "ratime",
            "rbind",
            "rdev",
            "rdiratime",
            "relatime",
            "remount",
            "rexec",
            "rnoatime",
            "rnodev",
            "rnodiratime",
            "rnoexec",
            "rnorelatime",
            "rnostrictatime",
            "rnosuid",
            "rnosymfollow",
            "ro",
            "rprivate",
            "rrelatime",
            "rro",
            "rrw",
            "rshared",
            "rslave",
            "rstrictatime",
            "rsuid",
            "rsymfollow",
            "runbindable",
            "rw",
            "shared",
            "silent",
            "slave",
            "strictatime",
            "suid",
            "symfollow",
            "sync",
            "tmpcopyup",
            "unbindable",
            "idmap",
            "ridmap",
        ] {
            assert_eq!(parse(name).data, [], "{name}");
        }
    }

    #[test]
    fn what_only_the_file_system_knows_is_handed_on() {
        let options = parse("mode=755,size=65536k,newinstance,context=\"a:b\"");
        let data: Vec<_> = options.data.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        let expected =
            [("mode", Some("755")), ("size", Some("65536k")), ("newinstance", None), ("context", Some("\"a:b\""))];
        assert_eq!(data, expected);
        for wrong in ["=1", "a\0b"] {
            assert!(MountOptions::parse(&[wrong]).is_err(), "{wrong:?}");
        }
        assert!(MountOptions::parse(&vec!["ro"; OPTION_BUDGET + 1]).is_err());
        assert_eq!(
            parse("rslave,private").propagation,
            Some(Propagation { kind: libc::MS_PRIVATE as u32, recursive: false })
        );
    }

    #[test]
    fn seeds_of_the_fuzz_target_hold() {
        for seed in
            ["ro,rw,noatime,rro,strictatime", "mode=755,size=1k,", "=,=x", "rbind,rprivate,ridmap", "atime,noatime,ro"]
        {
            fuzz(seed.as_bytes());
        }
    }
}
