//! Link types that not every kernel has: a test says which it needs, and is skipped on a host without them. In the
//! virtual machine nothing is skipped for that reason.

use std::fs::File;
use std::io;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use netlink_packet_route::link::{InfoBridge, InfoData, InfoIpVlan, InfoKind, InfoVlan, InfoVrf, IpVlanMode, LinkInfo};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::{Snapshot, edit};
use crate::{paths, vm};

/// A link type, or a feature of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkType {
    /// A link that drops what is sent.
    Dummy,
    /// A pair of links.
    Veth,
    /// A tag of IEEE 802.1Q on another link.
    Vlan,
    /// A link that shares the MAC of another.
    Ipvlan,
    /// A link with a MAC of its own on another.
    Macvlan,
    /// A routing domain.
    Vrf,
    /// A bridge whose ports have VLANs.
    VlanFiltering,
    /// A link whose other end is a file.
    Tun,
    /// A link for what another one receives.
    Ifb,
    /// A queue for each flow, on a link.
    FqCodel,
    /// Rules for frames on a bridge that ask for the state of a connection.
    BridgeTracking,
}

impl LinkType {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Dummy,
        Self::Veth,
        Self::Vlan,
        Self::Ipvlan,
        Self::Macvlan,
        Self::Vrf,
        Self::VlanFiltering,
        Self::Tun,
        Self::Ifb,
        Self::FqCodel,
        Self::BridgeTracking,
    ];

    /// As `ip link` names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dummy => "dummy",
            Self::Veth => "veth",
            Self::Vlan => "vlan",
            Self::Ipvlan => "ipvlan",
            Self::Macvlan => "macvlan",
            Self::Vrf => "vrf",
            Self::VlanFiltering => "bridge with vlan_filtering",
            Self::Tun => "tun",
            Self::Ifb => "ifb",
            Self::FqCodel => "with the queue fq_codel",
            Self::BridgeTracking => "connection tracking on bridges",
        }
    }

    /// Makes such a link in a network namespace of its own, which goes with it.
    ///
    /// # Errors
    /// As the kernel refuses it.
    ///
    /// # Panics
    /// When there can be no such namespace.
    pub fn try_out(self) -> io::Result<()> {
        let made = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                // SAFETY: the file table is not unshared; only this short-lived thread changes its namespace.
                unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect("a network namespace");
                self.make()
            });
            inside.join()
        });
        made.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Whether the running test can go on. Called through [`needs!`](crate::needs!).
    ///
    /// # Errors
    /// The reason to skip it.
    ///
    /// # Panics
    /// In the virtual machine, when such a link cannot be made.
    pub fn needed(self) -> Result<(), String> {
        match self.try_out() {
            Ok(()) => Ok(()),
            Err(e) if vm::is_here() => panic!("link type {} in the virtual machine: {e}", self.name()),
            Err(_) => Err(format!("link type {} is not in this kernel; the VM stage runs this test", self.name())),
        }
    }

    fn make(self) -> io::Result<()> {
        let on_a_link = |kind, data| {
            edit::veth("lower", "peer");
            edit::try_create("upper", Some("lower"), vec![LinkInfo::Kind(kind), LinkInfo::Data(data)])
        };
        let alone = |kind, data| edit::try_create("link", None, vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]);
        match self {
            Self::Dummy => edit::try_create("link", None, vec![LinkInfo::Kind(InfoKind::Dummy)]),
            Self::Veth => edit::try_create("link", None, vec![LinkInfo::Kind(InfoKind::Veth)]),
            Self::Vlan => on_a_link(InfoKind::Vlan, InfoData::Vlan(vec![InfoVlan::Id(7)])),
            Self::Ipvlan => on_a_link(InfoKind::IpVlan, InfoData::IpVlan(vec![InfoIpVlan::Mode(IpVlanMode::L2)])),
            Self::Macvlan => on_a_link(InfoKind::MacVlan, InfoData::MacVlan(Vec::new())),
            Self::Vrf => alone(InfoKind::Vrf, InfoData::Vrf(vec![InfoVrf::TableId(1001)])),
            Self::VlanFiltering => {
                alone(InfoKind::Bridge, InfoData::Bridge(vec![InfoBridge::VlanFiltering(true)]))?;
                // A kernel without the feature takes the attribute and forgets it.
                let filters = Snapshot::here().link("link").vlan_filtering == Some(true);
                if filters { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
            }
            Self::Tun => tun(),
            Self::Ifb => edit::try_create("link", None, vec![LinkInfo::Kind(InfoKind::Ifb)]),
            Self::FqCodel => edit::try_qdisc("lo", "fq_codel"),
            Self::BridgeTracking => bridge_tracking(),
        }
    }
}

fn tun() -> io::Result<()> {
    let device = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: all bits zero is a valid request: a name of the kernel's choice.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: the descriptor is open and the request lives during the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// By nft, so that the rule is not ours; without nft nobody can tell.
fn bridge_tracking() -> io::Result<()> {
    let unpacked = paths::packages("bookworm").join("usr/sbin/nft");
    let program = if unpacked.is_file() { unpacked } else { "nft".into() };
    let mut nft = Command::new(program).args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let rules = "table bridge t {\n chain c {\n ct state new accept\n }\n}\n";
    nft.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?.write_all(rules.as_bytes())?;
    if nft.wait()?.success() { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}

/// Ends the running test as skipped if the kernel has not all of these [`LinkType`](crate::kernel::LinkType)s; in the
/// virtual machine it fails then. For the body of a test itself, because it returns from it.
#[macro_export]
macro_rules! needs {
    ($($link_type:ident),+ $(,)?) => {
        $(if let Err(reason) = $crate::kernel::LinkType::$link_type.needed() {
            $crate::skip!("{reason}");
        })+
    };
}
