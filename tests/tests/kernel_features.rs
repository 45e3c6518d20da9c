//! What the kernel must have for the link plugins. On a host that lacks a link type the test of it is skipped; the
//! virtual machine has them all, and a test that needs one fails there when it is missing.

use picocni_tests::kernel::LinkType;
use picocni_tests::{needs, vm};

#[test]
fn dummy_links_can_be_made() {
    needs!(Dummy);
}

#[test]
fn veth_pairs_can_be_made() {
    needs!(Veth);
}

#[test]
fn vlan_links_can_be_made() {
    needs!(Vlan);
}

#[test]
fn ipvlan_links_can_be_made() {
    needs!(Ipvlan);
}

#[test]
fn macvlan_links_can_be_made() {
    needs!(Macvlan);
}

#[test]
fn vrf_links_can_be_made() {
    needs!(Vrf);
}

#[test]
fn bridges_can_filter_vlans() {
    needs!(VlanFiltering);
}

#[test]
fn tun_links_can_be_made() {
    needs!(Tun);
}

#[test]
fn ifb_links_can_be_made() {
    needs!(Ifb);
}

#[test]
fn links_can_queue_by_flow() {
    needs!(FqCodel);
}

#[test]
fn bridges_can_track_connections() {
    needs!(BridgeTracking);
}

#[test]
fn a_missing_link_type_is_a_reason_to_skip_on_the_host_alone() {
    for link_type in LinkType::ALL {
        match (link_type.try_out(), vm::is_here()) {
            (Ok(()), _) => assert_eq!(link_type.needed(), Ok(())),
            (Err(e), true) => panic!("{}: {e}", link_type.name()),
            (Err(_), false) => {
                let reason = link_type.needed().expect_err("it is missing");
                assert!(
                    reason.contains(link_type.name()) && reason.contains("the VM stage runs this test"),
                    "{reason}"
                );
            }
        }
    }
}
