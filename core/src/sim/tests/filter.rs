//! The packet filter's batches are all or nothing.

use super::*;
use crate::observe::{Protocol, PublishedPort};
use crate::op::OnFailure;
use crate::sim::EEXIST;

fn port(host_port: u16, to: &str) -> PublishedPort {
    PublishedPort { protocol: Protocol::Tcp, host_ip: None, host_port, to: ip(to), to_port: 80 }
}

const FORWARD: Change<'static> =
    Change::EnsureSysctl { key: "net/ipv4/ip_forward", value: "1", on_failure: OnFailure::Fail };

#[test]
fn one_failure_fails_every_member_and_none_is_applied() {
    let mut sim = host();
    sim.arrange(&[Change::Publish { port: port(81, "10.0.0.9"), tag: "other" }]).unwrap();
    let before = state(&sim);
    let all = reports(
        &mut *sim,
        &[
            Change::Publish { port: port(80, "10.0.0.2"), tag: "t" },
            Change::Masquerade { ip: ip("10.0.0.2"), net: cidr("10.0.0.0/24"), tag: "t" },
            Change::Publish { port: port(81, "10.0.0.2"), tag: "t" },
            Change::PublishSource { to: ip("10.0.0.2"), via: IfIndex(1), all: true, tag: "t" },
            FORWARD,
        ],
    );
    for member in &all[..4] {
        assert_eq!(code(member.as_ref().unwrap_err()), (103, EEXIST));
    }
    assert_eq!(all[4].as_ref().unwrap_err().code().0, 999);
    assert_eq!(before, state(&sim));
}

#[test]
fn a_good_batch_reports_its_inverses() {
    let mut sim = host();
    let all = [
        Change::Publish { port: port(80, "10.0.0.2"), tag: "t" },
        Change::PublishSource { to: ip("10.0.0.2"), via: IfIndex(1), all: true, tag: "t" },
        Change::Masquerade { ip: ip("10.0.0.2"), net: cidr("10.0.0.0/24"), tag: "t" },
    ];
    for change in all {
        there_and_back(&mut sim, change);
    }
    assert_eq!(reports(&mut *sim, &all), [Ok(true), Ok(true), Ok(true)]);
    assert!(sim.is_published(&port(80, "10.0.0.2"), "t").unwrap());
    assert!(!sim.is_published(&port(80, "10.0.0.2"), "u").unwrap());
    assert!(sim.is_masqueraded(ip("10.0.0.2"), "t").unwrap());
    // What is the same and one's own is there already, and not to be undone.
    assert_eq!(reports(&mut *sim, &all[1..]), [Ok(false), Ok(false)]);
}

#[test]
fn a_port_is_exclusive_per_protocol_address_and_family() {
    let mut sim = host();
    let first = port(80, "10.0.0.2");
    sim.arrange(&[Change::Publish { port: first, tag: "t" }]).unwrap();
    let taken = Change::Publish { port: port(80, "10.0.0.3"), tag: "u" };
    assert_eq!(code(&sim.arrange(&[taken]).unwrap_err()), (103, EEXIST));
    sim.arrange(&[
        Change::Publish { port: PublishedPort { protocol: Protocol::Udp, ..first }, tag: "u" },
        Change::Publish { port: PublishedPort { host_ip: Some(ip("192.0.2.1")), ..first }, tag: "u" },
        Change::Publish { port: port(80, "fd00::2"), tag: "u" },
    ])
    .unwrap();
}

#[test]
fn a_kernel_without_filter_says_so() {
    let mut sim = host();
    sim.probe_filter().unwrap();
    sim.set_filter_missing(true);
    assert_eq!(sim.probe_filter().unwrap_err().code().0, 50);
    assert_eq!(sim.arrange(&[Change::Publish { port: port(80, "10.0.0.2"), tag: "t" }]).unwrap_err().code().0, 101);
}
