//! bandwidth measured: TCP between a pod and its host, after the burst is used (row 146 of `parity.tsv`).

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use picocni_tests::{Pod, sandbox, traffic};
use serde_json::json;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    ToThePod,
    FromThePod,
}

/// What of a frame's 1514 bytes is of the sender's: without Ethernet, IP and TCP with its timestamps.
const PAYLOAD: f64 = 1448.0 / 1514.0;

const SETTLE: Duration = Duration::from_millis(700);
const WINDOW: Duration = Duration::from_millis(1800);

/// Bits a second on the wire, as the receiver of one connection sees it.
fn measured(way: Way, megabits: u64) -> f64 {
    sandbox::run(|host| {
        let pod = Pod::new(host, "c1");
        let bridge = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true,
            "ipam": {"type": "host-local", "subnet": "10.1.2.0/24"}});
        let result = pod.add(&bridge).expect_result();
        // A fiftieth of a second's worth at once.
        let (rate, burst) = (megabits * 1_000_000, megabits * 20_000);
        let limits = match way {
            Way::ToThePod => json!({"ingressRate": rate, "ingressBurst": burst}),
            Way::FromThePod => json!({"egressRate": rate, "egressBurst": burst}),
        };
        let mut conf = json!({"cniVersion": "1.0.0", "name": "net", "type": "bandwidth"});
        conf.as_object_mut().expect("an object").extend(limits.as_object().expect("an object").clone());
        pod.call("ADD", &conf).conf_after(&conf, &result).run().expect_result();

        let listener = TcpListener::bind("10.1.2.1:7000").expect("the gateway's address");
        let time = SETTLE + WINDOW + Duration::from_millis(300);
        let bytes = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                pod.netns().run(|| {
                    let stream = TcpStream::connect("10.1.2.1:7000").expect("the gateway answers");
                    match way {
                        Way::ToThePod => Some(traffic::drain(stream, SETTLE, WINDOW)),
                        Way::FromThePod => {
                            traffic::pour(stream, time);
                            None
                        }
                    }
                })
            });
            let (stream, _) = listener.accept().expect("the pod connects");
            let outside = match way {
                Way::ToThePod => {
                    traffic::pour(stream, time);
                    None
                }
                Way::FromThePod => Some(traffic::drain(stream, SETTLE, WINDOW)),
            };
            inside.join().expect("the pod's side").or(outside).expect("one side has measured")
        });
        bytes * 8.0 / PAYLOAD
    })
}

/// Never more than a tenth above the limit. On a busy machine a connection that lost a packet may stay below it for longer
/// than is measured, so it may try again; one of three has to come within a tenth.
fn within_a_tenth(way: Way, megabits: u32) {
    const TRIES: usize = 3;
    let wanted = f64::from(megabits) * 1e6;
    for _ in 0..TRIES {
        let measured = measured(way, megabits.into());
        println!("{megabits} Mbit/s: {:.2}", measured / 1e6);
        assert!(measured / wanted < 1.1, "{measured:.0} bit/s is over {wanted:.0}");
        if measured / wanted > 0.9 {
            return;
        }
    }
    panic!("{wanted:.0} bit/s were not reached");
}

#[test]
fn ten_megabits_to_the_pod() {
    within_a_tenth(Way::ToThePod, 10);
}

#[test]
fn ten_megabits_from_the_pod() {
    within_a_tenth(Way::FromThePod, 10);
}

#[test]
fn a_hundred_megabits_to_the_pod() {
    within_a_tenth(Way::ToThePod, 100);
}

#[test]
fn a_hundred_megabits_from_the_pod() {
    within_a_tenth(Way::FromThePod, 100);
}
