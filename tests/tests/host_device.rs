//! host-device: a link of the host in the pod, and back as it was; devices found by name, MAC and in a made-up /sys (rows 96
//! to 100 of `parity.tsv`).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use picocni_tests::kernel::{Snapshot, edit};
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Protocol, Server, ask};
use picocni_tests::{Pod, skip};
use serde_json::{Value, json};

fn conf(device: Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "host-device", "ipam": {"type": "host-local",
        "subnet": "10.9.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}});
    conf.as_object_mut().expect("an object").extend(device.as_object().expect("an object").clone());
    conf
}

/// A device with two addresses, up; its other end is on the host.
fn device(name: &str) {
    let wire = format!("{name}-wire");
    edit::veth(name, &wire);
    edit::up(name);
    edit::up(&wire);
    edit::address(name, "192.0.2.7/24");
    edit::address(name, "2001:db8:7::7/64");
}

fn addresses_of(name: &str) -> Vec<String> {
    Snapshot::here().addresses_of(name)
}

#[test]
fn moves_in_and_comes_back_as_it_was() {
    sandbox::run(|host| {
        device("dev0");
        edit::address("dev0-wire", "10.9.0.1/24");
        let (mac, before) = (Snapshot::here().link("dev0").mac.clone(), addresses_of("dev0"));
        let pod = Pod::new(host, "pod");
        let result = pod.add(&conf(json!({"device": "dev0"}))).expect_result();
        assert_eq!(result["interfaces"][0]["name"], "eth0");
        assert_eq!(result["interfaces"][0]["mac"], mac.as_str());
        assert_eq!(result["ips"][0]["interface"], 0);
        assert!(Snapshot::here().find_link("dev0").is_none());
        let inside = pod.inside();
        assert_eq!((inside.link("eth0").up, inside.link("eth0").alias.as_str()), (true, "dev0"));
        assert_eq!(inside.addresses_of("eth0"), ["10.9.0.2/24"]);
        let _server = pod.netns().run(|| Server::start(Protocol::Tcp, "10.9.0.2:80", "pod"));
        // The wire's other end, which is no part of the pod, may see the carrier a moment later.
        let answered = (0..3).any(|_| ask(Protocol::Tcp, "10.9.0.2:80").is_ok());
        assert!(answered, "nobody answers at 10.9.0.2");
        let mut with_prev = conf(json!({"device": "dev0"}));
        with_prev["prevResult"] = result;
        pod.call("CHECK", &with_prev).run().expect_quiet();
        pod.call("DEL", &with_prev).run().expect_quiet();
        let back = Snapshot::here().link("dev0").clone();
        assert_eq!((back.mac.as_str(), back.alias.as_str()), (mac.as_str(), ""));
        if !host.peer().is_go() {
            // The peer leaves it down, without its addresses, and its second DEL fails.
            assert!(back.up);
            assert_eq!(addresses_of("dev0"), before);
            pod.call("DEL", &with_prev).run().expect_quiet();
        }
    });
}

#[test]
fn without_addresses() {
    sandbox::run(|host| {
        device("dev0");
        let mut bare = conf(json!({"device": "dev0"}));
        bare.as_object_mut().expect("an object").remove("ipam");
        let pod = Pod::new(host, "pod");
        let result = pod.add(&bare).expect_result();
        assert_eq!(result["interfaces"][0]["sandbox"], pod.netns().path().to_str().expect("UTF-8"));
        assert!(pod.inside().link("eth0").up);
        pod.call("DEL", &bare).run().expect_quiet();
        assert!(Snapshot::here().find_link("dev0").is_some());
    });
}

#[test]
fn names_that_are_taken() {
    sandbox::run(|host| {
        device("dev0");
        let conf = conf(json!({"device": "dev0"}));
        // Another link in the pod already has the device's name on the host.
        let pod = Pod::new(host, "pod");
        pod.netns().run(|| edit::veth("dev0", "other"));
        pod.add(&conf).expect_result();
        assert!(pod.inside().find_link("eth0").is_some() && pod.inside().find_link("dev0").is_some());
        // And one on the host has taken the name when it is to come back: nothing is lost, and DEL is called again.
        edit::veth("dev0", "taker");
        pod.call("DEL", &conf).run().expect_failure();
        assert!(pod.inside().find_link("eth0").is_some(), "{:?}", pod.inside().link_names());
        edit::delete("dev0");
        pod.call("DEL", &conf).run().expect_quiet();
        assert_eq!(Snapshot::here().link("dev0").kind, "veth");
        // CNI_IFNAME is taken: the device stays where it is.
        let full = Pod::new(host, "full");
        full.netns().run(|| edit::veth("eth0", "other"));
        let state = Snapshot::here().link("dev0").clone();
        full.add(&conf).expect_failure();
        assert_eq!(Snapshot::here().link("dev0").name, state.name);
    });
}

#[test]
fn a_device_by_its_mac() {
    sandbox::run(|host| {
        device("dev0");
        let mac = Snapshot::here().link("dev0").mac.clone();
        let pod = Pod::new(host, "pod");
        pod.add(&conf(json!({"hwaddr": mac.to_uppercase()}))).expect_result();
        assert_eq!(pod.inside().link("eth0").mac, mac);
    });
}

#[test]
fn del_does_not_fail_on_what_is_gone() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the peer's DEL fails without the namespace and without the device");
        }
        let pod = Pod::new(host, "pod");
        let conf = conf(json!({"device": "gone0"}));
        pod.call("DEL", &conf).run().expect_quiet();
        pod.call("DEL", &conf).env("CNI_NETNS", "").run().expect_quiet();
        let path = pod.remove();
        host.call("DEL", "host-device").id("pod").netns(&path).conf(&conf).run().expect_quiet();
        let status = |device: &str| {
            let mut conf = conf.clone();
            conf["cniVersion"] = "1.1.0".into();
            conf["device"] = device.into();
            host.call("STATUS", "host-device").conf(&conf).run()
        };
        status("gone0").expect_error(50, &["failed to find host device", "gone0"]);
        status("lo").expect_quiet();
    });
}

/// A /sys with a device of each kind, whose links are `dev0` and so on.
fn made_up_sys(host: &Sandbox) {
    let _ = host;
    sandbox::hide("/sys");
    let make = |path: &str| fs::create_dir_all(Path::new("/sys").join(path)).expect(path);
    make("devices/pci0000:00/0000:00:1f.6/net/dev0");
    make("bus/pci/devices/0000:00:1f.6/net/dev0");
    make("bus/pci/devices/0000:00:02.0/virtio3/net/dev1");
    make("bus/pci/devices/0000:00:03.0");
    make("bus/auxiliary/devices/mlx5_core.sf.4/net/dev2");
    for (device, driver) in [("0000:00:1f.6", "e1000e"), ("0000:00:02.0", "virtio-pci"), ("0000:00:03.0", "vfio-pci")] {
        make(&format!("bus/pci/drivers/{driver}"));
        symlink(format!("../../../../bus/pci/drivers/{driver}"), format!("/sys/bus/pci/devices/{device}/driver"))
            .expect("a driver");
    }
}

#[test]
fn devices_of_a_bus() {
    sandbox::run(|host| {
        made_up_sys(host);
        for (name, by) in [
            ("dev0", json!({"kernelpath": "/sys/devices/pci0000:00/0000:00:1f.6"})),
            ("dev0", json!({"pciBusID": "0000:00:1f.6"})),
            ("dev0", json!({"runtimeConfig": {"deviceID": "0000:00:1f.6"}})),
            ("dev1", json!({"pciBusID": "0000:00:02.0"})),
            ("dev2", json!({"runtimeConfig": {"deviceID": "mlx5_core.sf.4"}})),
            ("dev2", json!({"pciBusID": "0000:00:1f.6", "runtimeConfig": {"deviceID": "mlx5_core.sf.4"}})),
        ] {
            device(name);
            let mac = Snapshot::here().link(name).mac.clone();
            let pod = Pod::new(host, &format!("pod-{}", by.to_string().len()));
            let conf = conf(by.clone());
            pod.add(&conf).expect_result();
            assert_eq!(pod.inside().link("eth0").mac, mac, "{by}");
            pod.call("DEL", &conf).run().expect_quiet();
            edit::delete(name);
            pod.remove();
        }
    });
}

/// A device that a program in the container drives: nothing moves.
#[test]
fn a_device_without_a_link() {
    sandbox::run(|host| {
        made_up_sys(host);
        let pod = Pod::new(host, "pod");
        let conf = conf(json!({"pciBusID": "0000:00:03.0"}));
        let result = pod.add(&conf).expect_result();
        assert_eq!(result["ips"][0]["address"], "10.9.0.2/24");
        assert!(pod.inside().find_link("eth0").is_none());
        let mut with_prev = conf.clone();
        with_prev["prevResult"] = result;
        pod.call("CHECK", &with_prev).run().expect_quiet();
        pod.call("DEL", &with_prev).run().expect_quiet();
        for (by, phrase) in [
            (json!({"runtimeConfig": {"deviceID": "0000:99:00.0"}}), "DeviceID"),
            (json!({"pciBusID": "0000:99:00.0"}), "0000:99:00.0"),
        ] {
            Pod::new(host, phrase).add(&self::conf(by)).expect_phrases(&[phrase]);
        }
    });
}
