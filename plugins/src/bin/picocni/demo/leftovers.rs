//! The demo's last step: what was made is gone.

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::net::parse_ip;
use picocni_core::observe::{LinkKind, Ns, Protocol, PublishedPort};
use picocni_core::session::Session;

/// Fails with the first thing that was left. The bridge and the empty table are
/// shared by all pods and stay.
///
/// # Errors
/// Code 104.
pub(super) fn check(session: &mut Session<'_>) -> Result<()> {
    let mut link = None;
    session.backend.links(Ns::Host, &mut |found| {
        if found.kind == LinkKind::Veth {
            link = Some(found.name);
        }
    })?;
    if let Some(name) = link {
        return Err(err!(CHANGED, "a link was left behind", name));
    }
    for dir in [
        "/run/cni/picocni/portmap/attachments",
        "/run/cni/picocni/portmap/ports",
        "/run/cni/picocni/masq",
        "/var/lib/cni/results",
    ] {
        let mut left: heapless::String<64> = heapless::String::new();
        session.backend.list(dir, &mut |name| {
            left.clear();
            let _ = left.push_str(name);
        })?;
        if !left.is_empty() {
            return Err(err!(CHANGED, "a file was left behind", dir, "/", left));
        }
    }
    let mut lease = None;
    session.backend.list("/var/lib/cni/networks/demo", &mut |name| lease = lease.or(parse_ip(name)))?;
    if let Some(ip) = lease {
        return Err(err!(CHANGED, "a lease was left behind", ip));
    }
    for to in [super::WEB_V4, super::WEB_V6] {
        let port = PublishedPort {
            protocol: Protocol::Tcp,
            host_ip: None,
            host_port: super::HOST_PORT,
            to,
            to_port: super::CONTAINER_PORT,
        };
        if session.backend.is_published(&port, "")? {
            return Err(err!(CHANGED, "a published port was left behind", port));
        }
    }
    Ok(())
}
