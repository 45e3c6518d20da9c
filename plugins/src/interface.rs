//! The interface in the sandbox: sysctls, addresses, routes.

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::name::IfName;
use picocni_core::observe::{Link, Ns, Route};
use picocni_core::op::{Change, LinkChange, LinkId, OnFailure, Plan, Undo};
use picocni_core::put;
use picocni_core::result::{AddResult, IpConfig};
use picocni_core::session::Session;
use picocni_core::text::fits;

/// The key of an MTU.
pub const MTU: picocni_core::json::Key = picocni_core::json::Key::int("mtu", i32::MIN as i64, i32::MAX as i64);

/// An MTU as configs have it; 0 is the kernel's.
///
/// # Errors
/// Code 7: it is negative.
pub fn mtu(mtu: i64) -> Result<u32> {
    u32::try_from(mtu).map_err(|_| {
        err!(CONFIG, "invalid mtu", mtu, " (0 for the kernel's default, or the bytes of a frame's payload)")
    })
}

type Key = heapless::String<{ limits::SYSCTL_KEY }>;

/// Duplicate address detection of IPv6 addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dad {
    /// Not run: nobody else can have the address.
    #[default]
    Off,
    /// As the kernel is set, and waited for.
    Kernel,
    /// Run in its enhanced form (RFC 7527), and waited for.
    Enhanced,
}

/// How addresses are configured.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// Duplicate address detection.
    pub dad: Dad,
    /// The link is connected once it is up, so that the kernel's announcement
    /// is heard then; otherwise the caller announces later.
    pub announce: bool,
    /// Routes that stand in for those that the kernel makes to the addresses'
    /// networks; none: the kernel's.
    pub connected: &'a [Route],
}

fn key(before: &str, ifname: &IfName, after: &str) -> Result<Key> {
    fits(&[&before, ifname, &after]).ok_or_else(|| picocni_core::error::Error::limit("SYSCTL_KEY", limits::SYSCTL_KEY))
}

/// The addresses of `result` that belong on `ifname`: those whose interface
/// index names it.
///
/// # Errors
/// Code 7: an index is out of range or names another interface.
fn own_ips<'r>(result: &'r AddResult, ifname: &IfName) -> Result<heapless::Vec<&'r IpConfig, { limits::IPS }>> {
    let mut own = heapless::Vec::new();
    for ip in &result.ips {
        let Some(index) = ip.interface else { continue };
        let named = result.interface_of(ip).is_some_and(|i| i.name == ifname.as_str());
        if !named {
            return Err(err!(CONFIG, "failed to add IP addr", ip.address, ": invalid interface index ", index));
        }
        let _ = own.push(ip);
    }
    Ok(own)
}

/// Gives the interface its addresses and routes and sets it up.
///
/// Sysctls come before the link is up: with `accept_dad` off, no IPv6 address
/// waits for duplicate address detection. It is still tentative until the kernel,
/// on a thread of its own, has joined the group in which neighbours ask for it:
/// so it is not marked as one without detection, by which it would look ready
/// before it can be reached, and the caller ends with an `AwaitAddresses`.
///
/// # Errors
/// Code 7 as `own_ips`; code 101 from the kernel.
pub fn configure(session: &mut Session<'_>, link: &Link, result: &AddResult, options: Options<'_>) -> Result<()> {
    if result.interfaces.is_empty() {
        return Err(err!(CONFIG, "no interfaces to configure"));
    }
    let own = own_ips(result, &link.name)?;
    let keys = Keys::new(&link.name)?;
    let mut plan = Plan::new();
    plan_sysctls(session, &keys, own.iter().any(|ip| ip.address.is_v6()), options, &mut plan)?;
    for ip in &own {
        plan.change(Change::AddAddress {
            ns: Ns::Sandbox,
            index: link.index,
            cidr: ip.address,
            dad: ip.address.is_v6(),
            prefix_route: options.connected.is_empty(),
        })?;
    }
    if options.announce {
        // In a message of its own: the kernel takes it last in one that also sets the link up.
        plan.change(set(link, LinkChange { arp_notify: Some(true), ..LinkChange::NONE }))?;
        plan.change(set(link, LinkChange { up: Some(true), ..LinkChange::NONE }))?;
    } else {
        plan.change(set(link, LinkChange { up: Some(true), arp_notify: Some(true), ..LinkChange::NONE }))?;
    }
    // A tentative address is no source of a route either.
    let wait = options.dad != Dad::Off || !options.connected.is_empty();
    if wait && own.iter().any(|ip| ip.address.is_v6()) {
        plan.change(Change::AwaitAddresses { ns: Ns::Sandbox, index: link.index })?;
    }
    for route in options.connected {
        plan.change(Change::AddRoute { ns: Ns::Sandbox, index: link.index, route: *route })?;
    }
    let gateway = |v6: bool| own.iter().filter(|ip| ip.address.is_v6() == v6).find_map(|ip| ip.gateway);
    for route in &result.routes {
        let route = Route { gw: route.gw.or_else(|| gateway(route.dst.is_v6())), ..*route };
        plan.change(Change::AddRoute { ns: Ns::Sandbox, index: link.index, route })?;
    }
    session.apply(&plan)
}

/// Sets the interface up and does nothing else: an attachment without addresses.
///
/// # Errors
/// Code 101.
pub fn set_up(session: &mut Session<'_>, link: &Link) -> Result<()> {
    let mut plan = Plan::new();
    plan.change(set(link, LinkChange { up: Some(true), ..LinkChange::NONE }))?;
    session.apply(&plan)
}

fn set(link: &Link, set: LinkChange<'static>) -> Change<'static> {
    Change::SetLink { ns: Ns::Sandbox, link: LinkId::Index(link.index), set, undo: Undo::WithLink }
}

struct Keys {
    ndisc_notify: Key,
    accept_dad: Key,
    enhanced_dad: Key,
    disable: Key,
    keep: Key,
}

impl Keys {
    fn new(name: &IfName) -> Result<Self> {
        Ok(Keys {
            ndisc_notify: key("net/ipv6/conf/", name, "/ndisc_notify")?,
            accept_dad: key("net/ipv6/conf/", name, "/accept_dad")?,
            enhanced_dad: key("net/ipv6/conf/", name, "/enhanced_dad")?,
            disable: key("net/ipv6/conf/", name, "/disable_ipv6")?,
            keep: key("net/ipv6/conf/", name, "/keep_addr_on_down")?,
        })
    }
}

const LO_DISABLE: &str = "net/ipv6/conf/lo/disable_ipv6";

fn plan_sysctls<'p>(
    session: &mut Session<'_>,
    keys: &'p Keys,
    v6: bool,
    options: Options<'_>,
    plan: &mut Plan<'p>,
) -> Result<()> {
    let mut write = |key: &'p str, value: &'static str, undo: Undo, on_failure: OnFailure| {
        plan.change(Change::WriteSysctl { ns: Ns::Sandbox, key, value, undo, on_failure })
    };
    match options.dad {
        Dad::Off => write(&keys.accept_dad, "0", Undo::WithLink, OnFailure::Ignore)?,
        Dad::Kernel => {}
        Dad::Enhanced => {
            write(&keys.enhanced_dad, "1", Undo::WithLink, OnFailure::Ignore)?;
            write(&keys.accept_dad, "1", Undo::WithLink, OnFailure::Ignore)?;
        }
    }
    if !v6 {
        return Ok(());
    }
    write(&keys.ndisc_notify, "1", Undo::WithLink, OnFailure::Ignore)?;
    // A sandbox whose runtime disabled IPv6 still gets the address it was promised.
    for (key, undo) in [(LO_DISABLE, Undo::Restore), (keys.disable.as_str(), Undo::WithLink)] {
        let mut value = heapless::String::new();
        if session.backend.sysctl(Ns::Sandbox, key, &mut value)? && value != "0" {
            write(key, "0", undo, OnFailure::Fail)?;
        }
    }
    write(&keys.keep, "1", Undo::WithLink, OnFailure::Fail)
}

/// The key `net/FAMILY/conf/IFNAME/NAME` of a link on the host.
///
/// # Errors
/// Code 100.
pub fn host_key(family: &str, ifname: &IfName, name: &str) -> Result<Key> {
    let mut key = Key::new();
    put!(&mut key, "net/", family, "/conf/", *ifname, "/", name);
    Ok(key)
}
