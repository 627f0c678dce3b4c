//! Netlink messages: a header, a family's fixed part, attributes that may nest (netlink(7), linux/netlink.h).
//!
//! Lengths are 16 bits wide and a silently wrapped one has let attributes be forged before (CVE-2021-43784): here a
//! message with an attribute that is too long never becomes bytes, and what is read is checked before it is used.

use crate::{Error, ErrorKind, Result};

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
const NESTED: u16 = 1 << 15;
const TYPE_MASK: u16 = 0x3fff;

/// One message under construction.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    bytes: Vec<u8>,
    too_long: bool,
}

impl Message {
    /// A request of type `kind`; `flags` are the `NLM_F_*` beside `NLM_F_REQUEST`, `fixed` is the family's own header.
    pub(crate) fn new(kind: u16, flags: i32, fixed: &[u8]) -> Message {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(((flags | libc::NLM_F_REQUEST) as u16).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(fixed);
        let mut message = Message { bytes, too_long: false };
        message.pad();
        message
    }

    /// An attribute of plain bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Message {
        self.attribute(kind, |message| message.bytes.extend(value))
    }

    /// An attribute of text with its terminating NUL.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Message {
        self.attribute(kind, |message| {
            message.bytes.extend(value.as_bytes());
            message.bytes.push(0);
        })
    }

    /// A number in the machine's byte order, as rtnetlink takes it.
    pub(crate) fn number(&mut self, kind: u16, value: u32) -> &mut Message {
        self.bytes(kind, &value.to_ne_bytes())
    }

    /// A number in network byte order, as nfnetlink takes it.
    pub(crate) fn network_number(&mut self, kind: u16, value: u32) -> &mut Message {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// An attribute that holds attributes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) -> &mut Message {
        self.attribute(kind | NESTED, fill)
    }

    /// An attribute that begins with a fixed header and goes on with attributes, like `VETH_INFO_PEER`.
    pub(crate) fn nest_after(&mut self, kind: u16, fixed: &[u8], fill: impl FnOnce(&mut Message)) -> &mut Message {
        self.attribute(kind, |message| {
            message.bytes.extend(fixed);
            message.pad();
            fill(message);
        })
    }

    /// The finished message with its length and `sequence` number.
    pub(crate) fn finish(mut self, sequence: u32) -> Result<Vec<u8>> {
        let length = u32::try_from(self.bytes.len()).ok().filter(|_| !self.too_long);
        let length = length.ok_or_else(|| Error::new(ErrorKind::LimitExceeded, "a netlink message is too long"))?;
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        Ok(self.bytes)
    }

    fn attribute(&mut self, kind: u16, fill: impl FnOnce(&mut Message)) -> &mut Message {
        let start = self.bytes.len();
        self.bytes.extend([0; ATTRIBUTE_HEADER]);
        fill(self);
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => {
                self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
                self.bytes[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
            }
            Err(_) => self.too_long = true,
        }
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One message of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reply<'a> {
    /// The type: an `RTM_*`, an nftables message, or one of `NLMSG_*`.
    pub(crate) kind: u16,
    /// The `NLM_F_*` flags.
    pub(crate) flags: u16,
    /// The number of the request that it answers.
    pub(crate) sequence: u32,
    /// What follows the header.
    pub(crate) payload: &'a [u8],
}

/// The messages of one datagram; ends after the first malformed one, which is an error.
pub(crate) fn replies(mut datagram: &[u8]) -> impl Iterator<Item = Result<Reply<'_>>> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let Some((reply, length)) = first_reply(datagram) else {
            datagram = &[];
            return Some(Err(malformed("message")));
        };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(reply))
    })
}

fn first_reply(datagram: &[u8]) -> Option<(Reply<'_>, usize)> {
    let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
    let payload = datagram.get(HEADER..length)?;
    let (kind, flags, sequence) = (u16_at(datagram, 4)?, u16_at(datagram, 6)?, u32_at(datagram, 8)?);
    Some((Reply { kind, flags, sequence, payload }, length))
}

/// The attributes in `bytes` as (type without the nesting flags, value); ends after the first malformed one.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8])>> {
    std::iter::from_fn(move || {
        if bytes.len() < ATTRIBUTE_HEADER {
            // Up to three bytes of padding may be left over.
            return None;
        }
        let first = u16_at(bytes, 0).map(usize::from).and_then(|length| {
            let value = bytes.get(ATTRIBUTE_HEADER..length)?;
            Some((u16_at(bytes, 2)? & TYPE_MASK, value, length))
        });
        let Some((kind, value, length)) = first else {
            bytes = &[];
            return Some(Err(malformed("attribute")));
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok((kind, value)))
    })
}

/// What a `NLMSG_ERROR` says: 0 or the errno, and the kernel's own words where it has some.
pub(crate) fn acknowledgement(reply: &Reply<'_>) -> Result<(i32, Option<String>)> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let code = u32_at(reply.payload, 0).ok_or_else(|| malformed("acknowledgement"))? as i32;
    let mut words = None;
    if i32::from(reply.flags) & libc::NLM_F_ACK_TLVS != 0 {
        // NETLINK_CAP_ACK is set on every socket: only the header of the request is repeated.
        for attribute in attributes(reply.payload.get(4 + HEADER..).unwrap_or_default()) {
            let (kind, value) = attribute?;
            if kind == NLMSGERR_ATTR_MSG {
                words = Some(text(value));
            }
        }
    }
    Ok((code.checked_neg().unwrap_or(libc::EPROTO), words))
}

/// The 16-bit number at `offset`, in the machine's byte order.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(offset..offset.checked_add(2)?)?.try_into().ok()?))
}

/// The 32-bit number at `offset`, in the machine's byte order.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(offset..offset.checked_add(4)?)?.try_into().ok()?))
}

/// The 64-bit number at `offset`, in the machine's byte order.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(offset..offset.checked_add(8)?)?.try_into().ok()?))
}

/// The text of an attribute, up to its NUL.
pub(crate) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// The error for an answer that breaks the format.
pub(crate) fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the kernel's netlink answer has a malformed {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Vec<u8> {
        let mut message = Message::new(16, libc::NLM_F_ACK, &[7; 16]);
        message.text(3, "eth0").number(4, 1500).nest(18, |nest| {
            nest.text(1, "veth").nest_after(2, &[1, 2], |inner| {
                inner.bytes(5, &[9]);
            });
        });
        message.finish(42).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = sample();
        let reply = replies(&bytes).next().unwrap().unwrap();
        assert_eq!((reply.kind, reply.sequence), (16, 42));
        let read: Vec<_> = attributes(&reply.payload[16..]).map(Result::unwrap).collect();
        assert_eq!(read[0], (3, &b"eth0\0"[..]));
        assert_eq!(read[1], (4, &1500u32.to_ne_bytes()[..]));
        let inner: Vec<_> = attributes(read[2].1).map(Result::unwrap).collect();
        assert_eq!(inner[0], (1, &b"veth\0"[..]));
        assert_eq!(attributes(&inner[1].1[4..]).next().unwrap().unwrap(), (5, &[9][..]));
    }

    #[test]
    fn lengths_never_wrap() {
        let mut message = Message::new(16, 0, &[]);
        message.bytes(1, &vec![0; 65_532]);
        assert_eq!(message.finish(1).unwrap_err().kind(), ErrorKind::LimitExceeded);
        let mut message = Message::new(16, 0, &[]);
        message.nest(1, |nest| {
            for _ in 0..2 {
                nest.bytes(2, &vec![0; 40_000]);
            }
        });
        assert_eq!(message.finish(1).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = sample();
        for length in 1..bytes.len() {
            assert!(replies(&bytes[..length]).any(|reply| reply.is_err()), "{length}");
        }
    }

    #[test]
    fn a_length_that_lies_is_an_error() {
        for length in [0u32, 1, 15, 0xffff, u32::MAX] {
            let mut bytes = sample();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(replies(&bytes).next().unwrap().is_err(), "{length}");
        }
        for length in [0u16, 1, 3, 9, u16::MAX] {
            let mut attribute = vec![0; 8];
            attribute[..2].copy_from_slice(&length.to_ne_bytes());
            assert!(attributes(&attribute).next().unwrap().is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            for reply in replies(&bytes).flatten() {
                let _ = acknowledgement(&reply);
                let _ = attributes(reply.payload).count();
            }
            prop_assert!(attributes(&bytes).count() <= bytes.len() / 4 + 1);
        }

        #[test]
        fn no_changed_byte_breaks_the_reader(position in 0..100usize, value in any::<u8>()) {
            let mut bytes = sample();
            let position = position % bytes.len();
            bytes[position] = value;
            for reply in replies(&bytes).flatten() {
                for (_, value) in attributes(reply.payload.get(16..).unwrap_or_default()).flatten() {
                    let _ = attributes(value).count();
                }
            }
        }
    }
}
