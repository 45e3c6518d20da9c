//! Attributes of the link, and their backup.

use super::*;

const ALL: &str = r#""mac":"02:00:00:00:00:AA","promisc":true,"mtu":1400,"allmulti":true,"txQLen":50,"#;

#[test]
fn attributes_are_set_backed_up_checked_and_restored() {
    let mut host = Host::new();
    let before = host.link();
    let printed = host.add(ALL).ok();
    let link = host.link();
    assert_eq!(
        (link.mac, link.promisc, link.mtu, link.allmulti, link.txqlen),
        (Mac([2, 0, 0, 0, 0, 0xaa]), true, 1400, true, 50)
    );
    assert_eq!(
        host.file(BACKUP).unwrap(),
        r#"{"mac":"02:00:00:00:00:01","promisc":false,"mtu":1500,"allmulti":false,"txQLen":1000,"picocni":"picocni:net1:c1:eth0"}"#
    );
    // Both of that name have the configured spelling, the other its own; the MTU only the container's.
    assert_eq!(printed.matches(r#""mac":"02:00:00:00:00:AA""#).count(), 2, "{printed}");
    assert_eq!(printed.matches(r#""mac":"02:00:00:00:00:09""#).count(), 1, "{printed}");
    assert_eq!(
        (printed.matches(r#""mtu":1400"#).count(), printed.matches(r#""mtu":1500"#).count()),
        (1, 1),
        "{printed}"
    );
    host.call("CHECK", &config(ALL)).ok();
    host.call("DEL", &config(ALL)).ok();
    let after = host.link();
    assert_eq!(
        (after.mac, after.promisc, after.mtu, after.allmulti, after.txqlen),
        (before.mac, before.promisc, before.mtu, before.allmulti, before.txqlen)
    );
    assert_eq!(host.file(BACKUP), None);
    host.call("DEL", &config(ALL)).ok();
}

#[test]
fn the_backup_holds_only_what_is_changed() {
    let mut host = Host::new();
    host.add(r#""mtu":1400,"dataDir":"/var/lib/x/","#).ok();
    assert_eq!(host.file(BACKUP), None);
    assert_eq!(host.file("/var/lib/x/c1_eth0.json").unwrap(), r#"{"mtu":1500,"picocni":"picocni:net1:c1:eth0"}"#);
    // What somebody else changed meanwhile is not ours to set back.
    host.set(LinkChange { txqlen: Some(7), ..LinkChange::NONE });
    host.call("DEL", &config(r#""mtu":1400,"dataDir":"/var/lib/x/","#)).ok();
    assert_eq!((host.link().mtu, host.link().txqlen), (1500, 7));
}

#[test]
fn zero_and_false_count_where_they_say_something() {
    let mut host = Host::new();
    host.set(LinkChange { allmulti: Some(true), promisc: Some(true), ..LinkChange::NONE });
    let keys = r#""allmulti":false,"txQLen":0,"promisc":false,"mtu":0,"#;
    host.add(keys).ok();
    let link = host.link();
    assert_eq!((link.allmulti, link.txqlen, link.promisc, link.mtu), (false, 0, true, 1500));
    host.call("CHECK", &config(keys)).ok();
    host.call("DEL", &config(keys)).ok();
    assert_eq!((host.link().allmulti, host.link().txqlen), (true, 1000));
}

#[test]
fn the_mac_comes_from_the_strongest_source() {
    let mac = |host: &mut Host, keys: &str, args: &'static str| {
        host.args = args;
        host.add(keys).ok();
        host.link().mac.0[5]
    };
    let own = r#""mac":"02:00:00:00:00:0a","#;
    let run = r#""runtimeConfig":{"mac":"02:00:00:00:00:0c"},"#;
    let cni = r#""args":{"cni":{"mac":"02:00:00:00:00:0d"}},"#;
    let env = "IgnoreUnknown=1;K8S_POD_NAME=x;MAC=02:00:00:00:00:0b";
    let host = &mut Host::new();
    assert_eq!(mac(host, own, ""), 0x0a);
    assert_eq!(mac(host, own, env), 0x0b);
    assert_eq!(mac(host, &[own, run].concat(), env), 0x0c);
    assert_eq!(mac(host, &[own, run, cni].concat(), env), 0x0d);
    assert_eq!(mac(host, "", env), 0x0b);
}

#[test]
fn args_override_the_config() {
    let mut host = Host::new();
    let args = r#""args":{"cni":{"promisc":true,"mtu":1300,"allmulti":true,"txQLen":9}},"#;
    host.add(&[r#""promisc":false,"mtu":1400,"allmulti":false,"txQLen":8,"#, args].concat()).ok();
    let link = host.link();
    assert_eq!((link.promisc, link.mtu, link.allmulti, link.txqlen), (true, 1300, true, 9));
    let mut host = Host::new();
    host.add(r#""promisc":true,"mtu":1400,"args":{"cni":{"promisc":false,"mtu":0}},"#).ok();
    assert_eq!((host.link().promisc, host.link().mtu), (false, 1500));
}

#[test]
fn wrong_values_are_refused_before_anything_is_done() {
    for (keys, code) in [
        (r#""mtu":-1,"sysctl":{"net.core.somaxconn":"1"},"#, 7),
        (r#""txQLen":-1,"#, 7),
        (r#""mac":"nonsense","#, 7),
        (r#""args":{"cni":{"mac":"02:00"}},"#, 7),
        (r#""mac":"02:00:00:00:00:0a\n","#, 7),
        (r#""dataDir":"run","mtu":1400,"#, 7),
        (r#""mtu":"1400","#, 6),
        (r#""sysctl":["a"],"#, 6),
        (r#""sysctl":{"net.core.somaxconn":1},"#, 6),
    ] {
        let mut host = Host::new();
        host.add(keys).error(code);
        assert_eq!((host.link().mtu, host.file(BACKUP)), (1500, None), "{keys}");
        assert_eq!(host.sysctl("net/core/somaxconn").unwrap(), "4096", "{keys}");
    }
    let mut host = Host::new();
    host.args = "K8S_POD_NAME=x";
    host.add(r#""mtu":1400,"#).error(4);
    host.args = "";
}

#[test]
fn an_mtu_is_reported_since_spec_1_1_0() {
    let mut host = Host::new();
    let printed = host.call("ADD", &config(r#""mtu":1400,"#).replace("1.1.0", "1.0.0")).ok();
    assert_eq!((printed.contains(r#""mtu":1400"#), host.link().mtu), (false, 1400), "{printed}");
}

#[test]
fn a_missing_link_fails_add_and_check_but_not_del() {
    let mut host = Host::new();
    let conf = config(r#""mtu":1400,"sysctl":{"net.core.somaxconn":"1"},"#);
    host.call("ADD", &conf).ok();
    host.sim.remove_sandbox(NETNS);
    host.sim.add_sandbox(NETNS).unwrap();
    host.call("CHECK", &conf).error(104);
    assert!(host.call("ADD", &conf).error(101).contains("container interface is missing"));
    assert_eq!(host.sysctl("net/core/somaxconn").unwrap(), "4096");
    host.call("DEL", &conf).ok();
    assert_eq!(host.file(BACKUP), None);
}

#[test]
fn del_needs_no_sandbox() {
    for netns in ["", "/run/netns/gone"] {
        let mut host = Host::new();
        host.add(ALL).ok();
        host.sim.remove_sandbox(NETNS);
        host.call_on("DEL", netns, &config(ALL)).ok();
        assert_eq!(host.file(BACKUP), None);
    }
}

#[test]
fn del_works_from_the_file_alone() {
    let mut host = Host::new();
    host.add(ALL).ok();
    // The config has changed, and is wrong, since ADD.
    host.call("DEL", &config(r#""mtu":-7,"mac":"x","#)).ok();
    assert_eq!((host.link().mtu, host.link().mac), (1500, OLD_MAC));
    assert_eq!(host.file(BACKUP), None);
}

#[test]
fn a_backup_of_the_reference_plugin_is_restored() {
    let mut host = Host::new();
    let written = "{\n \"mac\": \"02:00:00:00:00:77\",\n \"promisc\": true,\n \"mtu\": 1234,\n \"allmulti\": true,\n \"txQLen\": 5\n}";
    host.sim.set_file(BACKUP, written.as_bytes()).unwrap();
    host.call("DEL", &config("")).ok();
    let link = host.link();
    assert_eq!((link.mac.0[5], link.promisc, link.mtu, link.allmulti, link.txqlen), (0x77, true, 1234, true, 5));
    assert_eq!(host.file(BACKUP), None);
}

#[test]
fn a_torn_backup_never_is_in_the_way() {
    let long = [b' '; backup::FILE + 1];
    for torn in [&b""[..], b"{\"mac\":\"02", b"\0\0\0\0", b"[]", b"{\"mtu\":\"x\"}", &long] {
        let mut host = Host::new();
        host.sim.set_file(BACKUP, torn).unwrap();
        host.call("DEL", &config(ALL)).ok();
        assert_eq!((host.file(BACKUP), host.link().mtu), (None, 1500));
        host.sim.set_file(BACKUP, torn).unwrap();
        host.add(r#""mtu":1400,"#).ok();
        assert!(host.file(BACKUP).unwrap().starts_with("{\"mtu\":1500,"));
    }
    // Well formed, with values that no link has.
    let mut host = Host::new();
    host.sim.set_file(BACKUP, br#"{"mac":"zz","mtu":-5,"txQLen":-1,"promisc":null}"#).unwrap();
    host.call("DEL", &config(ALL)).ok();
    assert_eq!((host.file(BACKUP), host.link().mtu, host.link().txqlen), (None, 1500, 1000));
}

#[test]
fn a_repeated_add_keeps_the_true_originals() {
    let mut host = Host::new();
    host.add(r#""mtu":1400,"#).ok();
    let first = host.file(BACKUP).unwrap();
    host.add(r#""mtu":1300,"#).ok();
    assert_eq!((host.file(BACKUP).unwrap(), host.link().mtu), (first, 1300));
    host.call("DEL", &config("")).ok();
    assert_eq!(host.link().mtu, 1500);
}

#[test]
fn a_backup_of_another_attachment_is_left_alone() {
    // As container `a` with interface `b_c` and container `a_b` with `c` share a file name.
    let mut host = Host::new();
    let theirs = r#"{"mtu":900,"picocni":"picocni:net1:c1_x:eth0"}"#;
    host.sim.set_file(BACKUP, theirs.as_bytes()).unwrap();
    assert!(host.add(r#""mtu":1400,"#).error(103).contains(BACKUP));
    host.call("DEL", &config("")).ok();
    assert_eq!((host.file(BACKUP).unwrap().as_str(), host.link().mtu), (theirs, 1500));
    // The network was renamed meanwhile: still this interface's.
    host.sim.set_file(BACKUP, br#"{"mtu":900,"picocni":"picocni:old:c1:eth0"}"#).unwrap();
    host.call("DEL", &config("")).ok();
    assert_eq!((host.file(BACKUP), host.link().mtu), (None, 900));
}

#[test]
fn check_names_what_has_changed() {
    for (key, set) in [
        ("mac", LinkChange { mac: Some(OLD_MAC), ..LinkChange::NONE }),
        ("promisc", LinkChange { promisc: Some(false), ..LinkChange::NONE }),
        ("mtu", LinkChange { mtu: Some(1401), ..LinkChange::NONE }),
        ("allmulti", LinkChange { allmulti: Some(false), ..LinkChange::NONE }),
        ("txQLen", LinkChange { txqlen: Some(51), ..LinkChange::NONE }),
    ] {
        let mut host = Host::new();
        host.add(ALL).ok();
        host.set(set);
        assert!(host.call("CHECK", &config(ALL)).error(104).contains(&format!("{key} is ")), "{key}");
        host.call("CHECK", &config("")).ok();
    }
}

#[test]
fn file_names_that_cannot_be_are_no_backups() {
    let owner = |container| picocni_core::owner::Owner { network: "n", container, ifname: IfName::of("eth0") };
    let longest = "c".repeat(backup::FILE_NAME - "_eth0.json".len());
    assert!(backup::path("/d", &owner(&longest)).is_some());
    let longer = format!("{longest}c");
    assert!(backup::path("/d", &owner(&longer)).is_none());
    assert_eq!(backup::path("/d//", &owner("c")).unwrap(), "/d/c_eth0.json");
}
