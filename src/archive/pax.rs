//! PAX extended headers: POSIX.1-2017, pax, "pax Extended Header".

use super::corrupt;
use crate::{Error, ErrorKind, Result};

/// What the extended header before a member says about it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub size: Option<u64>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub mtime: Option<(i64, u32)>,
    /// Names and values, in the order of the header.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Pax {
    /// Reads the records of one header: `LENGTH KEYWORD=VALUE\n` each. A later record replaces an earlier one.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Pax> {
        let mut pax = Pax::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or_else(|| corrupt("archive has a malformed PAX record"))?;
            pax.take(key, value)?;
            bytes = rest;
        }
        Ok(pax)
    }

    /// Whether anything here would change the meaning of a member.
    pub(super) fn is_empty(&self) -> bool {
        *self == Pax::default()
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let text = || String::from_utf8_lossy(key).into_owned();
        match key {
            b"path" => self.path = Some(name(value, "path")?),
            b"linkpath" => self.link = Some(name(value, "linkpath")?),
            b"size" => self.size = Some(decimal(value).ok_or_else(|| bad_value("size"))?),
            b"uid" => self.uid = Some(decimal(value).ok_or_else(|| bad_value("uid"))?),
            b"gid" => self.gid = Some(decimal(value).ok_or_else(|| bad_value("gid"))?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(|| bad_value("mtime"))?),
            _ if key.starts_with(b"GNU.sparse.") => {
                return Err(Error::new(ErrorKind::Unsupported, format!("archive has a sparse file ({})", text()))
                    .hint("write the archive without --sparse"));
            }
            _ => {
                if let Some(xattr) = key.strip_prefix(b"SCHILY.xattr.") {
                    if xattr.is_empty() || xattr.len() > 255 || xattr.contains(&0) {
                        return Err(bad_value("SCHILY.xattr"));
                    }
                    self.xattrs.retain(|(name, _)| name != xattr);
                    self.xattrs.push((xattr.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

fn bad_value(key: &str) -> Error {
    corrupt(format!("archive has a PAX record {key} with a malformed value"))
}

fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|&byte| byte == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let (record, rest) = bytes.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|&byte| byte == b'=')?;
    (equals > 0).then(|| (&body[..equals], &body[equals + 1..], rest))
}

fn name(value: &[u8], key: &str) -> Result<Vec<u8>> {
    if value.is_empty() || value.contains(&0) { Err(bad_value(key)) } else { Ok(value.to_vec()) }
}

fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 20 {
        return None;
    }
    value.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// Seconds, optionally negative, with an optional fraction; digits beyond nanoseconds are cut.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let dot = value.iter().position(|&byte| byte == b'.').unwrap_or(value.len());
    let seconds = i64::try_from(decimal(&value[..dot])?).ok()?;
    let fraction = value.get(dot + 1..).unwrap_or_default();
    if fraction.len() > 32 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut digits = fraction.iter().map(|digit| u32::from(digit - b'0'));
    let nanoseconds = (0..9).fold(0, |number, _| number * 10 + digits.next().unwrap_or(0));
    if !negative {
        return Some((seconds, nanoseconds));
    }
    if nanoseconds == 0 { Some((-seconds, 0)) } else { Some((-seconds - 1, 1_000_000_000 - nanoseconds)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read() {
        let pax = Pax::parse(b"12 path=a/b\n12 size=123\n30 mtime=1350244992.023960108\n11 path=c\n").unwrap_err();
        assert_eq!(pax.kind(), ErrorKind::Corrupt);
        let pax = Pax::parse(b"12 path=a/b\n12 size=123\n30 mtime=1350244992.023960108\n10 path=c\n").unwrap();
        assert_eq!((pax.path.as_deref(), pax.size), (Some(&b"c"[..]), Some(123)));
        assert_eq!(pax.mtime, Some((1_350_244_992, 23_960_108)));
        assert_eq!(time(b"-1.5"), Some((-2, 500_000_000)));
        assert_eq!(time(b"7"), Some((7, 0)));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"12 path=a/b"[..],
            b"path=a/b\n",
            b"0 \n",
            b"5 =x\n\n",
            b"13 path=a/b\n",
            b"99 path=a\n",
            b"9 size=\n",
            b"11 size=-1\n",
            b"10 size=x\n",
            b"31 size=99999999999999999999999\n",
            b"11 path=a\0\n",
            b"12 mtime=1x\n",
            b"99999999999999999999999 path=a\n",
        ] {
            assert!(Pax::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
