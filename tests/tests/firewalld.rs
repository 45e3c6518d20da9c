//! firewall with firewalld: the real one on a message bus of its own, and buses that are none (row 140 of
//! `parity.tsv`).

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

use picocni_tests::firewalld::{Firewalld, command, lacking};
use picocni_tests::outside::Outside;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::traffic::{Protocol, Server, ask};
use picocni_tests::{Pod, skip};
use serde_json::{Value, json};

fn bridge() -> Value {
    json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipam":
        {"type": "host-local", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]]}})
}

fn firewall(extra: &Value) -> Value {
    let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "firewall"});
    conf.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
    conf
}

fn sources(zone: &str) -> String {
    command(&[&format!("--zone={zone}"), "--list-sources"]).expect("firewall-cmd").trim().to_owned()
}

#[test]
fn firewalld_lets_pods_through_by_its_zone() {
    sandbox::run(|host| {
        if let Some(what) = lacking() {
            skip!("{what}");
        }
        let outside = Outside::new(host);
        let _far = outside.far.run(|| Server::both(80, "far"));
        let pod = Pod::new(host, "pod");
        let result = pod.add(&bridge()).expect_result();
        let far = || pod.netns().run(|| ask(Protocol::Tcp, "203.0.113.2:80")).map(|answer| answer.who);
        assert_eq!(far(), Ok("far".into()));
        let _firewalld = Firewalld::start();
        assert!(far().is_err(), "firewalld drops what it does not know");
        let conf = firewall(&json!({}));
        let call = |command: &str, conf: &Value| pod.call(command, conf).conf_after(conf, &result).run();
        assert_eq!(call("ADD", &conf).expect_result(), result);
        assert_eq!(far(), Ok("far".into()));
        assert_eq!(sources("trusted"), "10.1.2.2/32 2001:db8:1::2/128");
        call("CHECK", &conf).expect_quiet();
        // Once more, as a runtime does that was killed before it noted the result.
        call("ADD", &conf).expect_result();
        if !host.peer().is_go() {
            command(&["--zone=trusted", "--remove-source=10.1.2.2/32"]).expect("firewall-cmd");
            call("CHECK", &conf).expect_error(104, &["10.1.2.2"]);
            call("DEL", &json!({"cniVersion": "1.0.0", "name": "net", "type": "firewall"})).expect_quiet();
        }
        call("DEL", &conf).expect_quiet();
        assert_eq!(sources("trusted"), "");
        assert!(far().is_err(), "still let through after DEL");
        // Another zone, by the config; and one that there is not.
        let internal = firewall(&json!({"backend": "firewalld", "firewalldZone": "internal"}));
        call("ADD", &internal).expect_result();
        assert_eq!(sources("internal"), "10.1.2.2/32 2001:db8:1::2/128");
        call("DEL", &internal).expect_quiet();
        assert_eq!(sources("internal"), "");
        let nowhere = firewall(&json!({"backend": "firewalld", "firewalldZone": "nowhere"}));
        call("ADD", &nowhere).expect_phrases(&["INVALID_ZONE"]);
        assert_eq!(sources("trusted"), "");
    });
}

#[test]
fn del_succeeds_when_firewalld_is_gone() {
    sandbox::run(|host| {
        if let Some(what) = lacking() {
            skip!("{what}");
        }
        let pod = Pod::new(host, "pod");
        let (bridge, conf) = (bridge(), firewall(&json!({})));
        let result = pod.add(&bridge).expect_result();
        let firewalld = Firewalld::start();
        pod.call("ADD", &conf).conf_after(&conf, &result).run().expect_result();
        drop(firewalld);
        pod.call("DEL", &conf).conf_after(&conf, &result).run().expect_quiet();
    });
}

#[test]
fn without_firewalld_its_backend_is_not_available() {
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the Go plugin has no STATUS");
        }
        let conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "firewall", "backend": "firewalld"});
        host.call("STATUS", "firewall").conf(&conf).run().expect_error(50, &["firewalld does not run"]);
        let call = host.call("STATUS", "firewall").env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/none");
        call.conf(&conf).run().expect_error(50, &["firewalld does not run"]);
        let call = host.call("STATUS", "firewall").env("DBUS_SYSTEM_BUS_ADDRESS", "tcp:host=localhost");
        call.conf(&conf).run().expect_error(4, &["invalid DBUS_SYSTEM_BUS_ADDRESS"]);
    });
}

/// A socket at which the first one to connect gets `replies`, each after it has said something.
fn pretend(host: &Sandbox, name: &str, replies: &'static [&'static [u8]], code: u64, phrase: &str) {
    let path = format!("/run/{name}");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut said = [0; 1024];
            for reply in replies {
                if stream.read(&mut said).unwrap_or(0) == 0 || stream.write_all(reply).is_err() {
                    return;
                }
            }
            // Until the caller gives up.
            while stream.read(&mut said).is_ok_and(|length| length > 0) {}
        });
        let conf = json!({"cniVersion": "1.1.0", "name": "net", "type": "firewall"});
        let call = host.call("STATUS", "firewall").env("DBUS_SYSTEM_BUS_ADDRESS", &format!("unix:path={path}"));
        call.conf(&conf).run().expect_error(code, &[phrase]);
        server.join().expect("the server ends");
    });
}

#[test]
fn what_is_no_message_bus_is_told_and_holds_nobody_up() {
    const ENDLESS: [u8; 1024] = [b'x'; 1024];
    /// The begin of a message of 4 GiB.
    const HUGE: &[u8] = b"l\x02\x00\x01\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00";
    sandbox::run(|host| {
        if host.peer().is_go() {
            skip!("the Go plugin has no STATUS");
        }
        pretend(host, "http", &[b"HTTP/1.1 400 Bad Request\r\n"], 101, "refused this user");
        pretend(host, "rejects", &[b"REJECTED EXTERNAL\r\n"], 101, "refused this user");
        pretend(host, "endless", &[&ENDLESS], 101, "does not speak D-Bus");
        pretend(host, "nonsense", &[b"OK 0\r\n", b"0123456789abcdef"], 101, "does not speak D-Bus");
        pretend(host, "huge", &[b"OK 0\r\n", HUGE], 100, "RECEIVE");
        pretend(host, "silent", &[b"OK 0\r\n"], 11, "message bus timed out");
    });
}
