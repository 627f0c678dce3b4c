//! Rules as the kernel takes them: lists of expressions over registers (linux/netfilter/nf_tables.h).

use super::super::message::Message;
use super::super::subnet::Subnet;
use super::element::NFT_JUMP;
use crate::value::Protocol;
use std::net::Ipv4Addr;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
/// The register that holds what becomes of the packet.
const VERDICT: u32 = 0;
/// The first 16-byte register: holds whatever one comparison needs.
const REGISTER: u32 = 1;
/// The second and the third 4-byte part of it: concatenations lie in parts of four bytes.
const SECOND_PART: u32 = 9;
const THIRD_PART: u32 = 10;
const INTERFACE_NAME_BYTES: usize = 16;

/// Where a field of a packet lies: base (1 network header, 2 transport header), offset and length in bytes.
type Field = (u32, u32, u32);
const SOURCE_ADDRESS: Field = (1, 12, 4);
const DESTINATION_ADDRESS: Field = (1, 16, 4);
const SOURCE_PORT: Field = (2, 0, 2);
const DESTINATION_PORT: Field = (2, 2, 2);
const TCP_SEQUENCE: Field = (2, 4, 4);
const TCP_FLAGS: Field = (2, 13, 1);
const ICMP_TYPE: Field = (2, 0, 1);

const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const META_TRANSPORT: u32 = 16;
const META_INPUT_GROUP: u32 = 21;
const META_OUTPUT_GROUP: u32 = 22;

/// Bits of `ct state`: established and related; new.
const STATE_ESTABLISHED_OR_RELATED: u32 = 2 | 4;
const STATE_NEW: u32 = 8;
/// The bit of `ct status` for a connection whose destination was rewritten (`IPS_DST_NAT`).
const STATUS_DESTINATION_REWRITTEN: u32 = 1 << 5;

/// The expressions of one rule, in order; each match must hold for the next to be looked at.
pub(super) struct Rule<'a>(pub(super) &'a mut Message);

impl Rule<'_> {
    /// The packet came in by another interface than `name`.
    pub(super) fn enters_not_by(&mut self, name: &str) -> &mut Self {
        self.meta(META_INPUT_NAME, REGISTER).compare(false, &interface_name(name))
    }

    /// The packet leaves by the interface `name`.
    pub(super) fn leaves_by(&mut self, name: &str) -> &mut Self {
        self.meta(META_OUTPUT_NAME, REGISTER).compare(true, &interface_name(name))
    }

    /// The packet came in by an interface of `group`: a container sent it.
    pub(super) fn comes_from_container(&mut self, group: u32) -> &mut Self {
        self.meta(META_INPUT_GROUP, REGISTER).compare(true, &group.to_ne_bytes())
    }

    /// The packet leaves by an interface of `group`: it goes to a container.
    pub(super) fn goes_to_container(&mut self, group: u32) -> &mut Self {
        self.meta(META_OUTPUT_GROUP, REGISTER).compare(true, &group.to_ne_bytes())
    }

    /// The packet leaves by an interface outside of `group`.
    pub(super) fn goes_not_to_container(&mut self, group: u32) -> &mut Self {
        self.meta(META_OUTPUT_GROUP, REGISTER).compare(false, &group.to_ne_bytes())
    }

    /// The interface by which the packet came in does not lead back to its source: the source is forged.
    pub(super) fn source_is_forged(&mut self) -> &mut Self {
        const RESULT_INTERFACE: u32 = 1;
        const BY_SOURCE_AND_INTERFACE: u32 = 1 | 1 << 3;
        self.expression("fib", |data| {
            data.network_number(1, REGISTER)
                .network_number(2, RESULT_INTERFACE)
                .network_number(3, BY_SOURCE_AND_INTERFACE);
        })
        .compare(true, &[0; 4])
    }

    /// The packet's source lies in `subnet`.
    pub(super) fn source_in(&mut self, subnet: Subnet) -> &mut Self {
        self.address_in(SOURCE_ADDRESS, subnet)
    }

    /// The packet's destination lies in `subnet`.
    pub(super) fn destination_in(&mut self, subnet: Subnet) -> &mut Self {
        self.address_in(DESTINATION_ADDRESS, subnet)
    }

    /// The packet's destination is an address of this host.
    pub(super) fn destination_is_local(&mut self) -> &mut Self {
        const RESULT_ADDRESS_TYPE: u32 = 3;
        const BY_DESTINATION: u32 = 1 << 1;
        self.expression("fib", |data| {
            data.network_number(1, REGISTER).network_number(2, RESULT_ADDRESS_TYPE).network_number(3, BY_DESTINATION);
        })
        .compare(true, &u32::from(libc::RTN_LOCAL).to_ne_bytes())
    }

    /// The packet belongs to a connection that is there already.
    pub(super) fn of_known_connection(&mut self) -> &mut Self {
        const STATE: u32 = 0;
        self.connection_has(STATE, STATE_ESTABLISHED_OR_RELATED)
    }

    /// The packet is the first of its connection.
    pub(super) fn of_new_connection(&mut self) -> &mut Self {
        const STATE: u32 = 0;
        self.connection_has(STATE, STATE_NEW)
    }

    /// The packet belongs to a connection that came in by a published port or to a service.
    pub(super) fn of_published_port(&mut self) -> &mut Self {
        const STATUS: u32 = 2;
        self.connection_has(STATUS, STATUS_DESTINATION_REWRITTEN)
    }

    /// Sends the packet where `map` (transport . port -> address . port) says, if it says so.
    pub(super) fn redirect_by_port(&mut self, map: &str) -> &mut Self {
        self.meta(META_TRANSPORT, REGISTER).load(DESTINATION_PORT, SECOND_PART).redirect(map)
    }

    /// Sends the packet where `map` (address . transport . port -> address . port) says, if it says so.
    pub(super) fn redirect_by_address_and_port(&mut self, map: &str) -> &mut Self {
        self.load(DESTINATION_ADDRESS, REGISTER)
            .meta(META_TRANSPORT, SECOND_PART)
            .load(DESTINATION_PORT, THIRD_PART)
            .redirect(map)
    }

    /// Goes on in the chain that `map` (address . transport . port -> verdict) names, if it names one.
    pub(super) fn goto_by_address_and_port(&mut self, map: &str) -> &mut Self {
        self.load(DESTINATION_ADDRESS, REGISTER)
            .meta(META_TRANSPORT, SECOND_PART)
            .load(DESTINATION_PORT, THIRD_PART)
            .lookup(map, Some(VERDICT), false)
    }

    /// Goes on in the chain that `map` (transport . port -> verdict) names, if it names one.
    pub(super) fn goto_by_port(&mut self, map: &str) -> &mut Self {
        self.meta(META_TRANSPORT, REGISTER).load(DESTINATION_PORT, SECOND_PART).lookup(map, Some(VERDICT), false)
    }

    /// Goes on in the chain that `map` (address -> verdict) names for the source, if it names one.
    pub(super) fn goto_by_source(&mut self, map: &str) -> &mut Self {
        self.load(SOURCE_ADDRESS, REGISTER).lookup(map, Some(VERDICT), false)
    }

    /// The packet's destination is in `set`.
    pub(super) fn destination_among(&mut self, set: &str) -> &mut Self {
        self.load(DESTINATION_ADDRESS, REGISTER).lookup(set, None, false)
    }

    /// The packet's source and destination, together, are in `set`.
    pub(super) fn source_and_destination_among(&mut self, set: &str) -> &mut Self {
        self.load(SOURCE_ADDRESS, REGISTER).load(DESTINATION_ADDRESS, SECOND_PART).lookup(set, None, false)
    }

    /// The packet's source address and port, together, are in `set`.
    pub(super) fn source_and_port_among(&mut self, set: &str) -> &mut Self {
        self.load(SOURCE_ADDRESS, REGISTER).load(SOURCE_PORT, SECOND_PART).lookup(set, None, false)
    }

    /// The packet is the answer of a TCP that has no listener: a RST to a SYN, whose sequence number is 0 (RFC 9293,
    /// 3.5.2); one that ends a connection carries the number that the peer expects.
    pub(super) fn refuses_connection(&mut self) -> &mut Self {
        const RST: u8 = 4;
        self.meta(META_TRANSPORT, REGISTER)
            .compare(true, &[libc::IPPROTO_TCP as u8])
            .load(TCP_FLAGS, REGISTER)
            .mask(&[RST])
            .compare(false, &[0])
            .load(TCP_SEQUENCE, REGISTER)
            .compare(true, &[0; 4])
    }

    /// The packet is an ICMP redirect.
    pub(super) fn is_redirect(&mut self) -> &mut Self {
        const REDIRECT: u8 = 5;
        self.meta(META_TRANSPORT, REGISTER)
            .compare(true, &[libc::IPPROTO_ICMP as u8])
            .load(ICMP_TYPE, REGISTER)
            .compare(true, &[REDIRECT])
    }

    /// Chooses a slot of `slots`, one after the other.
    pub(super) fn next_slot(&mut self, slots: u32) -> &mut Self {
        self.generate(slots, 0)
    }

    /// Chooses a slot of `slots` by chance.
    pub(super) fn random_slot(&mut self, slots: u32) -> &mut Self {
        self.generate(slots, 1)
    }

    /// Chooses a slot of `slots` by the packet's source address.
    pub(super) fn slot_of_source(&mut self, slots: u32, seed: u32) -> &mut Self {
        self.load(SOURCE_ADDRESS, REGISTER).expression("hash", |data| {
            data.network_number(1, REGISTER)
                .network_number(2, REGISTER)
                .network_number(3, 4)
                .network_number(4, slots)
                .network_number(5, seed);
        })
    }

    /// Goes through the chain that `map` (slot -> verdict) names for the chosen slot, and comes back.
    pub(super) fn jump_by_slot(&mut self, map: &str) -> &mut Self {
        self.lookup(map, Some(VERDICT), false)
    }

    /// Goes through `chain` and comes back.
    pub(super) fn jump(&mut self, chain: &str) -> &mut Self {
        self.expression("immediate", |data| {
            data.network_number(1, VERDICT);
            verdict(data, NFT_JUMP, chain);
        })
    }

    /// Takes this address. The kernel could be told to load it as it is, but `nft` aborts when it lists a comparison of
    /// a constant; a generator whose only number is the address it shows.
    pub(super) fn constant(&mut self, address: Ipv4Addr) -> &mut Self {
        self.expression("numgen", |data| {
            data.network_number(1, REGISTER)
                .network_number(2, 1)
                .network_number(3, 0)
                .network_number(4, u32::from_ne_bytes(address.octets()));
        })
    }

    /// The address taken is not in `set`.
    pub(super) fn address_not_among(&mut self, set: &str) -> &mut Self {
        self.lookup(set, None, true)
    }

    /// Sends the packet to this address and port.
    pub(super) fn redirect_to(&mut self, address: Ipv4Addr, port: u16) -> &mut Self {
        self.immediate(REGISTER, &address.octets()).immediate(SECOND_PART, &port.to_be_bytes()).rewrite_destination()
    }

    /// Answers that nobody listens: a RST, or ICMP's port unreachable.
    pub(super) fn refuse(&mut self, protocol: Protocol) -> &mut Self {
        const UNREACHABLE: u32 = 0;
        const RESET: u32 = 1;
        const PORT_UNREACHABLE: u8 = 3;
        let kind = match protocol {
            Protocol::Tcp => RESET,
            Protocol::Udp => UNREACHABLE,
        };
        self.expression("reject", |data| {
            data.network_number(1, kind);
            if kind == UNREACHABLE {
                data.bytes(2, &[PORT_UNREACHABLE]);
            }
        })
    }

    /// Replaces the packet's source by the address of the interface it leaves by.
    pub(super) fn masquerade(&mut self) -> &mut Self {
        self.expression("masq", |_| {})
    }

    /// Lets the packet pass this chain.
    pub(super) fn accept(&mut self) -> &mut Self {
        self.verdict(1)
    }

    /// Drops the packet.
    pub(super) fn drop_packet(&mut self) -> &mut Self {
        self.verdict(0)
    }

    fn verdict(&mut self, code: u32) -> &mut Self {
        self.expression("immediate", |data| {
            data.network_number(1, VERDICT).nest(2, |value| {
                value.nest(NFTA_DATA_VERDICT, |verdict| {
                    verdict.network_number(NFTA_VERDICT_CODE, code);
                });
            });
        })
    }

    fn redirect(&mut self, map: &str) -> &mut Self {
        self.lookup(map, Some(REGISTER), false).rewrite_destination()
    }

    fn rewrite_destination(&mut self) -> &mut Self {
        const DESTINATION: u32 = 1;
        self.expression("nat", |data| {
            data.network_number(1, DESTINATION)
                .network_number(2, libc::AF_INET as u32)
                .network_number(3, REGISTER)
                .network_number(5, SECOND_PART);
        })
    }

    fn lookup(&mut self, set: &str, into: Option<u32>, inverted: bool) -> &mut Self {
        const INVERTED: u32 = 1;
        self.expression("lookup", |data| {
            data.text(1, set).network_number(2, REGISTER);
            if let Some(register) = into {
                data.network_number(3, register);
            }
            if inverted {
                data.network_number(5, INVERTED);
            }
        })
    }

    fn immediate(&mut self, register: u32, bytes: &[u8]) -> &mut Self {
        self.expression("immediate", |data| {
            data.network_number(1, register);
            value(data, 2, bytes);
        })
    }

    fn generate(&mut self, slots: u32, kind: u32) -> &mut Self {
        self.expression("numgen", |data| {
            data.network_number(1, REGISTER).network_number(2, slots).network_number(3, kind);
        })
    }

    /// Whole bytes are compared without a mask, as `nft` writes (and shows) it.
    fn address_in(&mut self, (base, offset, length): Field, subnet: Subnet) -> &mut Self {
        let octets = subnet.address.octets();
        if subnet.prefix.is_multiple_of(8) && subnet.prefix > 0 {
            let whole = u32::from(subnet.prefix / 8);
            return self.load((base, offset, whole), REGISTER).compare(true, &octets[..whole as usize]);
        }
        self.load((base, offset, length), REGISTER).mask(&subnet.mask().octets()).compare(true, &octets)
    }

    fn connection_has(&mut self, key: u32, bits: u32) -> &mut Self {
        self.expression("ct", |data| {
            data.network_number(2, key).network_number(1, REGISTER);
        })
        .mask(&bits.to_ne_bytes())
        .compare(false, &[0; 4])
    }

    fn meta(&mut self, key: u32, register: u32) -> &mut Self {
        self.expression("meta", |data| {
            data.network_number(2, key).network_number(1, register);
        })
    }

    fn load(&mut self, (base, offset, length): Field, register: u32) -> &mut Self {
        self.expression("payload", |data| {
            data.network_number(1, register)
                .network_number(2, base)
                .network_number(3, offset)
                .network_number(4, length);
        })
    }

    fn mask(&mut self, mask: &[u8]) -> &mut Self {
        self.expression("bitwise", |data| {
            data.network_number(1, REGISTER).network_number(2, REGISTER).network_number(3, mask.len() as u32);
            value(data, 4, mask);
            value(data, 5, &vec![0; mask.len()]);
        })
    }

    fn compare(&mut self, equal: bool, expected: &[u8]) -> &mut Self {
        self.expression("cmp", |data| {
            data.network_number(1, REGISTER).network_number(2, u32::from(!equal));
            value(data, 3, expected);
        })
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Message)) -> &mut Self {
        self.0.nest(NFTA_LIST_ELEM, |element| {
            element.text(NFTA_EXPR_NAME, name).nest(NFTA_EXPR_DATA, fill);
        });
        self
    }
}

/// An attribute that holds a value for a register.
pub(super) fn value(message: &mut Message, kind: u16, bytes: &[u8]) {
    message.nest(kind, |data| {
        data.bytes(NFTA_DATA_VALUE, bytes);
    });
}

/// An attribute that holds a verdict about another chain.
pub(super) fn verdict(message: &mut Message, code: i32, chain: &str) {
    message.nest(2, |data| {
        data.nest(NFTA_DATA_VERDICT, |verdict| {
            verdict.network_number(NFTA_VERDICT_CODE, code as u32).text(2, chain);
        });
    });
}

fn interface_name(name: &str) -> [u8; INTERFACE_NAME_BYTES] {
    let mut padded = [0; INTERFACE_NAME_BYTES];
    for (to, from) in padded.iter_mut().zip(name.bytes().take(INTERFACE_NAME_BYTES - 1)) {
        *to = from;
    }
    padded
}
