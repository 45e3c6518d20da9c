//! Links that are deleted together: the backend puts them into a group and deletes that, and hits nobody else's.

use netlink_packet_route::link::{InfoKind, LinkAttribute};
use picocni_core::backend::Backend;
use picocni_core::digest::hash64;
use picocni_core::name::IfName;
use picocni_core::observe::Ns;
use picocni_core::op::Removal;
use picocni_linux::host::{Linux, Memory};
use picocni_linux::socket::{NetlinkFamily, Socket};
use picocni_linux::sys::Environ;
use picocni_linux::wire::link::{Link, RTM_DELLINK, RTM_NEWLINK};
use picocni_linux::wire::nlmsg::{Message, Messages};
use picocni_tests::kernel::{Snapshot, edit};
use picocni_tests::sandbox;

/// The group that these go with.
fn group(names: &[&str]) -> u32 {
    0x7069_0000 | u32::try_from(hash64(&[names[0].as_bytes()]) & 0xffff).expect("16 bits")
}

/// Deletes them in one plan; whether each was.
fn delete(names: &[&str]) -> Vec<bool> {
    let mut memory = Box::new(Memory::new());
    let mut linux = Linux::new(&mut memory, Environ::EMPTY);
    let removals: Vec<Removal<'_>> =
        names.iter().map(|name| Removal::DeleteLink { ns: Ns::Host, name: IfName::of(name) }).collect();
    let mut outcomes = vec![None; names.len()];
    linux.remove(&removals, &mut |at, outcome| {
        assert!(outcomes[at].replace(outcome.is_ok()).is_none(), "{at} is reported once");
    });
    outcomes.into_iter().map(|outcome| outcome.expect("each is reported")).collect()
}

fn left() -> Vec<String> {
    let mut names: Vec<String> = Snapshot::here().link_names().into_iter().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn several_go_with_a_group_and_what_is_missing_is_gone() {
    sandbox::run(|_| {
        edit::veth("vh", "vp");
        edit::plain("ifb", InfoKind::Ifb);
        edit::bridge("br");
        edit::bridge("stays");
        let mut watch = Socket::open(NetlinkFamily::Route).expect("a netlink socket");
        // RTMGRP_LINK.
        watch.join(1).expect("notifications of links");
        let names = ["vh", "missing", "ifb", "br"];
        assert_eq!(delete(&names), [true; 4]);
        assert_eq!(left(), ["lo", "stays"]);
        let (mut buffer, mut joined) = (vec![0; 1 << 16], Vec::new());
        while let Ok(datagram) = watch.receive(&mut buffer, false) {
            // A link that goes is told of as it was.
            let gone = Messages::new(datagram).filter(|message| message.kind == RTM_DELLINK);
            let links = gone.filter_map(|message| Link::parse(&Message { kind: RTM_NEWLINK, ..message }));
            joined.extend(links.filter(|link| link.group == group(&names)).map(|link| link.name.to_string()));
        }
        // The other end of the pair goes with the first.
        assert_eq!(joined, ["vh", "ifb", "br"], "they have been in the group");
    });
}

#[test]
fn a_stranger_in_the_group_is_not_hit() {
    sandbox::run(|_| {
        let names = ["one", "two"];
        for name in ["one", "stranger", "two"] {
            edit::bridge(name);
        }
        edit::veth("port", "other");
        edit::enslave("port", "stranger");
        for name in ["stranger", "port"] {
            edit::set(name, LinkAttribute::Group(group(&names)));
        }
        let before = [Snapshot::here().link("stranger").clone(), Snapshot::here().link("port").clone()];
        assert_eq!(delete(&names), [true; 2]);
        assert_eq!(left(), ["lo", "other", "port", "stranger"]);
        let after = [Snapshot::here().link("stranger").clone(), Snapshot::here().link("port").clone()];
        assert_eq!(before, after, "nothing of them has changed");
    });
}

#[test]
fn one_that_cannot_be_deleted_keeps_no_other() {
    sandbox::run(|_| {
        edit::bridge("one");
        edit::bridge("two");
        assert_eq!(delete(&["one", "lo", "two"]), [true, false, true]);
        assert_eq!(left(), ["lo"]);
        // It is out of the group again, which would fail for it otherwise.
        edit::bridge("one");
        edit::bridge("two");
        assert_eq!(delete(&["one", "two"]), [true, true]);
        assert_eq!(left(), ["lo"]);
    });
}

#[test]
fn nothing_but_missing_links() {
    sandbox::run(|_| {
        assert_eq!(delete(&["one", "two"]), [true, true]);
        assert_eq!(left(), ["lo"]);
    });
}
