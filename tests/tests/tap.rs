//! tap: a device in the pod whose other end a program opens (rows 106 to 108 of `parity.tsv`).

use std::fs;
use std::path::Path;
use std::process::Command;

use picocni_tests::kernel::{self, edit};
use picocni_tests::sandbox;
use picocni_tests::{Pod, needs, paths, skip};
use serde_json::{Value, json};

const IFF_MULTI_QUEUE: u32 = 0x100;
const IFF_VNET_HDR: u32 = 0x4000;
const IFF_PERSIST: u32 = 0x800;

fn conf(extra: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "tap", "ipam": {"type": "host-local",
        "ranges": [[{"subnet": "10.9.0.0/24"}], [{"subnet": "2001:db8:9::/64"}]], "routes": [{"dst": "0.0.0.0/0"}]}});
    conf.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    conf
}

/// A file of the device in the view of /sys from its namespace.
fn attribute(pod: &Pod<'_>, name: &str) -> String {
    pod.netns().run(|| {
        let view = Path::new("/run/sys");
        fs::create_dir_all(view).expect("a directory");
        sandbox::mount_sys(view);
        let text = fs::read_to_string(view.join("class/net/eth0").join(name)).expect(name);
        sandbox::unmount(view);
        text.trim().to_owned()
    })
}

fn flags(pod: &Pod<'_>) -> u32 {
    u32::from_str_radix(attribute(pod, "tun_flags").trim_start_matches("0x"), 16).expect("flags")
}

#[test]
fn has_its_owner_mac_and_mtu_on_every_path() {
    needs!(Tun);
    sandbox::run(|host| {
        for (name, owner) in
            [("both", json!({"owner": 1000, "group": 1001})), ("none", json!({})), ("user", json!({"owner": 1000}))]
        {
            if host.peer().is_go() && name != "both" {
                // The peer's other path needs the `ip` program.
                continue;
            }
            let mut conf = conf(json!({"mtu": 1400, "mac": "02:00:00:00:00:77"}));
            conf.as_object_mut().expect("an object").extend(owner.as_object().expect("an object").clone());
            let pod = Pod::new(host, name);
            let result = pod.add(&conf).expect_result();
            let inside = pod.inside();
            let eth0 = inside.link("eth0");
            assert_eq!(eth0.kind, "tun");
            assert!(eth0.up);
            if !host.peer().is_go() {
                // The peer forgets both here.
                assert_eq!((eth0.mac.as_str(), eth0.mtu), ("02:00:00:00:00:77", 1400));
                assert_eq!(result["interfaces"][0]["mac"], "02:00:00:00:00:77");
            }
            let id = |key: &str| owner.get(key).and_then(Value::as_i64).unwrap_or(-1).to_string();
            assert_eq!((attribute(&pod, "owner"), attribute(&pod, "group")), (id("owner"), id("group")));
            assert_eq!(flags(&pod) & (IFF_PERSIST | IFF_VNET_HDR | IFF_MULTI_QUEUE), IFF_PERSIST | IFF_VNET_HDR);
            let mut with_prev = conf.clone();
            with_prev["prevResult"] = result;
            pod.call("CHECK", &with_prev).run().expect_quiet();
            for _ in 0..2 {
                pod.call("DEL", &conf).run().expect_quiet();
            }
            assert!(pod.inside().find_link("eth0").is_none());
        }
    });
}

#[test]
fn several_queues_and_a_bridge() {
    needs!(Tun);
    sandbox::run(|host| {
        let pod = Pod::new(host, "pod");
        let wanted = conf(json!({"multiQueue": true, "owner": 0, "group": 0, "bridge": "br0"}));
        pod.add(&wanted).expect_phrases(&["br0"]);
        pod.netns().run(|| edit::bridge("br0"));
        pod.call("DEL", &wanted).run().expect_quiet();
        pod.add(&wanted).expect_result();
        assert_eq!(pod.inside().link("eth0").master.as_deref(), Some("br0"));
        assert_eq!(flags(&pod) & IFF_MULTI_QUEUE, IFF_MULTI_QUEUE);
    });
}

/// Under another SELinux context the program executes itself: this is what it executes. A kernel without SELinux refuses
/// the context, and nothing is left.
#[test]
fn the_program_that_a_context_is_given_to() {
    needs!(Tun);
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the Go plugins execute `ip`");
        }
        let pod = Pod::new(host, "pod");
        let words = ["tap-device", "multi", "eth0", "1000", ""];
        let made = pod.netns().run(|| Command::new(paths::binary()).args(words).status().expect("picocni runs"));
        assert_eq!(made.code(), Some(0));
        assert_eq!((attribute(&pod, "owner"), attribute(&pod, "group")), ("1000".to_owned(), "-1".to_owned()));
        assert_eq!(flags(&pod) & IFF_MULTI_QUEUE, IFF_MULTI_QUEUE);
        let again = pod.netns().run(|| Command::new(paths::binary()).args(words).status().expect("picocni runs"));
        assert_eq!(again.code(), Some(libc::EBUSY), "never somebody else's device");
        if Path::new("/sys/fs/selinux/enforce").exists() {
            return;
        }
        let other = Pod::new(host, "other");
        let before = kernel::difference(&[], &host.state());
        other
            .add(&conf(json!({"selinuxContext": "system_u:system_r:container_t:s0"})))
            .expect_error(101, &["create tap"]);
        assert!(other.inside().find_link("eth0").is_none());
        let mut left = kernel::difference(&before, &kernel::difference(&[], &host.state()));
        left.retain(|line| !line.contains("last_reserved_ip") && !line.contains("/lock "));
        assert_eq!(left, [""; 0]);
    });
}
