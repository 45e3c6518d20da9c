//! Same input and same host, same output to the byte: names, MACs and all. And the kernel's own words
//! reach the operator. Not a test for the Go plugins, whose names are random.

use picocni_tests::peer::Peer;
use picocni_tests::{Pod, sandbox};
use serde_json::json;

fn conf() -> serde_json::Value {
    json!({"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true, "ipMasq": true,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.2.0/24"}], [{"subnet": "2001:db8:1::/64"}]],
                 "routes": [{"dst": "0.0.0.0/0"}]}})
}

#[test]
fn two_hosts_give_the_same_bytes() {
    let once = || {
        sandbox::run_with(Peer::picocni(), |host| {
            let pod = Pod::new(host, "c1");
            let outcome = pod.add(&conf());
            outcome.expect_result();
            (outcome.text(), host.state())
        })
    };
    let (first, second) = (once(), once());
    assert_eq!(first.0, second.0);
    assert_eq!(first.1, second.1);
}

#[test]
fn the_kernels_own_words_are_in_the_details() {
    sandbox::run_with(Peer::picocni(), |host| {
        let pod = Pod::new(host, "c1");
        let mut conf = conf();
        // One over the largest that a veth takes; the kernel says which attribute it did not like.
        conf["mtu"] = 65536.into();
        let error = pod.add(&conf).expect_error(101, &["kernel refused an operation"]);
        assert!(error.details.contains("invalid argument (22): mtu greater than device maximum"), "{error:?}");
    });
}
