//! Lines of passwd(5) and group(5), read strictly: the files may be a container's, who writes what it likes.

/// One line of passwd(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UserEntry<'a> {
    pub(crate) name: &'a str,
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// As it is written; `/` where the line ends before it.
    pub(crate) home: &'a str,
}

/// One line of group(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupEntry<'a> {
    pub(crate) name: &'a str,
    pub(crate) group: u32,
    members: &'a str,
}

impl<'a> UserEntry<'a> {
    /// Those of the file `text`; lines that are none are passed over.
    pub(crate) fn all(text: &'a str) -> impl Iterator<Item = UserEntry<'a>> {
        text.lines().filter_map(UserEntry::parse)
    }

    fn parse(line: &'a str) -> Option<UserEntry<'a>> {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let (user, group) = (fields.nth(1)?, fields.next()?);
        let home = fields.nth(1).unwrap_or("/");
        Some(UserEntry { name, user: number(user)?, group: number(group)?, home })
    }
}

impl<'a> GroupEntry<'a> {
    /// Those of the file `text`; lines that are none are passed over.
    pub(crate) fn all(text: &'a str) -> impl Iterator<Item = GroupEntry<'a>> {
        text.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, group) = (fields.next()?, fields.nth(1)?);
            Some(GroupEntry { name, group: number(group)?, members: fields.next().unwrap_or("") })
        })
    }

    /// Whether it lists the user `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.split(',').any(|member| member == name)
    }
}

/// Digits only, and never `(uid_t)-1`.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|&id| digits && id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_out_of_format_are_passed_over() {
        let text = "root:x:0:0:root:/root:/bin/sh\nbad:x:4294967295:1::/:\n:x:1:1::/:\nplus:x:+1:1::/:\nshort:x:5\n#\nlast:x:7:8";
        let names: Vec<_> =
            UserEntry::all(text).map(|entry| (entry.name, entry.user, entry.group, entry.home)).collect();
        assert_eq!(names, [("root", 0, 0, "/root"), ("last", 7, 8, "/")]);
        let groups: Vec<_> = GroupEntry::all("log:x:44:root,www\nnone:x:\nlone:x:9").collect();
        assert_eq!((groups.len(), groups[0].has("www"), groups[0].has("ww")), (2, true, false));
    }
}
