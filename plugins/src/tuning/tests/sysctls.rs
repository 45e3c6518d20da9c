//! Sysctls and the allowlist.

use super::*;

fn path(key: &str, ifname: &str) -> Option<String> {
    let key = Str::from_plain(key).unwrap();
    sysctl::path(key, &IfName::new(ifname).unwrap()).ok().map(|path| path.as_str().to_string())
}

#[test]
fn keys_become_paths_below_net() {
    for (key, ifname, expected) in [
        ("net.ipv4.conf.IFNAME.rp_filter", "eth0", "net/ipv4/conf/eth0/rp_filter"),
        ("net/ipv4/conf/IFNAME/rp_filter", "eth0.100", "net/ipv4/conf/eth0.100/rp_filter"),
        ("net.ipv4.conf.eth0.100.rp_filter", "eth0.100", "net/ipv4/conf/eth0/100/rp_filter"),
        ("net.ipv4.IFNAME.IFNAME", "eth0", "net/ipv4/eth0/IFNAME"),
        ("net..core./somaxconn/", "eth0", "net/core/somaxconn"),
        ("/net/core/somaxconn", "eth0", "net/core/somaxconn"),
        ("net/a/../b", "eth0", "net/a/b"),
        ("net.é", "eth0", "net/é"),
    ] {
        assert_eq!(path(key, ifname).as_deref(), Some(expected), "{key}");
    }
    for bad in ["", "net", "net.", "../net", "kernel.hostname", "kernel/../net", "netx.core", "NET.core", "IFNAME.net"]
    {
        assert_eq!(path(bad, "eth0"), None, "{bad}");
    }
    // The first component may be the interface's name; it still must be below net.
    assert_eq!(path("IFNAME.core", "net").as_deref(), Some("net/core"));
    let long = "net/".to_string() + &"x".repeat(124);
    assert!(path(&long, "eth0").is_some());
    assert!(path(&(long + "x"), "eth0").is_none());
    assert!(path(&("net/IFNAME/".to_string() + &"x".repeat(110)), "interface0").is_some());
    assert!(path(&("net/IFNAME/".to_string() + &"x".repeat(115)), "interface0").is_none());
}

#[test]
fn sysctls_are_written_in_order_and_checked() {
    let mut host = Host::new();
    let keys = r#""sysctl":{"net.ipv4.conf.IFNAME.arp_notify":"1","net/core/somaxconn":"500","net.core.somaxconn":"600",
        "net.ipv4.ip_local_port_range":"1024\t2000"},"#;
    host.add(keys).ok();
    assert_eq!(host.sysctl("net/ipv4/conf/eth0/arp_notify").unwrap(), "1");
    assert_eq!(host.sysctl("net/core/somaxconn").unwrap(), "600");
    assert_eq!(host.sysctl("net/ipv4/ip_local_port_range").unwrap(), "1024\t2000");
    assert_eq!(host.file(BACKUP), None);
    let keys = r#""sysctl":{"net.ipv4.conf.IFNAME.arp_notify":"1\n","net.ipv4.ip_local_port_range":"1024 2000"},"#;
    host.call("CHECK", &config(keys)).ok();
    host.sim.open_sandbox(NETNS).unwrap();
    host.sim.set_sysctl(Ns::Sandbox, "net/ipv4/ip_local_port_range", "1024\t2001").unwrap();
    let error = host.call("CHECK", &config(keys)).error(104);
    assert!(error.contains("net/ipv4/ip_local_port_range") && error.contains("1024 2000"), "{error}");
    assert!(host.call("CHECK", &config(r#""sysctl":{"net.none":"1"},"#)).error(104).contains("net/none"));
    // DEL leaves them: they go with the sandbox.
    host.call("DEL", &config(keys)).ok();
    assert_eq!(host.sysctl("net/core/somaxconn").unwrap(), "600");
}

#[test]
fn args_add_and_replace_sysctls() {
    let mut host = Host::new();
    let args = r#""args":{"cni":{"sysctl":{"net.core.somaxconn":"2","net.ipv4.tcp_syncookies":"0"}}},"#;
    host.add(&[r#""sysctl":{"net.core.somaxconn":"1"},"#, args].concat()).ok();
    assert_eq!(
        (host.sysctl("net/core/somaxconn").unwrap().as_str(), host.sysctl("net/ipv4/tcp_syncookies").unwrap().as_str()),
        ("2", "0")
    );
    let mut host = Host::new();
    host.add(args).ok();
    assert_eq!(host.sysctl("net/core/somaxconn").unwrap(), "2");
}

#[test]
fn a_bad_key_stops_everything_before_the_first_write() {
    let mut host = Host::new();
    let error = host.add(r#""mtu":1400,"sysctl":{"net.core.somaxconn":"1","kernel.hostname":"x"},"#).error(7);
    assert!(error.contains("invalid net sysctl key") && error.contains("kernel.hostname"), "{error}");
    assert_eq!((host.sysctl("net/core/somaxconn").unwrap().as_str(), host.link().mtu), ("4096", 1500));
    host.add(r#""sysctl":{"net.core\u0000.somaxconn":"1"},"#).error(7);
    let long = "x".repeat(300);
    host.add(&format!(r#""sysctl":{{"net.core.somaxconn":"{long}"}},"#)).error(100);
    host.add(&format!(r#""sysctl":{{"net.{long}":"1"}},"#)).error(100);
}

#[test]
fn a_missing_or_read_only_sysctl_fails_add_and_is_undone() {
    let mut host = Host::new();
    host.add(r#""sysctl":{"net.core.somaxconn":"1","net.none":"1"},"#).error(101);
    assert_eq!(host.sysctl("net/core/somaxconn").unwrap(), "4096");
    host.sim.set_read_only_sysctls(true);
    host.add(r#""sysctl":{"net.core.somaxconn":"1"},"#).error(101);
}

#[test]
fn repeated_keys_are_refused() {
    let mut host = Host::new();
    for keys in [
        r#""sysctl":{"net.core.somaxconn":"1","net.core.somaxconn":"1"},"#,
        r#""args":{"cni":{"sysctl":{"net.core.somaxconn":"1","net.core.somaxc\u006fnn":"1"}}},"#,
    ] {
        assert!(host.add(keys).error(7).contains("duplicated sysctl keys are not allowed"));
    }
    assert_eq!(host.sysctl("net/core/somaxconn").unwrap(), "4096");
    // One key in both maps is an override.
    host.add(r#""sysctl":{"net.core.somaxconn":"1"},"args":{"cni":{"sysctl":{"net.core.somaxconn":"2"}}},"#).ok();
}

#[test]
fn as_many_sysctls_as_the_limit_says() {
    let map = |count: usize| {
        let entries: std::vec::Vec<String> = (0..count).map(|at| format!(r#""net.k{at}":"1""#)).collect();
        format!("{{{}}}", entries.join(","))
    };
    let max = picocni_core::limits::SYSCTLS;
    let mut host = Host::new();
    assert!(host.add(&format!(r#""sysctl":{},"#, map(max + 1))).error(100).contains("SYSCTLS"));
    let both = format!(r#""sysctl":{},"args":{{"cni":{{"sysctl":{{"net.other":"1"}}}}}},"#, map(max));
    assert!(host.add(&both).error(100).contains("SYSCTLS"));
    host.sim.open_sandbox(NETNS).unwrap();
    for at in 0..max {
        host.sim.set_sysctl(Ns::Sandbox, &format!("net/k{at}"), "0").unwrap();
    }
    host.add(&format!(r#""sysctl":{},"#, map(max))).ok();
    assert_eq!(host.sysctl(&format!("net/k{}", max - 1)).unwrap(), "1");
}

#[test]
fn the_allowlist_decides_on_keys_as_they_are_spelt() {
    let somaxconn = r#""sysctl":{"net.core.somaxconn":"1"},"#;
    let per_link = r#""sysctl":{"net.ipv4.conf.IFNAME.arp_notify":"1"},"#;
    for (list, keys, allowed) in [
        ("net.core.somaxconn\n", somaxconn, true),
        ("  ^net\\.core\\.[a-z]+$  \r\n\n", somaxconn, true),
        ("core\n", somaxconn, true),
        ("^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]*$\n", per_link, true),
        ("^net\\.ipv4\\.conf\\.eth0\\.[a-z_]*$\n", per_link, false),
        ("^net/core\n^net\\.ipv6\n", somaxconn, false),
        ("", somaxconn, false),
        ("^net.core.somaxconn$\n", r#""sysctl":{"net.core.somaxconn":"1","net.ipv4.tcp_syncookies":"0"},"#, false),
    ] {
        let mut host = Host::new();
        host.sim.set_file(ALLOWLIST, list.as_bytes()).unwrap();
        let answer = host.add(keys);
        if allowed {
            answer.ok();
        } else {
            assert!(answer.error(7).contains("is not allowed. Only the following sysctls are allowed: ["), "{list}");
            assert_eq!(host.sysctl("net/core/somaxconn").unwrap(), "4096");
        }
    }
    let mut host = Host::new();
    host.sim.set_file(ALLOWLIST, b"^a$\n\n ^b$ \n").unwrap();
    let error = host.add(somaxconn).error(7);
    assert!(
        error.contains("Sysctl net.core.somaxconn is not allowed. Only the following sysctls are allowed: [^a$ ^b$]"),
        "{error}"
    );
    // Only ADD asks.
    host.call("CHECK", &config(r#""sysctl":{"net.core.somaxconn":"4096"},"#)).ok();
    host.call("DEL", &config(somaxconn)).ok();
}

#[test]
fn a_line_that_is_not_understood_refuses_and_is_named() {
    for (list, place) in [(&b"^a$\n  (?i)net\n"[..], ":2:"), (b"net[\n", ":1:")] {
        let mut host = Host::new();
        host.sim.set_file(ALLOWLIST, list).unwrap();
        let error = host.add(r#""sysctl":{"net.core.somaxconn":"1"},"#).error(7);
        assert!(error.contains(&[ALLOWLIST, place].concat()), "{error}");
        assert_eq!(host.sysctl("net/core/somaxconn").unwrap(), "4096");
    }
    let mut host = Host::new();
    host.sim.set_file(ALLOWLIST, b"net\xff\n").unwrap();
    host.add(r#""sysctl":{"net.core.somaxconn":"1"},"#).error(7);
}
