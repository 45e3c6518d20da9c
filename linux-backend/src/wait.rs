//! Waits that end with a kernel notification, never with a sleep.

use picocni_core::backend::Backend;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::limits::{DAD_MS, PORT_UP_MS};
use picocni_core::name::{IfIndex, IfName};
use picocni_core::net::Family;
use picocni_core::observe::{Link, Ns};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::errno;
use crate::host::Linux;
use crate::socket::{NetlinkFamily, Socket};

/// `RTMGRP_LINK` (linux/rtnetlink.h): links, and bridge ports among them.
const GROUP_LINK: u32 = 1;
/// `RTMGRP_IPV6_IFADDR`: IPv6 addresses.
const GROUP_IPV6_ADDRESS: u32 = 0x100;

/// What a look found.
enum Look {
    Ready,
    NotYet,
}

/// Looks; if it is not ready subscribes, looks again (it may have become ready
/// between), and from then on looks after every notification.
fn until(
    linux: &mut Linux<'_>,
    ns: Ns,
    group: u32,
    limit_ms: u32,
    look: &mut dyn FnMut(&mut Linux<'_>) -> Result<Look>,
) -> Result<bool> {
    if matches!(look(linux)?, Look::Ready) {
        return Ok(true);
    }
    let failed = |errno: Errno| errno::kernel("subscribe to", &"rtnetlink notifications", errno.raw_os_error(), "");
    linux.be_in(ns)?;
    let mut socket = Socket::open(NetlinkFamily::Route).map_err(failed)?;
    socket.join(group).map_err(failed)?;
    let deadline = linux.now_us().saturating_add(u64::from(limit_ms).saturating_mul(1000));
    loop {
        if matches!(look(linux)?, Look::Ready) {
            return Ok(true);
        }
        let left = deadline.saturating_sub(linux.now_us());
        if left == 0 {
            return Ok(false);
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(left / 1_000_000).unwrap_or(0),
            tv_nsec: i64::try_from((left % 1_000_000).saturating_mul(1000)).unwrap_or(0),
        };
        let fd = socket.as_fd();
        let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        // Notifications only wake us; the look is by a get of its own.
        while socket.receive(&mut linux.memory.receive, false).is_ok() {}
    }
}

/// Waits until a bridge port forwards frames (a link without a bridge: until it runs).
pub(crate) fn forwarding(linux: &mut Linux<'_>, host: IfName) -> Result<()> {
    let ready = |link: &Link| link.running && (link.master.is_none() || link.forwarding);
    let forwards = until(linux, Ns::Host, GROUP_LINK, PORT_UP_MS, &mut |linux| match linux.link(Ns::Host, &host)? {
        Some(link) if ready(&link) => Ok(Look::Ready),
        Some(_) => Ok(Look::NotYet),
        None => Err(err!(KERNEL, "host interface vanished", host)),
    })?;
    if forwards {
        return Ok(());
    }
    Err(err!(
        KERNEL,
        "bridge port does not forward",
        host,
        " was not forwarding after ",
        PORT_UP_MS,
        " ms (does the bridge run STP?)"
    ))
}

/// Waits until no IPv6 address of the link is tentative.
pub(crate) fn addresses(linux: &mut Linux<'_>, ns: Ns, index: IfIndex) -> Result<()> {
    let settled = until(linux, ns, GROUP_IPV6_ADDRESS, DAD_MS, &mut |linux| {
        let (mut tentative, mut duplicate) = (false, None);
        linux.addresses(ns, index, Some(Family::V6), &mut |address| {
            tentative |= address.tentative && !address.dad_failed;
            if address.dad_failed {
                duplicate = Some(address.cidr);
            }
        })?;
        match duplicate {
            Some(cidr) => {
                Err(err!(CONFLICT, "address is in use on the network", cidr, " failed duplicate address detection"))
            }
            None if tentative => Ok(Look::NotYet),
            None => Ok(Look::Ready),
        }
    })?;
    if settled {
        return Ok(());
    }
    // A link that is down cannot finish; the address works once it is up.
    match linux.link_at(ns, index)? {
        Some(link) if link.running => Err(err!(TRY_AGAIN, "addresses are still tentative", "after ", DAD_MS, " ms")),
        _ => Ok(()),
    }
}
