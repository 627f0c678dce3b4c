//! The user a process runs as: image-spec, "Image Configuration", property `config.User`.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// `user`, `uid`, `user:group`, `uid:gid`, `uid:group` or `user:gid`.
///
/// Digits are always a number, never looked up as a name, and a number that does not fit 32 bits is an error, never a
/// name (CVE-2024-40635).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct User {
    /// Who.
    pub user: IdOrName,
    /// The primary group; without one it is the user's of the image's `/etc/passwd`, else 0.
    pub group: Option<IdOrName>,
}

/// A number or a name to be found in the image's `/etc/passwd` or `/etc/group`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum IdOrName {
    /// A number; 4294967295 (`(uid_t)-1`) is not one.
    Id(u32),
    /// A name.
    Name(String),
}

impl User {
    /// User 0, group 0.
    pub const ROOT: User = User { user: IdOrName::Id(0), group: Some(IdOrName::Id(0)) };
}

impl FromStr for IdOrName {
    type Err = Error;

    fn from_str(text: &str) -> Result<IdOrName> {
        let bad = |why: &str| Error::invalid(format!("user or group {text:?} {why}"));
        if text.is_empty() {
            return Err(bad("is empty"));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return match text.parse::<u32>() {
                Ok(id) if id != u32::MAX => Ok(IdOrName::Id(id)),
                _ => Err(bad("is larger than 4294967294")),
            };
        }
        if text.len() > 256 || text.starts_with(['-', '+']) || text.contains([':', '\0', '\n', '/']) {
            return Err(bad("is neither a number nor a name"));
        }
        Ok(IdOrName::Name(text.to_owned()))
    }
}

impl FromStr for User {
    type Err = Error;

    fn from_str(text: &str) -> Result<User> {
        match text.split_once(':') {
            None => Ok(User { user: text.parse()?, group: None }),
            Some((user, group)) => Ok(User { user: user.parse()?, group: Some(group.parse()?) }),
        }
    }
}

impl fmt::Display for IdOrName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IdOrName::Id(id) => write!(f, "{id}"),
            IdOrName::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.user)?;
        self.group.as_ref().map_or(Ok(()), |group| write!(f, ":{group}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_never_fall_back_to_names() {
        assert_eq!("0".parse::<User>().unwrap().user, IdOrName::Id(0));
        assert_eq!("www:33".parse::<User>().unwrap().group, Some(IdOrName::Id(33)));
        for bad in ["", ":", "4294967295", "4294967296", "99999999999999999999", "-1", "a:", "a:b:c", "a/b"] {
            assert!(bad.parse::<User>().is_err(), "{bad}");
        }
    }
}
