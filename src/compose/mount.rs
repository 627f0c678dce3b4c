//! `volumes` and `tmpfs` of a service (Compose specification, "volumes").

use super::cursor::Cursor;
use super::service::ServiceMount;
use crate::Memory;
use std::path::{Path, PathBuf};

/// All mounts of a service, each with where it is written; paths of the host are relative to `directory`.
pub(super) fn mounts<'file>(volumes: &Cursor<'file>, directory: &Path) -> Vec<(ServiceMount, Cursor<'file>)> {
    let one = |volume: Cursor<'file>| {
        let mount = match volume.is_map() {
            true => long(&volume, directory),
            false => volume.parsed(|text| parse(text, directory)),
        };
        Some((mount?, volume))
    };
    volumes.list().into_iter().filter_map(one).collect()
}

/// `tmpfs`: a path with options, or a list of them.
pub(super) fn tmpfs<'file>(tmpfs: &Cursor<'file>) -> Vec<(ServiceMount, Cursor<'file>)> {
    tmpfs.text_or_texts().into_iter().filter_map(|one| Some((one.parsed(parse_tmpfs)?, one))).collect()
}

/// `SOURCE:TARGET[:MODE]`
fn parse(text: &str, directory: &Path) -> Result<ServiceMount, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [target] => {
            return Err(format!("{target:?} would be a volume without a name, which is not supported: give it one"));
        }
        [source, target] => (*source, *target, ""),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(format!("{text:?} is not SOURCE:TARGET[:MODE]")),
    };
    let mut read_only = false;
    for option in mode.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" => read_only = false,
            other => return Err(format!("the mode {other:?} is not supported: ro or rw")),
        }
    }
    let target = absolute_target(target)?;
    if source.starts_with(['.', '/', '~']) {
        return Ok(ServiceMount::Bind { source: host_path(source, directory)?, target, read_only });
    }
    if source.is_empty() || source.contains('/') {
        return Err(format!("{source:?} is neither a path that begins with . or / nor the name of a volume"));
    }
    Ok(ServiceMount::Volume { volume: source.to_owned(), target, read_only })
}

fn long(mount: &Cursor<'_>, directory: &Path) -> Option<ServiceMount> {
    let known = ["type", "source", "target", "read_only", "tmpfs", "bind", "volume"];
    let fields = mount.fields(&known, &["consistency", "image"]);
    let read_only = fields.get("read_only").and_then(|read_only| read_only.boolean()).unwrap_or(false);
    let required = |key: &str| {
        let found = fields.get(key);
        if found.is_none() {
            mount.wrong(format!("{key} is missing"));
        }
        found
    };
    let target = required("target").and_then(|target| target.parsed(absolute_target));
    let kind = required("type")?;
    let only = |key: &str| {
        for other in ["tmpfs", "bind", "volume"].iter().filter(|other| **other != key) {
            if fields.get(other).is_some() {
                mount.wrong(format!("{other} does not belong to a mount of type {key}"));
            }
        }
    };
    match kind.text()? {
        "bind" => {
            only("bind");
            if let Some(bind) = fields.get("bind") {
                no_making(&bind);
            }
            let source = required("source")?.parsed(|text| host_path(text, directory))?;
            Some(ServiceMount::Bind { source, target: target?, read_only })
        }
        "volume" => {
            only("volume");
            if let Some(volume) = fields.get("volume") {
                volume.fields(&[], &["nocopy", "subpath", "labels"]);
            }
            Some(ServiceMount::Volume { volume: required("source")?.text()?.to_owned(), target: target?, read_only })
        }
        "tmpfs" => {
            only("tmpfs");
            if read_only || fields.get("source").is_some() {
                mount.wrong("a tmpfs has no source and is not read-only");
            }
            let options = fields.get("tmpfs").map(|tmpfs| tmpfs.fields(&["size"], &["mode"]));
            let size = options.and_then(|options| options.get("size")?.memory());
            Some(ServiceMount::Tmpfs { target: target?, size })
        }
        other => {
            kind.wrong(format!("{other:?} is none of bind, volume and tmpfs"));
            None
        }
    }
}

/// The source of a bind is never made: a mistake in its path should not go by unseen.
fn no_making(bind: &Cursor<'_>) {
    let options = bind.fields(&["create_host_path"], &["propagation", "selinux", "recursive"]);
    if let Some(create) = options.get("create_host_path")
        && create.boolean() == Some(true)
    {
        create.wrong("is not supported: make the directory yourself");
    }
}

/// `PATH[:OPTION,...]`, of which `size` alone is an option.
fn parse_tmpfs(text: &str) -> Result<ServiceMount, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let mut size = None;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", amount)) => size = Some(amount.parse::<Memory>().map_err(|error| error.to_string())?),
            _ => return Err(format!("the option {option:?} of a tmpfs is not supported: size alone is")),
        }
    }
    Ok(ServiceMount::Tmpfs { target: absolute_target(target)?, size })
}

fn absolute_target(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.is_absolute() && path.components().count() > 1 {
        true => Ok(path),
        false => Err(format!("the target {text:?} is not an absolute path below /")),
    }
}

/// A path of the host, absolute; `~` stands for the home directory.
pub(super) fn host_path(text: &str, directory: &Path) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("the path is empty".to_owned());
    }
    if let Some(rest) = text.strip_prefix('~') {
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        return match (rest, home) {
            (rest, Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                Ok(PathBuf::from(home).join(rest.trim_start_matches('/')))
            }
            (_, None) => Err(format!("{text:?}: HOME is not set")),
            _ => Err(format!("{text:?}: the home of another user is not supported")),
        };
    }
    Ok(directory.join(text.strip_prefix("./").unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_forms_of_the_specification() {
        let at = |text: &str| parse(text, Path::new("/project"));
        let bind = |source: &str, read_only| {
            Ok(ServiceMount::Bind { source: source.into(), target: "/data".into(), read_only })
        };
        assert_eq!(at("/srv:/data"), bind("/srv", false));
        assert_eq!(at("./cache:/data:ro"), bind("/project/cache", true));
        assert_eq!(at("../cache:/data:rw"), bind("/project/../cache", false));
        let volume = ServiceMount::Volume { volume: "db".into(), target: "/data".into(), read_only: true };
        assert_eq!(at("db:/data:ro"), Ok(volume));
        for text in ["/data", "", "a/b:/data", ":/data", "db:data", "db:/", "db:/data:z", "a:/b:ro:c"] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
