//! The JSON scanner of the core against serde_json. The comparison itself is
//! the one of the fuzz target; here random texts feed it.

#[path = "../../fuzz/targets/src/json_scan/mod.rs"]
#[allow(dead_code, reason = "the fuzz target has an entry point of its own")]
mod json_scan;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any, proptest};

const REAL: &str = r#"{ "cniVersion": "1.0.0", "name": "a\u0062", "isGateway": true, "vlan": 7,
  "ranges": [[{"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"}], []],
  "capabilities": {"portMappings": true, "ips": false}, "sysctl": {"a": "1", "a": "2"},
  "plugins": [{"Type": "portmap", "conf": [1, 2.5e3],
    "ports": [{"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp"}]}],
  "prevResult": {"Subnet": "10.0.0.0/8", "other": {"x": [null, -1]}}, "flags": [null, true],
  "args": {"cni": {"x": "\ud83d\ude00\n"}}, "opaque": "\"", "NAME": "b", "unknown": [{}] }"#;

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn texts_near_the_schema(choices in vec(any::<u8>(), 0..400)) {
        json_scan::check(&json_scan::near_schema(&choices));
    }

    #[test]
    fn mutated_texts(edits in vec((any::<u16>(), 0_usize..4, any::<u8>()), 1..6)) {
        const BYTES: &[u8] = b"\"\\{}[],: \n0-1.eEtfnul\x00\x1f\x7f\xc3\xa9\xed\xff/u9d";
        let mut text = REAL.as_bytes().to_vec();
        for (place, action, byte) in edits {
            let at = usize::from(place) % text.len();
            let new = BYTES[usize::from(byte) % BYTES.len()];
            match action {
                0 => text[at] = new,
                1 => text.insert(at, new),
                2 => { text.remove(at); }
                _ => {
                    let other = (at + usize::from(byte)) % text.len();
                    text.swap(at, other);
                }
            }
        }
        json_scan::check(&text);
    }

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..64)) {
        json_scan::check(&bytes);
    }
}

/// The generator is worth something only if both outcomes are common.
#[test]
fn the_generated_texts_are_taken_and_refused() {
    let mut seed = 1_u64;
    let mut taken = 0;
    for _ in 0..4000 {
        let choices: Vec<u8> = (0..200)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed.to_be_bytes()[0]
            })
            .collect();
        taken += usize::from(json_scan::check(&json_scan::near_schema(&choices)));
    }
    println!("{taken} of 4000 texts taken");
    assert!((400..3600).contains(&taken), "{taken}");
    assert!(json_scan::check(REAL.as_bytes()));
}

#[test]
fn every_truncation() {
    for cut in 0..REAL.len() {
        assert!(!json_scan::check(&REAL.as_bytes()[..cut]), "{cut}");
    }
}
