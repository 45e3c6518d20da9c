//! What an attachment puts into the table's sets and maps.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::TABLE;
use super::network::Network;
use super::rules::{
    ANY4, ANY6, HAIRPIN4, HAIRPIN6, HOSTIP4, HOSTIP6, LOOPBACK4, MASQ4, MASQ6, MASQALL4, MASQALL6, SELF4, SELF6,
};
use crate::wire::attr::{be16_of, ip_of, u32_of};
use crate::wire::nftables::{
    Comment, Data, Elem, Element, Transaction, Verdict, add_element, del_element, get_element,
};
use crate::wire::nlmsg::{Batch, NLM_F_EXCL};

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort {
    host: Option<IpAddr>,
    protocol: u8,
    port: u16,
    target: SocketAddr,
}

/// The host address and the pod's are not both IPv4 or both IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FamilyMismatch;

impl HostPort {
    /// `host`: the address of the host that it is bound to; `None` and the
    /// unspecified address of the pod's family mean all of them. `protocol`:
    /// the IP protocol, such as 6 (TCP), 17 (UDP) or 132 (SCTP). `target`: the
    /// pod's address and port.
    ///
    /// # Errors
    /// [`FamilyMismatch`], see there.
    pub fn new(host: Option<IpAddr>, protocol: u8, port: u16, target: SocketAddr) -> Result<Self, FamilyMismatch> {
        if host.is_some_and(|h| h.is_ipv4() != target.is_ipv4()) {
            return Err(FamilyMismatch);
        }
        Ok(Self {
            host: host.filter(|h| !h.is_unspecified()),
            protocol,
            port,
            // Flow info and scope are no part of a target.
            target: SocketAddr::new(target.ip(), target.port()),
        })
    }

    /// The host address it is bound to; `None`: all of the pod's family.
    #[must_use]
    pub const fn host(&self) -> Option<IpAddr> {
        self.host
    }

    /// The IP protocol.
    #[must_use]
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The port on the host.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The pod's address and port.
    #[must_use]
    pub const fn target(&self) -> SocketAddr {
        self.target
    }
}

/// One element of one of the table's sets or maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A published port.
    Port(HostPort),
    /// Published ports of the pod `addr` are also reached from other pods
    /// behind interface `ifindex` (its bridge). Goes with [`Entry::Itself`].
    Hairpin {
        /// The bridge, or the pod's host-side veth if it has none.
        ifindex: u32,
        /// The pod's address.
        addr: IpAddr,
    },
    /// Published ports of the pod are also reached from the pod itself.
    Itself(IpAddr),
    /// Published ports of the pod are also reached through 127.0.0.1. Needs
    /// `route_localnet` on the interface to the pod.
    Loopback(Ipv4Addr),
    /// Every client of a published port of the pod is masqueraded.
    MasqueradeAll(IpAddr),
    /// What the pod sends out of its network is masqueraded (`ipMasq`). Needs
    /// the network's chain, see [`super::ensure_network`].
    Masquerade {
        /// The pod's address.
        addr: IpAddr,
        /// Its network.
        network: Network,
    },
}

/// What to do if the key is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// `EEXIST` (17). For published ports: who adds it owns it.
    Exclusive,
    /// Success if it says the same, and its owner stays; else `EBUSY` (16) or
    /// `EEXIST`. [`add`] with this, then [`del`], in one transaction, deletes
    /// an entry whether it exists or not.
    Shared,
}

/// Adds an entry, with its owner as the comment.
pub fn add(tx: &mut Transaction<'_, '_>, entry: &Entry, owner: Comment<'_>, claim: Claim) -> u32 {
    let (set, key) = entry.key();
    let (value, chain);
    let data = match entry {
        Entry::Port(port) => {
            value = Bytes::new().ip(port.target.ip()).port(port.target.port());
            Some(Data::Value(value.get()))
        }
        Entry::Masquerade { network, .. } => {
            chain = network.chain_name();
            Some(Data::Verdict(Verdict::Jump(&chain)))
        }
        _ => None,
    };
    let flags = match claim {
        Claim::Exclusive => NLM_F_EXCL,
        Claim::Shared => 0,
    };
    let element = Element { key: key.get(), data, comment: Some(owner) };
    add_element(tx, TABLE, set, &element, flags)
}

/// Deletes an entry, whatever it maps to and whoever owns it. `ENOENT` (2) if
/// it is missing, and then nothing of the transaction happens; [`get`] tells
/// before, [`Claim::Shared`] tells how to do without.
pub fn del(tx: &mut Transaction<'_, '_>, entry: &Entry) -> u32 {
    let (set, key) = entry.key();
    del_element(tx, TABLE, set, key.get())
}

/// Asks for an entry, whatever it maps to: to see who owns it.
pub fn get(batch: &mut Batch<'_>, seq: u32, entry: &Entry) {
    let (set, key) = entry.key();
    get_element(batch, seq, TABLE, set, key.get());
}

/// Reads an element of the set or map `set` back; `None` if it is not one that
/// [`add`] makes.
#[must_use]
pub fn decode(set: &str, elem: &Elem<'_>) -> Option<Entry> {
    let v6 = set.ends_with('6');
    let addr_len = if v6 { 16 } else { 4 };
    let entry = match set {
        HOSTIP4 | HOSTIP6 => {
            let (host, service) = elem.key.split_at_checked(addr_len)?;
            decode_port(Some(ip_of(host)?), service, elem.data?)?
        }
        ANY4 | ANY6 => decode_port(None, elem.key, elem.data?)?,
        HAIRPIN4 | HAIRPIN6 => Entry::Hairpin { ifindex: u32_of(elem.key)?, addr: ip_of(elem.key.get(4..)?)? },
        SELF4 | SELF6 => Entry::Itself(ip_of(elem.key.get(..addr_len)?)?),
        LOOPBACK4 => Entry::Loopback(Ipv4Addr::from(*elem.key.first_chunk()?)),
        MASQALL4 | MASQALL6 => Entry::MasqueradeAll(ip_of(elem.key)?),
        MASQ4 | MASQ6 => {
            let Data::Verdict(Verdict::Jump(chain)) = elem.data? else {
                return None;
            };
            Entry::Masquerade { addr: ip_of(elem.key)?, network: Network::from_chain_name(chain)? }
        }
        _ => return None,
    };
    // What does not encode to the same element was added by somebody else.
    let (its_set, its_key) = entry.key();
    (its_set == set && its_key.get() == elem.key).then_some(entry)
}

fn decode_port(host: Option<IpAddr>, service: &[u8], data: Data<'_>) -> Option<Entry> {
    let Data::Value(data) = data else {
        return None;
    };
    let (addr, port) = data.split_at_checked(data.len().checked_sub(4)?)?;
    let target = SocketAddr::new(ip_of(addr)?, be16_of(port)?);
    let protocol = service.first().copied()?;
    let port = be16_of(service.get(4..)?)?;
    let port = HostPort::new(host, protocol, port, target).ok()?;
    Some(Entry::Port(port))
}

impl Entry {
    /// The set it goes into, and its key.
    fn key(&self) -> (&'static str, Bytes) {
        let bytes = Bytes::new();
        match *self {
            Self::Port(p) => {
                let set = match (p.host.is_some(), p.target.is_ipv4()) {
                    (true, true) => HOSTIP4,
                    (true, false) => HOSTIP6,
                    (false, true) => ANY4,
                    (false, false) => ANY6,
                };
                let bytes = match p.host {
                    Some(host) => bytes.ip(host),
                    None => bytes,
                };
                (set, bytes.put(&[p.protocol, 0, 0, 0]).port(p.port))
            }
            Self::Hairpin { ifindex, addr } => {
                (by_family(addr, HAIRPIN4, HAIRPIN6), bytes.put(&ifindex.to_ne_bytes()).ip(addr))
            }
            Self::Itself(addr) => (by_family(addr, SELF4, SELF6), bytes.ip(addr).ip(addr)),
            Self::Loopback(addr) => (LOOPBACK4, bytes.put(&addr.octets())),
            Self::MasqueradeAll(addr) => (by_family(addr, MASQALL4, MASQALL6), bytes.ip(addr)),
            Self::Masquerade { addr, .. } => (by_family(addr, MASQ4, MASQ6), bytes.ip(addr)),
        }
    }
}

const fn by_family(addr: IpAddr, v4: &'static str, v6: &'static str) -> &'static str {
    match addr {
        IpAddr::V4(_) => v4,
        IpAddr::V6(_) => v6,
    }
}

/// A key or a value under construction; the longest is `self6` with 32 bytes.
#[derive(Debug, Clone, Copy)]
struct Bytes {
    bytes: [u8; 32],
    len: usize,
}

impl Bytes {
    const fn new() -> Self {
        Self { bytes: [0; 32], len: 0 }
    }

    fn put(mut self, part: &[u8]) -> Self {
        let room = self.bytes.get_mut(self.len..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(part) {
            *to = *from;
        }
        self.len = self.len.saturating_add(part.len());
        self
    }

    fn ip(self, addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(a) => self.put(&Ipv4Addr::octets(&a)),
            IpAddr::V6(a) => self.put(&Ipv6Addr::octets(&a)),
        }
    }

    /// A port in network order, padded to 4 bytes.
    fn port(self, port: u16) -> Self {
        let [high, low] = port.to_be_bytes();
        self.put(&[high, low, 0, 0])
    }

    fn get(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}
