//! The world around a host: a wire to other machines.
//!
//! ```text
//!   client 192.0.2.100, 2001:db8:9::100
//!     │
//!   host   192.0.2.1 and .3, 2001:db8:9::1        (link "up0")
//!     │
//!   far    203.0.113.2                            (link "far0" of the host: 203.0.113.1)
//! ```

use std::fs::File;
use std::os::fd::AsRawFd;

use netlink_packet_route::link::LinkAttribute;

use crate::kernel::{self, edit};
use crate::netns::Netns;
use crate::sandbox::Sandbox;

/// Machines that are wired to the host and know a way back to it.
#[derive(Debug)]
pub struct Outside {
    /// On the host's link `up0`; everything else is behind the host for it.
    pub client: Netns,
    /// Behind the host's link `far0`.
    pub far: Netns,
}

impl Outside {
    /// Wires them. The host forwards from now on, as one with pods does.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn new(host: &Sandbox) -> Self {
        // A new bridge solicits no neighbours for others before its link-local address is through the detection of
        // duplicates, a second or two; the tests need not wait for that.
        kernel::set_sysctl("net/ipv6/conf/default/accept_dad", "0");
        let (client, far) = (host.pod("outside-client"), host.pod("outside-far"));
        wire(
            "up0",
            &["192.0.2.1/24", "192.0.2.3/24", "2001:db8:9::1/64"],
            &client,
            &["192.0.2.100/24", "2001:db8:9::100/64"],
        );
        client.run(|| {
            edit::route("0.0.0.0/0", "192.0.2.1");
            edit::route("::/0", "2001:db8:9::1");
        });
        wire("far0", &["203.0.113.1/24"], &far, &["203.0.113.2/24"]);
        far.run(|| edit::route("0.0.0.0/0", "203.0.113.1"));
        kernel::set_sysctl("net.ipv4.ip_forward", "1");
        kernel::set_sysctl("net.ipv6.conf.all.forwarding", "1");
        Self { client, far }
    }
}

fn wire(link: &str, here: &[&str], machine: &Netns, there: &[&str]) {
    edit::veth(link, "wire");
    let file = File::open(machine.path()).expect("the machine's namespace");
    edit::set("wire", LinkAttribute::NetNsFd(file.as_raw_fd()));
    ready(link, here);
    machine.run(|| {
        kernel::set_sysctl("net/ipv6/conf/wire/accept_dad", "0");
        edit::up("lo");
        ready("wire", there);
    });
}

/// Up, with addresses that can be used at once.
fn ready(link: &str, addresses: &[&str]) {
    edit::up(link);
    addresses.iter().for_each(|address| edit::address(link, address));
}
