//! Who gets a host port that two attachments want.

extern crate std;

use std::format;

use picocni_core::observe::Protocol;
use picocni_core::op::Removal;

use super::{DNS, Host, WEB, dual, published, v4};

/// Host addresses of two mappings of tcp port 80, and whether the second is refused.
const MATRIX: &[(&str, &str, bool)] = &[
    ("", "", true),
    ("", "192.0.2.1", true),
    ("", "::1", true),
    ("192.0.2.1", "", true),
    ("192.0.2.1", "0.0.0.0", true),
    ("192.0.2.1", "192.0.2.1", true),
    ("192.0.2.1", "::ffff:192.0.2.1", true),
    ("192.0.2.1", "192.0.2.2", false),
    ("192.0.2.1", "::", false),
    ("0.0.0.0", "::", false),
    ("0.0.0.0", "2001:db8::1", false),
    ("::", "2001:db8::1", true),
    ("2001:db8::1", "::", true),
    ("2001:db8::1", "0.0.0.0", false),
    ("2001:db8::1", "2001:0db8:0::1", true),
    ("127.0.0.1", "192.0.2.1", false),
];

#[test]
fn conflicts() {
    let mapping = |ip: &str| format!(r#"{{"hostPort":80,"containerPort":80,"protocol":"tcp","hostIP":"{ip}"}}"#);
    for (first, second, refused) in MATRIX {
        let mut host = Host::new();
        host.call("ADD", 1, &dual(1, &mapping(first))).unwrap();
        let before = host.record(1);
        let reply = host.call("ADD", 2, &dual(2, &mapping(second)));
        assert_eq!(reply.is_err(), *refused, "{first:?} then {second:?}: {reply:?}");
        assert_eq!(host.record(1), before);
        assert_eq!(host.record(2).is_some(), !refused);
        if let Err((code, text)) = reply {
            assert_eq!(code, 103, "{text}");
            assert!(
                text.contains("host port is taken")
                    && text.contains("tcp port 80")
                    && text.contains("container c1, network net, interface eth0"),
                "{text}"
            );
        }
        // The other protocol is another port.
        host.call("ADD", 3, &dual(3, &mapping(second).replace("tcp", "udp"))).unwrap();
    }
}

#[test]
fn one_attachment_may_hold_a_port_on_all_addresses_and_on_one() {
    let mut host = Host::new();
    let both = r#"{"hostPort":80,"containerPort":80},{"hostPort":80,"containerPort":81,"hostIP":"127.0.0.1"}"#;
    host.call("ADD", 1, &v4(1, both)).unwrap();
    host.call("ADD", 1, &v4(1, both)).unwrap();
    assert!(host.publishes(1, &published(Protocol::Tcp, "127.0.0.1", 80, "10.88.0.1", 81)));
    assert!(host.publishes(1, &published(Protocol::Tcp, "", 80, "10.88.0.1", 80)));
}

#[test]
fn a_dead_holder_is_replaced_with_all_it_had() {
    let mut host = Host::new();
    host.call("ADD", 1, &dual(1, &format!("{WEB},{DNS}"))).unwrap();
    host.sim.remove_sandbox("/run/netns/c1");
    host.call("ADD", 2, &v4(2, WEB)).unwrap();
    assert_eq!(host.record(1), None);
    assert!(host.publishes(2, &published(Protocol::Tcp, "", 8080, "10.88.0.2", 80)));
    assert!(!host.publishes(1, &published(Protocol::Tcp, "", 8080, "fd00:88::1", 80)));
    assert!(!host.publishes(1, &published(Protocol::Udp, "192.0.2.1", 53, "10.88.0.1", 5353)));
    // A later DEL of the dead one takes nothing from the new holder.
    host.call("DEL", 1, &v4(1, "")).unwrap();
    host.call("CHECK", 2, &v4(2, WEB)).unwrap();
}

#[test]
fn another_sandbox_at_the_same_path_is_not_the_holders() {
    let mut host = Host::new();
    host.call("ADD", 1, &v4(1, WEB)).unwrap();
    host.sim.remove_sandbox("/run/netns/c1");
    host.sim.add_sandbox("/run/netns/c1").unwrap();
    host.call("ADD", 2, &v4(2, WEB)).unwrap();
    assert_eq!(host.record(1), None);
}

#[test]
fn a_claim_without_a_record_and_a_rule_without_a_claim_are_replaced() {
    let mut host = Host::new();
    host.call("ADD", 1, &v4(1, WEB)).unwrap();
    let path = "/run/cni/picocni/portmap/attachments/net:c1:eth0";
    host.remove(Removal::RemoveFile { path });
    // The same address, as after a node's /run was cleared: the rules are still there.
    host.call("ADD", 2, &v4(2, WEB).replace("10.88.0.2", "10.88.0.1")).unwrap();
    assert!(host.publishes(2, &published(Protocol::Tcp, "", 8080, "10.88.0.1", 80)));
    assert!(!host.publishes(1, &published(Protocol::Tcp, "", 8080, "10.88.0.1", 80)));
}

#[test]
fn a_record_of_rubbish_blocks_nobody() {
    for rubbish in
        [b"".as_slice(), b"\xff\xfe", b"netns", b"netns x\ntcp any 8080 10.88.0.1 80", b"tcp any 8080 10.88.0.1 80\n"]
    {
        let mut host = Host::new();
        host.call("ADD", 1, &v4(1, WEB)).unwrap();
        host.remove(Removal::Unpublish { port: published(Protocol::Tcp, "", 8080, "10.88.0.1", 80) });
        host.sim.set_file("/run/cni/picocni/portmap/attachments/net:c1:eth0", rubbish).unwrap();
        host.call("ADD", 2, &v4(2, WEB)).unwrap();
        assert_eq!(host.record(1), None);
    }
}
