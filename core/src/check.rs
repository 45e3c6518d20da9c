//! CHECK: is the sandbox as prevResult says? Shared by every plugin that makes
//! an interface (spec 1.1.0, CHECK).

use crate::err;
use crate::error::Result;
use crate::limits;
use crate::net::Cidr;
use crate::observe::{Link, Ns, Route};
use crate::plugin::Call;
use crate::result::{AddResult, Interface};
use crate::session::Session;
use crate::text::{Put, fits};

/// The link has the MAC that was reported, if one was.
///
/// # Errors
/// Code 104.
pub fn mac(link: &Link, reported: &Interface) -> Result<()> {
    let own: heapless::String<{ limits::MAC_TEXT }> = fits(&[&link.mac as &dyn Put]).unwrap_or_default();
    if reported.mac.is_empty() || reported.mac.eq_ignore_ascii_case(&own) {
        return Ok(());
    }
    Err(err!(
        CHANGED,
        "interface MAC differs from prevResult",
        link.name,
        " has ",
        own,
        ", prevResult says ",
        reported.mac
    ))
}

/// The container's interface: prevResult has one with CNI_IFNAME and CNI_NETNS
/// (the last such counts), and it exists with that MAC.
///
/// # Errors
/// Code 104.
pub fn interface(call: &Call<'_>, session: &mut Session<'_>, prev: &AddResult) -> Result<Link> {
    let ifname = call.env.ifname;
    let named = |i: &&Interface| i.name == ifname.as_str() && !i.sandbox.is_empty();
    let reported = prev.interfaces.iter().rev().find(|i| named(i) && i.sandbox == call.env.netns).ok_or_else(|| {
        let other = prev.interfaces.iter().rev().find(named).map_or("none", |i| i.sandbox.as_str());
        err!(
            CHANGED,
            "Sandbox in prevResult doesn't match configured netns",
            ifname,
            " in ",
            other,
            ", CNI_NETNS is ",
            call.env.netns
        )
    })?;
    let link = session
        .backend
        .link(Ns::Sandbox, &ifname)?
        .ok_or_else(|| err!(CHANGED, "container interface is missing", ifname))?;
    mac(&link, reported)?;
    Ok(link)
}

/// Every address of prevResult is on the link, and every route leads out of it.
///
/// # Errors
/// Code 104 `Failed to match addr …`, `Expected Route … not found in routing table`.
pub fn addresses_and_routes(session: &mut Session<'_>, link: &Link, prev: &AddResult) -> Result<()> {
    // Pushed one by one: `collect` keeps a panicking path in the program.
    let mut missing_ips: heapless::Vec<Cidr, { limits::IPS }> = heapless::Vec::new();
    for ip in &prev.ips {
        if prev.interface_of(ip).is_none_or(|i| i.name == link.name.as_str()) {
            let _ = missing_ips.push(ip.address);
        }
    }
    session
        .backend
        .addresses(Ns::Sandbox, link.index, None, &mut |address| missing_ips.retain(|ip| *ip != address.cidr))?;
    if let Some(missing) = missing_ips.first() {
        return Err(err!(CHANGED, "Failed to match addr on interface", *missing, " is not on ", link.name));
    }
    let mut missing_routes: heapless::Vec<Route, { limits::ROUTES }> = prev.routes.clone();
    session
        .backend
        .routes(Ns::Sandbox, link.index, &mut |route| missing_routes.retain(|wanted| !satisfies(route, wanted)))?;
    match missing_routes.first() {
        None => Ok(()),
        Some(missing) => {
            Err(err!(CHANGED, "Expected Route not found in routing table", missing.dst, " on ", link.name))
        }
    }
}

/// A route of the kernel is the wanted one: same destination and the gateway if
/// one was given (for default routes any will do), in the wanted table. If none
/// was wanted any will do: a plugin that came later may have moved it, as `sbr`
/// and `vrf` do, and looks for it itself.
fn satisfies(route: &Route, wanted: &Route) -> bool {
    route.dst == wanted.dst.network()
        && wanted.table.is_none_or(|table| table == 0 || Some(table) == route.table)
        && (wanted.gw.is_none() || wanted.dst.is_default() || wanted.gw == route.gw)
}
