//! Rules as the kernel takes them: lists of expressions over registers (linux/netfilter/nf_tables.h).

use super::super::message::Message;
use super::super::subnet::Subnet;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
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
const DESTINATION_PORT: Field = (2, 2, 2);

const META_INPUT_NAME: u32 = 6;
const META_OUTPUT_NAME: u32 = 7;
const META_TRANSPORT: u32 = 16;

/// Bits of `ct state`: established and related.
const STATE_ESTABLISHED_OR_RELATED: u32 = 2 | 4;
/// The bit of `ct status` for a connection whose destination was rewritten (`IPS_DST_NAT`).
const STATUS_DESTINATION_REWRITTEN: u32 = 1 << 5;

/// The expressions of one rule, in order; each match must hold for the next to be looked at.
pub(super) struct Rule<'a>(pub(super) &'a mut Message);

impl Rule<'_> {
    /// The packet came in by the interface `name`.
    pub(super) fn enters_by(&mut self, name: &str) -> &mut Self {
        self.meta(META_INPUT_NAME, REGISTER).compare(true, &interface_name(name))
    }

    /// The packet came in by another interface than `name`.
    pub(super) fn enters_not_by(&mut self, name: &str) -> &mut Self {
        self.meta(META_INPUT_NAME, REGISTER).compare(false, &interface_name(name))
    }

    /// The packet leaves by the interface `name`.
    pub(super) fn leaves_by(&mut self, name: &str) -> &mut Self {
        self.meta(META_OUTPUT_NAME, REGISTER).compare(true, &interface_name(name))
    }

    /// The packet leaves by another interface than `name`.
    pub(super) fn leaves_not_by(&mut self, name: &str) -> &mut Self {
        self.meta(META_OUTPUT_NAME, REGISTER).compare(false, &interface_name(name))
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

    /// The packet belongs to a connection that came in by a published port.
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
            data.network_number(1, 0).nest(2, |value| {
                value.nest(NFTA_DATA_VERDICT, |verdict| {
                    verdict.network_number(NFTA_VERDICT_CODE, code);
                });
            });
        })
    }

    fn redirect(&mut self, map: &str) -> &mut Self {
        const DESTINATION: u32 = 1;
        self.expression("lookup", |data| {
            data.text(1, map).network_number(2, REGISTER).network_number(3, REGISTER);
        })
        .expression("nat", |data| {
            data.network_number(1, DESTINATION)
                .network_number(2, libc::AF_INET as u32)
                .network_number(3, REGISTER)
                .network_number(5, SECOND_PART);
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

    fn mask(&mut self, mask: &[u8; 4]) -> &mut Self {
        self.expression("bitwise", |data| {
            data.network_number(1, REGISTER).network_number(2, REGISTER).network_number(3, mask.len() as u32);
            value(data, 4, mask);
            value(data, 5, &[0; 4]);
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

fn interface_name(name: &str) -> [u8; INTERFACE_NAME_BYTES] {
    let mut padded = [0; INTERFACE_NAME_BYTES];
    for (to, from) in padded.iter_mut().zip(name.bytes().take(INTERFACE_NAME_BYTES - 1)) {
        *to = from;
    }
    padded
}
