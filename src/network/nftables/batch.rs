//! Transactions of nftables: all of a batch comes into force at once, or nothing does.

use super::super::conversation::{Conversation, Outcome, needs_net_admin};
use super::super::message::Message;
use crate::kernel::NetlinkFamily;
use crate::{Error, ErrorKind, Result};

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;

/// The change that a message of a batch makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    NewTable = 0,
    DeleteTable = 2,
    NewChain = 3,
    DeleteChain = 5,
    NewRule = 6,
    DeleteRule = 8,
    NewSet = 9,
    DeleteSet = 11,
    NewElement = 12,
    DeleteElement = 14,
}

/// What a message needs from the kernel, for the hint of its error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs(pub(super) &'static str);

/// A message of a batch: creates what it names, tells about its end.
pub(super) fn message(change: Change, flags: i32) -> Message {
    let kind = (NFNL_SUBSYS_NFTABLES << 8) | change as u16;
    Message::new(kind, flags, &nfgenmsg(libc::AF_INET as u8, 0))
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    Table = 1,
    Chains = 4,
    Rules = 7,
    Sets = 10,
    Elements = 13,
}

/// A question; `flags` are `NLM_F_DUMP` for all of a kind, `NLM_F_ACK` for one.
pub(super) fn question(question: Question, flags: i32, table: &str) -> Message {
    let kind = (NFNL_SUBSYS_NFTABLES << 8) | question as u16;
    let mut request = Message::new(kind, flags, &nfgenmsg(libc::AF_INET as u8, 0));
    request.text(1, table);
    request
}

/// Messages that come into force together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    messages: Vec<Message>,
    steps: Vec<(&'static str, Needs)>,
}

impl Batch {
    /// Appends a message; `operation` and `needs` explain its refusal.
    pub(super) fn push(&mut self, message: Message, operation: &'static str, needs: Needs) {
        self.messages.push(message);
        self.steps.push((operation, needs));
    }

    /// Whether there is nothing to change.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// A number that no other message of the batch has.
    pub(super) fn next_id(&self) -> u32 {
        1000 + self.messages.len() as u32
    }

    /// How many messages there are for `operation`.
    pub(super) fn count(&self, operation: &str) -> usize {
        self.steps.iter().filter(|(step, _)| *step == operation).count()
    }

    /// Sends the batch; the first refusal is the error.
    pub(super) fn commit(self, conversation: &mut Conversation) -> Result<()> {
        let steps = self.steps;
        let outcomes = conversation.transaction(edge(NFNL_MSG_BATCH_BEGIN), self.messages, edge(NFNL_MSG_BATCH_END))?;
        if let ([refused], true) = (outcomes.as_slice(), steps.len() != 1) {
            return Err(refusal(refused, "change the packet filter", Needs("CONFIG_NF_TABLES")));
        }
        match outcomes.iter().zip(&steps).find(|(outcome, _)| outcome.errno != 0) {
            Some((outcome, (operation, needs))) => Err(refusal(outcome, operation, *needs)),
            None => Ok(()),
        }
    }

    /// The errno of each message (0 is success), or of the whole batch for each.
    pub(super) fn try_commit(self, conversation: &mut Conversation) -> Result<Vec<Outcome>> {
        let count = self.messages.len();
        let outcomes = conversation.transaction(edge(NFNL_MSG_BATCH_BEGIN), self.messages, edge(NFNL_MSG_BATCH_END))?;
        match outcomes.as_slice() {
            [whole] => Ok(vec![whole.clone(); count]),
            _ => Ok(outcomes),
        }
    }

    /// The batch as bytes that any process can send, as one datagram on a fresh socket.
    pub(super) fn into_bytes(self) -> Result<Vec<u8>> {
        let mut bytes = edge(NFNL_MSG_BATCH_BEGIN).finish(0)?;
        let mut sequence = 1;
        for message in self.messages {
            bytes.extend(message.finish(sequence)?);
            sequence += 1;
        }
        bytes.extend(edge(NFNL_MSG_BATCH_END).finish(sequence)?);
        Ok(bytes)
    }
}

/// A conversation with nfnetlink.
pub(super) fn open() -> Result<Conversation> {
    Conversation::open(NetlinkFamily::Netfilter)
}

fn edge(kind: u16) -> Message {
    Message::new(kind, 0, &nfgenmsg(libc::AF_UNSPEC as u8, NFNL_SUBSYS_NFTABLES))
}

/// `struct nfgenmsg`: family, version, and a resource id in network byte order.
fn nfgenmsg(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, libc::NFNETLINK_V0 as u8, high, low]
}

/// The error of a refused change: what the kernel does not know is not a missing thing but a missing feature.
fn refusal(outcome: &Outcome, operation: &str, needs: Needs) -> Error {
    let error = match outcome.check(operation) {
        Ok(()) => Error::new(ErrorKind::Os, operation.to_owned()),
        Err(error) => error,
    };
    match outcome.errno {
        libc::ENOENT | libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT => error
            .with_kind(ErrorKind::Unsupported)
            .hint(format!("the kernel lacks a part of nftables: enable {}, or load its module", needs.0)),
        libc::EACCES => needs_net_admin(error),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_nat_is_told_from_other_refusals() {
        let nat = Needs("CONFIG_NFT_NAT");
        let missing = refusal(&Outcome::of(libc::ENOENT), "create the chain prerouting", nat);
        assert_eq!(missing.kind(), ErrorKind::Unsupported);
        assert!(missing.remedy().unwrap().contains("CONFIG_NFT_NAT"), "{missing}");
        let forbidden = refusal(&Outcome::of(libc::EPERM), "create the chain prerouting", nat);
        assert_eq!(forbidden.kind(), ErrorKind::PermissionDenied);
        assert!(forbidden.remedy().unwrap().contains("CAP_NET_ADMIN"), "{forbidden}");
    }
}
