//! One chain for each network that has `ipMasq`: what its pods send to the
//! network itself or to a multicast group keeps its source, the rest is
//! masqueraded.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::TABLE;
use super::rules::{DADDR4, DADDR6, IS_V4, IS_V6, NFPROTO};
use crate::wire::nftables::{
    Chain, Cmp, Expr, PayloadBase, Reg, Transaction, Verdict, del_chain, flush_chain, new_chain, new_rule,
};

/// A network in CIDR form, with zero host bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    addr: IpAddr,
    prefix: u8,
}

/// The name of a network's chain: at most 43 bytes.
pub type ChainName = heapless::String<48>;

const CHAIN_PREFIX: &str = "net-";

impl Network {
    /// The network that `addr` is in; `None` if the prefix is longer than the
    /// address.
    #[must_use]
    pub fn new(addr: IpAddr, prefix: u8) -> Option<Self> {
        let addr = match addr {
            IpAddr::V4(a) => {
                let mask = u32::from_be_bytes(mask(prefix));
                IpAddr::V4(Ipv4Addr::from_bits(a.to_bits() & mask))
            }
            IpAddr::V6(a) => {
                let mask = u128::from_be_bytes(mask(prefix));
                IpAddr::V6(Ipv6Addr::from_bits(a.to_bits() & mask))
            }
        };
        let bits = if addr.is_ipv4() { 32 } else { 128 };
        (prefix <= bits).then_some(Self { addr, prefix })
    }

    /// Its first address.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Its prefix length in bits.
    #[must_use]
    pub const fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Name of its chain: `net-10.88.0.0-24`, `net-fd00.0.0.0.0.0.0.0-64`. A
    /// colon would end a name in nft's language.
    #[must_use]
    pub fn chain_name(&self) -> ChainName {
        let mut name = Writer(ChainName::new());
        name.text(CHAIN_PREFIX);
        match self.addr {
            IpAddr::V4(a) => {
                for (i, byte) in a.octets().into_iter().enumerate() {
                    name.text(if i == 0 { "" } else { "." });
                    name.decimal(byte);
                }
            }
            IpAddr::V6(a) => {
                for (i, group) in a.segments().into_iter().enumerate() {
                    name.text(if i == 0 { "" } else { "." });
                    name.hex(group);
                }
            }
        }
        name.text("-");
        name.decimal(self.prefix);
        name.0
    }

    /// The network of a chain; `None` if [`Network::chain_name`] never gives
    /// this name.
    #[must_use]
    pub fn from_chain_name(name: &str) -> Option<Self> {
        let (addr, prefix) = name.strip_prefix(CHAIN_PREFIX)?.split_once('-')?;
        let mut groups = [0u16; 8];
        let mut slots = groups.iter_mut();
        let v6 = addr.bytes().filter(|b| *b == b'.').count() > 3;
        let radix = if v6 { 16 } else { 10 };
        for part in addr.split('.') {
            *slots.next()? = u16::from_str_radix(part, radix).ok()?;
        }
        let left = slots.count();
        let addr = match (v6, left) {
            (true, 0) => IpAddr::V6(Ipv6Addr::from(groups)),
            (false, 4) => {
                let [a, b, c, d, ..] = groups.map(|g| u8::try_from(g).ok());
                IpAddr::V4(Ipv4Addr::new(a?, b?, c?, d?))
            }
            _ => return None,
        };
        let network = Self::new(addr, prefix.parse().ok()?)?;
        // One network has one name: leading zeros and host bits are not ours.
        (network.chain_name() == name).then_some(network)
    }
}

/// `prefix` ones, then zeros.
fn mask<const N: usize>(prefix: u8) -> [u8; N] {
    let mut mask = [0u8; N];
    let mut ones = u32::from(prefix);
    for byte in &mut mask {
        let here = ones.min(8);
        // A shift by all 8 bits is None: the whole byte belongs to the mask.
        *byte = !0xffu8.checked_shr(here).unwrap_or(0);
        ones = ones.saturating_sub(here);
    }
    mask
}

/// Appends to a name. Nothing is ever lost: the longest name is shorter than
/// the capacity, which a test holds.
struct Writer(ChainName);

impl Writer {
    fn text(&mut self, text: &str) {
        let _ = self.0.push_str(text);
    }

    fn decimal(&mut self, value: u8) {
        for divisor in [100u8, 10, 1] {
            if value >= divisor || divisor == 1 {
                let digit = value.checked_div(divisor).unwrap_or(0).checked_rem(10);
                self.digit(digit.unwrap_or(0));
            }
        }
    }

    fn hex(&mut self, value: u16) {
        for shift in [12u32, 8, 4, 0] {
            let rest = value.checked_shr(shift).unwrap_or(0);
            if rest != 0 || shift == 0 {
                self.digit(u8::try_from(rest & 15).unwrap_or(0));
            }
        }
    }

    fn digit(&mut self, digit: u8) {
        let _ = self.0.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
    }
}

/// Makes a network's chain, or makes it right if it exists: new, flushed and
/// filled in one transaction, so no packet sees it half done.
///
/// Needed once, not in every ADD: [`crate::wire::nftables::get_chain`] tells.
/// An [`super::Entry::Masquerade`] without its chain is `ENOENT` (2).
pub fn ensure_network(tx: &mut Transaction<'_, '_>, network: &Network) {
    let name = network.chain_name();
    let chain = Chain { table: TABLE, name: &name, base: None, comment: None };
    new_chain(tx, &chain, 0);
    flush_chain(tx, TABLE, &name);
    match network.addr {
        IpAddr::V4(addr) => {
            let family = [NFPROTO, IS_V4];
            return_if_to(tx, &name, family, DADDR4, &addr.octets(), network.prefix);
            return_if_to(tx, &name, family, DADDR4, &[224, 0, 0, 0], 4);
        }
        IpAddr::V6(addr) => {
            let family = [NFPROTO, IS_V6];
            let mut multicast = [0u8; 16];
            if let Some(first) = multicast.first_mut() {
                *first = 0xff;
            }
            return_if_to(tx, &name, family, DADDR6, &addr.octets(), network.prefix);
            return_if_to(tx, &name, family, DADDR6, &multicast, 8);
        }
    }
    new_rule(tx, TABLE, &name, &[Expr::Masquerade], None);
}

/// Deletes a network's chain. `EBUSY` (16) while a pod still uses it, `ENOENT`
/// (2) if it is missing.
pub fn del_network(tx: &mut Transaction<'_, '_>, network: &Network) -> u32 {
    del_chain(tx, TABLE, &network.chain_name())
}

/// Appends `daddr ADDR/PREFIX return`. Whole bytes are compared directly, as
/// nft does; other prefixes need a mask.
fn return_if_to<const N: usize>(
    tx: &mut Transaction<'_, '_>,
    chain: &str,
    [load, family]: [Expr<'static>; 2],
    offset: u8,
    addr: &[u8; N],
    prefix: u8,
) {
    const RETURN: Expr<'static> = Expr::Verdict(Verdict::Return);
    let whole = prefix >> 3;
    let head = addr.get(..usize::from(whole)).unwrap_or(addr);
    // N is 4 or 16.
    let len = u8::try_from(N).unwrap_or(0);
    let payload = |len| Expr::Payload(PayloadBase::Network, offset, len, Reg::R1);
    let equal = |bytes| Expr::Cmp(Reg::R1, Cmp::Eq, bytes);
    if prefix == 0 {
        new_rule(tx, TABLE, chain, &[load, family, RETURN], None);
    } else if prefix & 7 == 0 {
        let exprs = [load, family, payload(whole), equal(head), RETURN];
        new_rule(tx, TABLE, chain, &exprs, None);
    } else {
        let mask: [u8; N] = mask(prefix);
        let and = Expr::And(Reg::R1, &mask);
        let exprs = [load, family, payload(len), and, equal(addr), RETURN];
        new_rule(tx, TABLE, chain, &exprs, None);
    }
}
