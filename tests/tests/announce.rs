//! An address that is used again leads to its new pod at once: the pod announces itself when its port forwards, and the
//! host forgets who had the address before. Frames are decoded by smoltcp, not by anything of picocni's.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use picocni_tests::kernel::{self, LinkType, Snapshot, edit};
use picocni_tests::sandbox;
use picocni_tests::traffic::{PROTOCOLS, Protocol, Server, ask, who};
use picocni_tests::vm;
use picocni_tests::{Pod, needs};
use serde_json::{Value, json};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpPacket, ArpRepr, EthernetFrame, EthernetProtocol, Icmpv6Packet, Icmpv6Repr, Ipv6Packet, NdiscNeighborFlags,
    NdiscRepr,
};

fn conf() -> Value {
    json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "cni0", "isDefaultGateway": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]]}})
}

/// Everything that comes by a link.
struct Listener(OwnedFd);

impl Listener {
    fn on(link: &str) -> Self {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: plain numbers; the result is checked.
        let fd = unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, protocol.into())
        };
        assert!(fd >= 0, "AF_PACKET: {}", io::Error::last_os_error());
        // SAFETY: the descriptor is new and ours.
        let listener = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: all bits zero is a valid address structure.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = i32::try_from(Snapshot::here().link(link).index).expect("an index");
        let size = u32::try_from(size_of_val(&address)).expect("a size");
        // SAFETY: the address lives during the call and has that size.
        let bound = unsafe { libc::bind(listener.0.as_raw_fd(), (&raw const address).cast(), size) };
        assert_eq!(bound, 0, "bind: {}", io::Error::last_os_error());
        listener
    }

    fn next(&self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 2048];
        // SAFETY: the buffer has the given length.
        let length = unsafe { libc::recv(self.0.as_raw_fd(), frame.as_mut_ptr().cast(), frame.len(), 0) };
        frame.truncate(usize::try_from(length).ok()?);
        Some(frame)
    }

    /// Whether a frame for which `wanted` is true has come by, or does within a second.
    fn sees(&self, wanted: impl Fn(&EthernetFrame<&[u8]>) -> bool) -> bool {
        let end = Instant::now() + vm::patience(Duration::from_secs(1));
        while Instant::now() < end {
            match self.next() {
                Some(frame) if EthernetFrame::new_checked(frame.as_slice()).is_ok_and(|f| wanted(&f)) => return true,
                Some(_) => {}
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        }
        false
    }
}

/// A gratuitous ARP of `ip`: the sender asks or answers for its own address, to everybody.
fn is_gratuitous_arp(frame: &EthernetFrame<&[u8]>, ip: IpAddr, mac: &str) -> bool {
    if frame.ethertype() != EthernetProtocol::Arp || !frame.dst_addr().is_broadcast() {
        return false;
    }
    let repr = ArpPacket::new_checked(frame.payload()).and_then(|packet| ArpRepr::parse(&packet));
    let Ok(ArpRepr::EthernetIpv4 { source_hardware_addr, source_protocol_addr, target_protocol_addr, .. }) = repr
    else {
        return false;
    };
    source_hardware_addr.as_bytes() == bytes(mac)
        && IpAddr::from(source_protocol_addr) == ip
        && source_protocol_addr == target_protocol_addr
}

/// A neighbour advertisement of `ip` that nobody asked for and that replaces what is known, to all nodes.
fn is_unsolicited_advertisement(frame: &EthernetFrame<&[u8]>, ip: IpAddr, mac: &str) -> bool {
    if frame.ethertype() != EthernetProtocol::Ipv6 {
        return false;
    }
    let Ok(packet) = Ipv6Packet::new_checked(frame.payload()) else { return false };
    let Ok(message) = Icmpv6Packet::new_checked(packet.payload()) else { return false };
    let checksums = ChecksumCapabilities::default();
    let repr = Icmpv6Repr::parse(&packet.src_addr(), &packet.dst_addr(), &message, &checksums);
    let Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { flags, target_addr, lladdr: Some(lladdr) })) = repr else {
        return false;
    };
    packet.hop_limit() == 255
        && packet.dst_addr().to_string() == "ff02::1"
        && IpAddr::from(target_addr) == ip
        && lladdr.as_bytes() == bytes(mac)
        && flags.contains(NdiscNeighborFlags::OVERRIDE)
        && !flags.contains(NdiscNeighborFlags::SOLICITED)
}

fn bytes(mac: &str) -> Vec<u8> {
    mac.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a MAC")).collect()
}

fn addresses(result: &Value) -> [IpAddr; 2] {
    [0, 1].map(|at| {
        let text = result["ips"][at]["address"].as_str().expect("an address");
        text.split('/').next().expect("an address").parse().expect("an address")
    })
}

#[test]
fn add_announces_the_addresses_of_a_pod() {
    sandbox::run(|host| {
        Pod::new(host, "first").add(&conf()).expect_result();
        for number in 0..10 {
            let (listener_v4, listener_v6) = (Listener::on("cni0"), Listener::on("cni0"));
            let pod = Pod::new(host, &format!("p{number}"));
            let [v4, v6] = addresses(&pod.add(&conf()).expect_result());
            let mac = pod.inside().link("eth0").mac.clone();
            let keys = ["net/ipv4/conf/eth0/arp_notify", "net/ipv6/conf/eth0/ndisc_notify"];
            let notify = pod.netns().run(|| keys.map(kernel::sysctl));
            assert_eq!(notify, ["1", "1"], "the pod announces itself again when its MAC changes");
            assert!(listener_v4.sees(|frame| is_gratuitous_arp(frame, v4, &mac)), "no gratuitous ARP of {v4} at {mac}");
            assert!(
                listener_v6.sees(|frame| is_unsolicited_advertisement(frame, v6, &mac)),
                "no unsolicited neighbour advertisement of {v6} at {mac}"
            );
        }
    });
}

#[test]
fn a_reused_address_leads_to_its_new_pod_at_once() {
    sandbox::run(|host| {
        let neighbour = Pod::new(host, "neighbour");
        neighbour.add(&conf()).expect_result();
        for round in 0..5 {
            let args = "IgnoreUnknown=1;IP=10.1.2.77";
            let (old, new) = (Pod::new(host, &format!("old{round}")), Pod::new(host, &format!("new{round}")));
            let result = old.call("ADD", &conf()).args(args).run().expect_result();
            let v4 = addresses(&result)[0].to_string();
            assert_eq!(v4, "10.1.2.77");
            let at = format!("{v4}:80");
            let servers = old.netns().run(|| Server::both(80, "old"));
            let before = old.inside().link("eth0").mac.clone();
            assert_eq!(who(Protocol::Tcp, &at), "old");
            assert_eq!(neighbour.netns().run(|| who(Protocol::Tcp, &at)), "old");
            let known =
                |here: &Snapshot, mac: &str| here.neighbours.iter().any(|n| n.ip.to_string() == v4 && n.mac == mac);
            assert!(known(&Snapshot::here(), &before), "the host knows the old pod");
            old.call("DEL", &conf()).conf_after(&conf(), &result).run().expect_quiet();
            drop(servers);
            new.call("ADD", &conf()).args(args).run().expect_result();
            let _servers = new.netns().run(|| Server::both(80, "new"));
            assert!(!known(&Snapshot::here(), &before), "the host still knows the old pod");
            let started = Instant::now();
            for protocol in PROTOCOLS {
                assert_eq!(who(protocol, &at), "new", "from the host");
                assert_eq!(neighbour.netns().run(|| who(protocol, &at)), "new", "from a pod that knew the old one");
            }
            assert!(started.elapsed() < vm::patience(Duration::from_millis(500)), "it took {:?}", started.elapsed());
            new.call("DEL", &conf()).run().expect_quiet();
        }
    });
}

#[test]
fn a_pod_can_be_reached_as_soon_as_add_returns() {
    sandbox::run(|host| {
        // The kernel joins the group in which neighbours ask for an address on a thread of its own; before it has, the
        // first question is lost, and the next comes a second later. That is a race, so it is tried often.
        for number in 0..100 {
            let pod = Pod::new(host, &format!("p{number}"));
            let addresses = addresses(&pod.add(&conf()).expect_result());
            for ip in addresses {
                let at = std::net::SocketAddr::new(ip, 80).to_string();
                let error = ask(Protocol::Tcp, &at).expect_err("nobody listens there");
                assert!(error.contains("refused"), "pod {number} is not there yet: {error}");
            }
            let groups = pod.netns().run(|| std::fs::read_to_string("/proc/thread-self/net/igmp6")).expect("groups");
            let IpAddr::V6(v6) = addresses[1] else { panic!("{addresses:?}") };
            let last = v6.octets();
            let group = format!("ff0200000000000000000001ff{:02x}{:02x}{:02x}", last[13], last[14], last[15]);
            assert!(groups.contains(&group), "{group} is not in\n{groups}");
        }
        assert_eq!(kernel::sysctl("net.ipv6.conf.all.forwarding"), "1");
    });
}

#[test]
fn a_new_bridge_has_its_own_address_at_once() {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        pod.add(&conf()).expect_result();
        // Until its link-local address is settled a bridge asks nobody for a pod's MAC: forwarded packets would wait.
        assert_eq!(kernel::sysctl("net.ipv6.conf.cni0.accept_dad"), "0");
        assert_eq!(kernel::sysctl("net.ipv6.conf.cni0.accept_ra"), "0");
    });
}

/// A link that is connected at once announces its addresses as it comes up: to machines on the network of its master, and to
/// the host at the other end of the cable.
#[test]
fn links_on_a_network_announce_the_addresses_of_a_pod() {
    needs!(Macvlan);
    sandbox::run(|host| {
        edit::veth("up0", "wire");
        edit::up("up0");
        edit::up("wire");
        let ipam =
            || json!({"type": "host-local", "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "2001:db8:9::/64"}]]});
        let mut plugins =
            vec![json!({"type": "macvlan", "master": "up0"}), json!({"type": "host-device", "device": "dev0"})];
        if LinkType::Ipvlan.try_out().is_ok() {
            plugins.push(json!({"type": "ipvlan", "master": "up0"}));
        }
        for mut conf in plugins {
            conf["cniVersion"] = "1.0.0".into();
            conf["name"] = "net".into();
            conf["ipam"] = ipam();
            let kind = conf["type"].as_str().expect("a type").to_owned();
            let end = if kind == "host-device" {
                edit::veth("dev0", "dev1");
                edit::up("dev1");
                "dev1"
            } else {
                "wire"
            };
            let (listener_v4, listener_v6) = (Listener::on(end), Listener::on(end));
            let pod = Pod::new(host, &kind);
            let [v4, v6] = addresses(&pod.add(&conf).expect_result());
            let mac = pod.inside().link("eth0").mac.clone();
            assert!(listener_v4.sees(|frame| is_gratuitous_arp(frame, v4, &mac)), "{kind}: no gratuitous ARP of {v4}");
            assert!(
                listener_v6.sees(|frame| is_unsolicited_advertisement(frame, v6, &mac)),
                "{kind}: no unsolicited neighbour advertisement of {v6}"
            );
            pod.call("DEL", &conf).run().expect_quiet();
        }
    });
}
