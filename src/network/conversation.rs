//! Requests to the kernel and its answers, matched by sequence number.

use super::message::{Message, Reply, acknowledgement, malformed, replies};
use crate::error::During;
use crate::kernel::{NetlinkFamily, NetlinkSocket};
use crate::{Error, ErrorKind, Result};

/// A dump that another change interrupted is asked for again, so often at most.
const DUMP_ATTEMPTS: usize = 16;

/// How a request ended: the errno (0 is success) and the kernel's own words about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// 0 or the errno.
    pub(crate) errno: i32,
    words: Option<String>,
}

impl Outcome {
    /// The outcome `errno` without words.
    #[cfg(test)]
    pub(crate) fn of(errno: i32) -> Outcome {
        Outcome { errno, words: None }
    }

    /// Ok, or the error of `operation`.
    pub(crate) fn check(&self, operation: &str) -> Result<()> {
        if self.errno == 0 {
            return Ok(());
        }
        let operation = match &self.words {
            Some(words) => format!("{operation} ({words})"),
            None => operation.to_owned(),
        };
        let error = Error::os(operation, self.errno);
        Err(if self.errno == libc::EPERM { needs_net_admin(error) } else { error })
    }

    /// Like [`Outcome::check`], where `tolerated` (the thing is there, or gone, already) counts as success.
    pub(crate) fn check_but(&self, tolerated: i32, operation: &str) -> Result<()> {
        if self.errno == tolerated { Ok(()) } else { self.check(operation) }
    }
}

/// Says which right is missing.
pub(crate) fn needs_net_admin(error: Error) -> Error {
    error.hint("networks need CAP_NET_ADMIN; without it use Network::Host or Network::None")
}

/// One side of a netlink socket: sends requests, collects what the kernel says to each.
#[derive(Debug)]
pub(crate) struct Conversation {
    socket: NetlinkSocket,
    sequence: u32,
}

impl Conversation {
    /// A conversation in the network namespace of the calling thread.
    pub(crate) fn open(family: NetlinkFamily) -> Result<Conversation> {
        let socket = NetlinkSocket::open(family).during(|| "open a netlink socket").map_err(|error| {
            match (family, error.errno()) {
                (NetlinkFamily::Netfilter, Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT)) => error
                    .with_kind(ErrorKind::Unsupported)
                    .hint("the kernel has no nfnetlink: enable CONFIG_NETFILTER_NETLINK and CONFIG_NF_TABLES"),
                _ => error,
            }
        })?;
        Ok(Conversation { socket, sequence: 0 })
    }

    /// Sends `requests` (each with `NLM_F_ACK`) in one datagram; one outcome for each, in order. The kernel goes on after
    /// one that fails.
    pub(crate) fn request(&mut self, requests: Vec<Message>) -> Result<Vec<Outcome>> {
        let mut datagram = Vec::new();
        let first = self.sequence.wrapping_add(1);
        let count = requests.len();
        for request in requests {
            datagram.extend(request.finish(self.next_sequence())?);
        }
        self.send(&datagram)?;
        let mut outcomes = vec![None; count];
        self.collect(|reply| {
            let index = reply.sequence.wrapping_sub(first) as usize;
            if let (Some(outcome), true) = (outcomes.get_mut(index), i32::from(reply.kind) == libc::NLMSG_ERROR) {
                *outcome = Some(outcome_of(reply)?);
            }
            Ok(outcomes.iter().all(Option::is_some))
        })?;
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Sends one request and checks it.
    pub(crate) fn demand(&mut self, request: Message, operation: &str) -> Result<()> {
        self.request(vec![request])?.iter().try_for_each(|outcome| outcome.check(operation))
    }

    /// Sends a transaction: `begin`, the messages (each with `NLM_F_ACK`), `end`. The outcome of the whole where the
    /// kernel refused it as a whole, else of each message.
    pub(crate) fn transaction(&mut self, begin: Message, messages: Vec<Message>, end: Message) -> Result<Vec<Outcome>> {
        let whole = self.next_sequence();
        let mut datagram = begin.finish(whole)?;
        let mut outcomes = vec![None; messages.len()];
        for message in messages {
            datagram.extend(message.finish(self.next_sequence())?);
        }
        datagram.extend(end.finish(self.next_sequence())?);
        self.send(&datagram)?;
        let mut refused = None;
        self.collect(|reply| {
            if i32::from(reply.kind) == libc::NLMSG_ERROR {
                match reply.sequence.wrapping_sub(whole) as usize {
                    0 => refused = Some(outcome_of(reply)?),
                    index => {
                        if let Some(outcome) = outcomes.get_mut(index - 1) {
                            *outcome = Some(outcome_of(reply)?);
                        }
                    }
                }
            }
            Ok(refused.is_some() || outcomes.iter().all(Option::is_some))
        })?;
        Ok(match refused {
            Some(refused) => vec![refused],
            None => outcomes.into_iter().flatten().collect(),
        })
    }

    /// Asks for one thing; `None` where the kernel says that it is not there.
    pub(crate) fn find<T>(
        &mut self,
        request: Message,
        operation: &str,
        read: impl Fn(&Reply<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let sequence = self.next_sequence();
        self.send(&request.finish(sequence)?)?;
        let mut found = None;
        let mut outcome = None;
        self.collect(|reply| {
            if reply.sequence == sequence {
                match i32::from(reply.kind) {
                    libc::NLMSG_ERROR => outcome = Some(outcome_of(reply)?),
                    _ => found = Some(read(reply)?),
                }
            }
            Ok(outcome.is_some())
        })?;
        match outcome {
            Some(Outcome { errno: libc::ENODEV | libc::ENOENT, .. }) => Ok(None),
            Some(outcome) => outcome.check(operation).map(|()| found),
            None => Ok(found),
        }
    }

    /// Asks for all things of a kind; `read` gives `None` for those that are of no interest.
    pub(crate) fn dump<T>(
        &mut self,
        request: &Message,
        operation: &str,
        read: impl Fn(&Reply<'_>) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        for _ in 0..DUMP_ATTEMPTS {
            let sequence = self.next_sequence();
            self.send(&request.clone().finish(sequence)?)?;
            let (mut all, mut interrupted, mut outcome) = (Vec::new(), false, None);
            self.collect(|reply| {
                if reply.sequence != sequence {
                    return Ok(false);
                }
                interrupted |= i32::from(reply.flags) & libc::NLM_F_DUMP_INTR != 0;
                match i32::from(reply.kind) {
                    libc::NLMSG_DONE | libc::NLMSG_ERROR => outcome = Some(outcome_of(reply)?),
                    _ => all.extend(read(reply)?),
                }
                Ok(outcome.is_some())
            })?;
            if let Some(outcome) = outcome {
                outcome.check(operation)?;
            }
            if !interrupted {
                return Ok(all);
            }
        }
        Err(Error::new(ErrorKind::Unavailable, format!("{operation}: it changes faster than it can be read")))
    }

    /// Receives until `enough` says so.
    fn collect(&mut self, mut enough: impl FnMut(&Reply<'_>) -> Result<bool>) -> Result<()> {
        loop {
            let datagram = self.socket.receive().during(|| "receive from a netlink socket")?;
            let mut done = false;
            for reply in replies(&datagram) {
                done |= enough(&reply?)?;
            }
            if done {
                return Ok(());
            }
        }
    }

    fn send(&self, datagram: &[u8]) -> Result<()> {
        self.socket.send(datagram).during(|| "send to a netlink socket")
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

fn outcome_of(reply: &Reply<'_>) -> Result<Outcome> {
    if reply.payload.len() < 4 {
        return Err(malformed("acknowledgement"));
    }
    let (errno, words) = acknowledgement(reply)?;
    Ok(Outcome { errno: errno.max(0), words })
}
