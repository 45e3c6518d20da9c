//! A network policy: who may talk to an attachment and whom it may talk to, in
//! the words of Kubernetes (networking.k8s.io/v1, NetworkPolicy).

use core::net::IpAddr;

use crate::digest;
use crate::name::IfIndex;
use crate::net::Cidr;
use crate::put;
use crate::text::{Put, Sink};

/// Which way a connection goes, as the attachment sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Direction {
    /// To the attachment.
    Ingress,
    /// From it.
    Egress,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ingress, Self::Egress];

    /// As a config names its rules.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// Ports of one transport protocol, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PortRange {
    /// IP protocol: 6 is TCP, 17 UDP, 132 SCTP.
    pub protocol: u8,
    /// First destination port; 0 with a last of 65535: all of them.
    pub first: u16,
    /// Last destination port.
    pub last: u16,
}

/// A line of a policy. Lines of one direction are alternatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PolicyLine {
    /// Connections that are let through.
    Allow {
        /// Their direction.
        direction: Direction,
        /// The other end; `None`: everyone.
        peer: Option<Cidr>,
        /// Their destination ports; `None`: every packet.
        ports: Option<PortRange>,
    },
    /// Not those of this part of the peer: narrows the latest [`PolicyLine::Allow`].
    Except(Cidr),
}

/// What is enforced for one attachment. New connections of an isolated direction
/// that no line lets through are dropped; replies pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Policy<'a> {
    /// Owner's tag.
    pub tag: &'a str,
    /// The attachment's addresses: by these routed packets are known.
    pub addresses: &'a [IpAddr],
    /// Its bridge port, if frames between ports of the bridge are to be judged
    /// on the bridge: by this they are known.
    pub port: Option<IfIndex>,
    /// Connections to it are dropped unless a line lets them through.
    pub ingress: bool,
    /// Connections from it are dropped unless a line lets them through.
    pub egress: bool,
    /// What is let through.
    pub lines: &'a [PolicyLine],
}

impl Policy<'_> {
    /// Whether connections of this direction are dropped by default.
    #[must_use]
    pub const fn isolates(&self, direction: Direction) -> bool {
        match direction {
            Direction::Ingress => self.ingress,
            Direction::Egress => self.egress,
        }
    }

    /// What is let through in one direction, each with its exceptions.
    pub fn allowed(
        &self,
        direction: Direction,
    ) -> impl Iterator<Item = (Option<Cidr>, Option<PortRange>, impl Iterator<Item = Cidr> + Clone)> {
        self.lines.iter().enumerate().filter_map(move |(at, line)| match *line {
            PolicyLine::Allow { direction: own, peer, ports } if own == direction => {
                let rest = self.lines.get(at.saturating_add(1)..).unwrap_or_default();
                Some((peer, ports, rest.iter().map_while(exception)))
            }
            _ => None,
        })
    }

    /// A number for what is isolated and let through, not for whom: rules in the
    /// packet filter carry it, so that others are told from them.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let isolated = [u8::from(self.ingress), u8::from(self.egress)];
        self.lines.iter().fold(digest::hash64(&[&isolated]), |state, line| {
            let mut text = heapless::String::<96>::new();
            put!(&mut text, *line);
            digest::hash64(&[&state.to_le_bytes(), text.as_bytes()])
        })
    }
}

fn exception(line: &PolicyLine) -> Option<Cidr> {
    match line {
        PolicyLine::Except(cidr) => Some(*cidr),
        PolicyLine::Allow { .. } => None,
    }
}

impl Put for PolicyLine {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            PolicyLine::Allow { direction, peer, ports } => {
                put!(out, direction.as_str(), " ");
                match peer {
                    Some(peer) => put!(out, *peer),
                    None => put!(out, "any"),
                }
                if let Some(ports) = ports {
                    put!(out, " protocol ", ports.protocol, " ports ", ports.first, "-", ports.last);
                }
            }
            PolicyLine::Except(cidr) => put!(out, "except ", *cidr),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap()
    }

    #[test]
    fn exceptions_belong_to_the_line_before_them() {
        let allow = |direction, peer: &str| PolicyLine::Allow { direction, peer: Some(cidr(peer)), ports: None };
        let lines = [
            allow(Direction::Ingress, "10.0.0.0/8"),
            PolicyLine::Except(cidr("10.1.0.0/16")),
            PolicyLine::Except(cidr("10.2.0.0/16")),
            allow(Direction::Egress, "fd00::/8"),
            allow(Direction::Ingress, "192.0.2.0/24"),
        ];
        let policy = Policy { tag: "", addresses: &[], port: None, ingress: true, egress: false, lines: &lines };
        let counts: heapless::Vec<usize, 4> =
            policy.allowed(Direction::Ingress).map(|(_, _, except)| except.count()).collect();
        assert_eq!(counts, [2, 0]);
        assert_eq!(policy.allowed(Direction::Egress).count(), 1);
        assert!(policy.isolates(Direction::Ingress) && !policy.isolates(Direction::Egress));
    }

    #[test]
    fn the_digest_tells_policies_apart_and_not_attachments() {
        let lines = [PolicyLine::Allow { direction: Direction::Ingress, peer: None, ports: None }];
        let policy = Policy { tag: "a", addresses: &[], port: None, ingress: true, egress: false, lines: &lines };
        assert_eq!(policy.digest(), Policy { tag: "b", port: Some(IfIndex(3)), ..policy }.digest());
        assert_ne!(policy.digest(), Policy { egress: true, ..policy }.digest());
        assert_ne!(policy.digest(), Policy { lines: &[], ..policy }.digest());
        let ports = Some(PortRange { protocol: 6, first: 80, last: 80 });
        let narrower = [PolicyLine::Allow { direction: Direction::Ingress, peer: None, ports }];
        assert_ne!(policy.digest(), Policy { lines: &narrower, ..policy }.digest());
    }
}
