//! The list as version 1 keeps it (Documentation/admin-guide/cgroup-v1/devices.rst): a default, and the exceptions
//! from it, all of one sign.

use super::super::directory::Directory;
use super::{DeviceAccess, DeviceKind, DeviceRule, MKNOD, READ, WRITE};
use crate::{Error, ErrorKind};
use std::collections::BTreeMap;
use std::io;

/// Kind, major and minor number of what an exception is about.
type Subject = (DeviceKind, Option<u32>, Option<u32>);

/// What a group allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    allow: bool,
    exceptions: BTreeMap<Subject, u8>,
}

impl State {
    /// Where a list comes to. An error where a rule takes away a part of an exception made before, which version 1
    /// would silently leave as it is.
    pub(super) fn of(rules: &[DeviceRule]) -> Result<State, Error> {
        let mut state = State { allow: false, exceptions: BTreeMap::new() };
        for rule in rules {
            if rule.is_about_everything() {
                state = State { allow: rule.allow, exceptions: BTreeMap::new() };
                continue;
            }
            let kinds = match &rule.kind {
                Some(kind) => std::slice::from_ref(kind),
                None => &[DeviceKind::Block, DeviceKind::Character],
            };
            for &kind in kinds {
                let subject = (kind, rule.major, rule.minor);
                if rule.allow == state.allow {
                    state.take_away(subject, rule)?;
                } else {
                    *state.exceptions.entry(subject).or_default() |= rule.access.bits();
                }
            }
        }
        state.spread();
        Ok(state)
    }

    fn take_away(&mut self, subject: Subject, rule: &DeviceRule) -> Result<(), Error> {
        let bits = rule.access.bits();
        for (&held, access) in &mut self.exceptions {
            if covers(subject, held) {
                *access &= !bits;
            } else if overlap(subject, held) && *access & bits != 0 {
                let verb = if rule.allow { "allows" } else { "denies" };
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("linux.resources.devices: {rule} {verb} a part of an earlier, wider rule"),
                )
                .hint("version 1 of control groups cannot express it: put the narrow rules in place of the wide one"));
            }
        }
        self.exceptions.retain(|_, access| *access != 0);
        Ok(())
    }

    /// The kernel wants one exception to cover all of an access, so each gets what the wider ones say as well.
    fn spread(&mut self) {
        let crossing: Vec<Subject> = self.crossings().collect();
        for subject in crossing {
            self.exceptions.entry(subject).or_default();
        }
        let wide = self.exceptions.clone();
        for (&subject, access) in &mut self.exceptions {
            for (_, more) in wide.iter().filter(|(wider, _)| covers(**wider, subject)) {
                *access |= more;
            }
        }
        self.exceptions.retain(|_, access| *access != 0);
    }

    /// The single devices that both an exception for a major and one for a minor number are about.
    fn crossings(&self) -> impl Iterator<Item = Subject> {
        let majors = self.exceptions.iter().filter(|((_, _, minor), _)| minor.is_none());
        majors.flat_map(|(&(kind, major, _), &access)| {
            let minors = self.exceptions.iter().filter(move |(subject, more)| {
                subject.0 == kind && subject.1.is_none() && **more & !access != 0 && access & !**more != 0
            });
            minors.filter_map(move |(&(_, _, minor), _)| Some((kind, Some(major?), Some(minor?))))
        })
    }

    /// What `devices.list` says; the exceptions from allowing everything are not in it.
    fn parse(text: &str) -> Option<State> {
        if text.trim() == "a *:* rwm" {
            return Some(State { allow: true, exceptions: BTreeMap::new() });
        }
        let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
        let mut exceptions = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let kind = match words.next()? {
                "b" => DeviceKind::Block,
                "c" => DeviceKind::Character,
                _ => return None,
            };
            let (major, minor) = words.next()?.split_once(':')?;
            let access = DeviceAccess::parse(words.next()?)?.bits();
            exceptions.insert((kind, number(major)?, number(minor)?), access);
        }
        Some(State { allow: false, exceptions })
    }

    /// The fewest writes that lead from `now` to here: whether to allow, and what.
    fn steps_from(&self, now: Option<&State>) -> Vec<(bool, String)> {
        let mut steps = Vec::new();
        let empty = BTreeMap::new();
        // Exceptions from allowing everything cannot be read: they are always set anew.
        let before = match now.filter(|now| !now.allow && !self.allow) {
            Some(now) => &now.exceptions,
            None => {
                steps.push((self.allow, "a".to_owned()));
                &empty
            }
        };
        for (&subject, &access) in before {
            let gone = access & !self.exceptions.get(&subject).copied().unwrap_or(0);
            if gone != 0 {
                steps.push((self.allow, written(subject, gone)));
            }
        }
        for (&subject, &access) in &self.exceptions {
            let new = access & !before.get(&subject).copied().unwrap_or(0);
            if new != 0 {
                steps.push((!self.allow, written(subject, new)));
            }
        }
        steps
    }

    /// As the kernel decides (`__devcgroup_check_permission`): all of an access by one exception.
    #[cfg(test)]
    pub(super) fn allows(&self, kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
        let about = |subject: &Subject| covers(*subject, (kind, Some(major), Some(minor)));
        let mut exceptions = self.exceptions.iter().filter(|(subject, _)| about(subject));
        match self.allow {
            // Denied where any part of it is.
            true => !exceptions.any(|(_, denied)| denied & access != 0),
            false => exceptions.any(|(_, allowed)| access & !allowed == 0),
        }
    }
}

/// Makes the version 1 group allow what the list allows.
pub(in super::super) fn write(directory: &Directory, rules: &[DeviceRule]) -> Result<(), (String, io::Error)> {
    // A list that version 1 cannot express has been refused before.
    let target = State::of(rules).map_err(|_| ("devices.allow".to_owned(), io::ErrorKind::Unsupported.into()))?;
    let now = directory.read("devices.list").ok().and_then(|text| State::parse(&text));
    for (allow, value) in target.steps_from(now.as_ref()) {
        let file = if allow { "devices.allow" } else { "devices.deny" };
        directory.write(file, &value).map_err(|error| (format!("{value} to {file}"), error))?;
    }
    Ok(())
}

/// Whether version 1 can express the list.
pub(in super::super) fn check(rules: &[DeviceRule]) -> Result<(), Error> {
    State::of(rules).map(drop)
}

fn written(subject: Subject, access: u8) -> String {
    let (kind, major, minor) = subject;
    let access = DeviceAccess { read: access & READ != 0, write: access & WRITE != 0, mknod: access & MKNOD != 0 };
    DeviceRule { allow: true, kind: Some(kind), major, minor, access }.to_string()
}

/// Whether `wide` is about everything that `narrow` is about.
fn covers(wide: Subject, narrow: Subject) -> bool {
    let number = |wide: Option<u32>, narrow: Option<u32>| wide.is_none() || wide == narrow;
    wide.0 == narrow.0 && number(wide.1, narrow.1) && number(wide.2, narrow.2)
}

/// Whether there is a device that both are about.
fn overlap(one: Subject, other: Subject) -> bool {
    let number = |one: Option<u32>, other: Option<u32>| one.is_none() || other.is_none() || one == other;
    one.0 == other.0 && number(one.1, other.1) && number(one.2, other.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(now: &str, rules: &[DeviceRule]) -> Vec<String> {
        let steps = State::of(rules).unwrap().steps_from(State::parse(now).as_ref());
        steps.into_iter().map(|(allow, value)| format!("{} {value}", if allow { "+" } else { "-" })).collect()
    }

    #[test]
    fn a_new_group_is_closed_and_then_opened_where_it_must() {
        let rules =
            [DeviceRule::everything(false), DeviceRule::character(1, Some(3)), DeviceRule::character(136, None)];
        let expected = ["- a", "+ c 1:3 rwm", "+ c 136:* rwm"];
        assert_eq!(steps("a *:* rwm\n", &rules), expected);
        assert_eq!(steps("rubbish\n", &rules), expected);
    }

    #[test]
    fn an_update_writes_only_what_changes() {
        let now = "c 1:3 rwm\nc 136:* rwm\nb 8:0 rw\n";
        let rules =
            [DeviceRule::character(1, Some(3)), DeviceRule::character(136, None), DeviceRule::character(1, Some(5))];
        assert_eq!(steps(now, &rules), ["- b 8:0 rw", "+ c 1:5 rwm"]);
        assert_eq!(steps(now, &rules[..2]), ["- b 8:0 rw"]);
        assert_eq!(steps(now, &[DeviceRule::everything(true)]), ["+ a"]);
    }

    #[test]
    fn what_the_kernel_would_ignore_is_refused() {
        let deny = DeviceRule { allow: false, ..DeviceRule::character(1, Some(3)) };
        let error = State::of(&[DeviceRule::character(1, None), deny]).unwrap_err().to_string();
        assert!(error.starts_with("linux.resources.devices: c 1:3 rwm denies a part of"), "{error}");
        assert!(State::of(&[DeviceRule::character(1, Some(3)), deny]).unwrap().exceptions.is_empty());
    }
}
