//! Chains and rules of the packet filter that are not ours: those of the plugins
//! that a node ran before, or will run after.
//!
//! Our own state is elements of one table, see [`crate::op::Change::Publish`] and
//! its like; nothing here is needed for it.

use core::net::{IpAddr, SocketAddr};

use crate::name::{IfName, Mac};
use crate::net::Cidr;
use crate::observe::Protocol;
use crate::put;
use crate::text::{Put, Sink};

/// The packets that a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum TableFamily {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
    /// Frames on bridges.
    Bridge,
}

impl TableFamily {
    /// Of a table for one family of addresses.
    #[must_use]
    pub const fn of(v6: bool) -> Self {
        if v6 { TableFamily::Ip6 } else { TableFamily::Ip }
    }

    /// As nft(8) spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            TableFamily::Ip => "ip",
            TableFamily::Ip6 => "ip6",
            TableFamily::Inet => "inet",
            TableFamily::Bridge => "bridge",
        }
    }
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Table<'a> {
    /// Its family.
    pub family: TableFamily,
    /// Its name.
    pub name: &'a str,
}

impl<'a> Table<'a> {
    /// The chain of this table that is called `name`.
    #[must_use]
    pub const fn chain(self, name: &'a str) -> Chain<'a> {
        Chain { table: self, name }
    }
}

/// A chain of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Chain<'a> {
    /// The table.
    pub table: Table<'a>,
    /// Its name.
    pub name: &'a str,
}

/// Rules of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Which<'a> {
    /// Those with this comment.
    Comment(&'a str),
    /// Those whose comment begins so.
    CommentPrefix(&'a str),
    /// Those that jump to this chain.
    JumpTo(&'a str),
}

/// A rule that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RuleView<'a> {
    /// Its comment; "" if it has none.
    pub comment: &'a str,
    /// The chain that it jumps or goes to; "" if it does neither.
    pub jumps_to: &'a str,
}

impl RuleView<'_> {
    /// Whether it is one of these.
    #[must_use]
    pub fn is(&self, which: Which<'_>) -> bool {
        match which {
            Which::Comment(comment) => self.comment == comment,
            Which::CommentPrefix(prefix) => self.comment.starts_with(prefix),
            Which::JumpTo(chain) => self.jumps_to == chain,
        }
    }
}

/// Where a chain hangs in the way of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Hook {
    /// New connections that come in, to be led elsewhere.
    NatPrerouting,
    /// New connections of the host's own, to be led elsewhere.
    NatOutput,
    /// New connections that go out, to get another source.
    NatPostrouting,
    /// Every packet that comes in.
    FilterPrerouting,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Action<'a> {
    /// Another chain's rules, then back.
    Jump(&'a str),
    /// Another chain's rules, and not back.
    Goto(&'a str),
    /// Back to the calling chain.
    Return,
    /// It is gone.
    Drop,
    /// It gets the host's address as its source.
    Masquerade,
    /// It goes there.
    Dnat(SocketAddr),
}

/// A rule to add: every condition that is there must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Rule<'a> {
    /// It came in by this link.
    pub input: Option<IfName>,
    /// Its sender on the link.
    pub source_mac: Option<Mac>,
    /// Its source.
    pub from: Option<IpAddr>,
    /// Its destination is within this network, or is not.
    pub to: Option<(bool, Cidr)>,
    /// Its destination is an address of this host.
    pub to_host: bool,
    /// Transport and destination port.
    pub port: Option<(Protocol, u16)>,
    /// What becomes of it.
    pub action: Action<'a>,
}

impl<'a> Rule<'a> {
    /// For every packet.
    #[must_use]
    pub const fn new(action: Action<'a>) -> Self {
        Rule { input: None, source_mac: None, from: None, to: None, to_host: false, port: None, action }
    }
}

impl Put for Table<'_> {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, self.family.as_str(), " ", self.name);
    }
}

impl Put for Chain<'_> {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, self.table, " ", self.name);
    }
}

impl Put for Rule<'_> {
    /// In nft's words.
    fn put(&self, out: &mut dyn Sink) {
        if let Some(input) = self.input {
            put!(out, "iifname ", input, " ");
        }
        if let Some(mac) = self.source_mac {
            put!(out, "ether saddr ", mac, " ");
        }
        if let Some(from) = self.from {
            put!(out, "saddr ", from, " ");
        }
        if let Some((within, net)) = self.to {
            put!(out, if within { "daddr " } else { "daddr != " }, net, " ");
        }
        if self.to_host {
            put!(out, "fib daddr type local ");
        }
        if let Some((protocol, port)) = self.port {
            put!(out, protocol.as_str(), " dport ", port, " ");
        }
        match self.action {
            Action::Jump(chain) => put!(out, "jump ", chain),
            Action::Goto(chain) => put!(out, "goto ", chain),
            Action::Return => put!(out, "return"),
            Action::Drop => put!(out, "drop"),
            Action::Masquerade => put!(out, "masquerade"),
            Action::Dnat(to) => put!(out, "dnat to ", to.ip(), " port ", to.port()),
        }
    }
}
