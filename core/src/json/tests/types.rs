//! Any serde type from canonical text and back.

use heapless::{LinearMap, String, Vec};
use serde::{Deserialize, Serialize};

use crate::json::{Overflow, Str, from_canonical, to_slice};

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Mode {
    Bridge,
    PassThru,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Wrapper(u8);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "'de: 'a"))]
struct Everything<'a> {
    #[serde(borrow, default)]
    name: Str<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vlan: Option<u16>,
    signed: i64,
    large: u64,
    on: bool,
    none: Option<bool>,
    #[serde(borrow)]
    words: Vec<Str<'a>, 3>,
    nested: Vec<Vec<u8, 2>, 2>,
    map: LinearMap<String<8>, bool, 2>,
    mode: Mode,
    wrapper: Wrapper,
    pair: (u8, i8),
}

const TEXT: &str = concat!(
    r#"{"name":"a\"b\\\n😀","vlan":7,"signed":-9223372036854775808,"#,
    r#""large":18446744073709551615,"on":true,"none":null,"words":["x","\t"],"#,
    r#""nested":[[1,255],[]],"map":{"a":true,"b":false},"mode":"passThru","#,
    r#""wrapper":3,"pair":[1,-1]}"#
);

#[test]
fn what_is_read_is_written_back() {
    let value: Everything<'_> = from_canonical(TEXT).unwrap();
    assert_eq!(value.mode, Mode::PassThru);
    let mut out = [0; 512];
    let length = to_slice(&value, &mut out).unwrap();
    assert_eq!(core::str::from_utf8(&out[..length]), Ok(TEXT));
    for room in 0..TEXT.len() {
        assert_eq!(to_slice(&value, &mut out[..room]), Err(Overflow));
    }
}

#[test]
fn what_does_not_fit_the_type_is_refused() {
    for (from, to) in [
        ("\"vlan\":7", "\"vlan\":65536"),
        ("\"vlan\":7", "\"vlan\":-1"),
        ("\"vlan\":7", "\"vlan\":\"7\""),
        ("true,\"none\"", "1,\"none\""),
        ("\"on\":true,", ""),
        ("passThru", "other"),
        ("[\"x\",\"\\t\"]", "[\"x\",\"\",\"\",\"\"]"),
        ("[1,255]", "[1,256]"),
        ("[1,255]", "[1,2,3]"),
        ("[1,255]", "{}"),
        ("[1,-1]", "[1]"),
        ("[1,-1]", "[1,-1,0]"),
        ("\"b\":false", "\"b\":false,\"c\":true"),
        ("\"b\":false", "\"much too long\":false"),
        ("\"wrapper\":3", "\"wrapper\":[3]"),
        ("]}", "]"),
        ("]}", "]}}"),
        ("{\"name\"", "{\"vlan\":1,\"name\""),
    ] {
        let mut text = String::<512>::new();
        let (head, tail) = TEXT.split_once(from).expect(from);
        for part in [head, to, tail] {
            text.push_str(part).unwrap();
        }
        assert!(from_canonical::<Everything<'_>>(&text).is_err(), "{text}");
    }
    for cut in 0..TEXT.len() {
        if let Some(text) = TEXT.get(..cut) {
            assert!(from_canonical::<Everything<'_>>(text).is_err(), "{cut}");
        }
    }
}

#[test]
fn unknown_members_are_skipped() {
    #[derive(Deserialize)]
    struct One {
        one: u8,
    }
    let one: One = from_canonical(r#"{"x":[{"a":"]"}],"one":1,"y":"\""}"#).unwrap();
    assert_eq!(one.one, 1);
}
