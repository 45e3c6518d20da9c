//! What is refused, and the position told.

use super::*;
use crate::json::{DEPTH, ErrorKind, validate};

#[test]
fn messages_name_place_and_key() {
    for (raw, expected) in [
        ("{\n \"name\":\"x\",\n  \"VLAN\":  5000}", "line 3, column 12: expected an integer 0..4094 for \"vlan\""),
        (r#"{"name":7}"#, "line 1, column 9: expected a string for \"name\""),
        (r#"{"ipam":{"ranges":[{}]}}"#, "line 1, column 20: expected an array for \"ranges\""),
        (r#"{"name":"x" "type":"y"}"#, "line 1, column 13: expected ',' or '}'"),
        (r#"{"words":["x" "y"]}"#, "line 1, column 15: expected ',' or ']' for \"words\""),
        (r#"{"words":["1","2","3","4"]}"#, "line 1, column 23: more than 3 entries (limit WORDS) for \"words\""),
        (
            r#"{"sysctl":{"1":"","2":"","3":"","4":"","5":""}}"#,
            "line 1, column 40: more than 4 entries (limit ENTRIES) for \"sysctl\"",
        ),
        ("", "line 1, column 1: text ends, expected an object"),
        ("[]", "line 1, column 1: expected an object"),
        ("null", "line 1, column 1: expected an object"),
        ("{} x", "line 1, column 4: text after the end, expected the end of the text"),
        ("{\"name\":\"\n\"}", "line 1, column 10: raw control character, expected an escape such as \\n for \"name\""),
        (r#"{"name":"\ud800"}"#, "line 1, column 10: lone surrogate, expected a surrogate pair for \"name\""),
        (
            r#"{"disableCheck":"no"}"#,
            "line 1, column 17: expected true, false, \"true\" or \"false\" for \"disableCheck\"",
        ),
        (r#"{"index":1.0}"#, "line 1, column 10: expected an integer for \"index\""),
    ] {
        assert_eq!(message(raw), expected, "{raw}");
    }
    assert_eq!(error("{\n\"name\": 7}").offset, 10);
    assert_eq!(error(b"{\"name\":\"a\xff\"}").kind, ErrorKind::Utf8);
    assert_eq!(error(b"{\"name\":\"a\xff\"}").offset, 10);
}

#[test]
fn not_json() {
    for raw in [
        "{",
        "}",
        "{]",
        "{,}",
        "{\"a\":1,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1 2]}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":1e}",
        "{\"a\":0x1}",
        "{\"a\":1e+}",
        "{\"a\":tru}",
        "{\"a\":nul}",
        "{\"a\":True}",
        "{\"a\":nullx}",
        "{\"name\":nullx}",
        "{\"a\":truefalse}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\t\"}",
        "{\"a\":1}}",
        "{\"a\":1}{}",
        "\u{feff}{}",
        "{}\0",
        "\0{}",
        "{\"a\":\"\0\"}",
        "{\"a\0\":1}",
        "{/**/}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\\ud800\\\"}",
        "{\"a\":NaN}",
        "{\"a\":\"\\ud800\\ud800\"}",
        "{\"a\":\"\\ud800\\ue000\"}",
        "{\"a\":\"\\ud800\\udbff\"}",
        "{\"a\":[}",
        "{\"a\":{]}",
        "{\"a\":[1}",
        "true",
        "1",
        "\"\"",
        "{\u{a0}}",
        "{\"a\":1\u{b}}",
        "{\"a\":1;}",
        "{\"\\ud800\":1}",
    ] {
        error(raw);
        // The same fault where the value is copied, not skipped.
        error(raw.replace_key());
    }
}

trait ReplaceKey {
    fn replace_key(&self) -> heapless::String<64>;
}
impl ReplaceKey for &str {
    /// Under `args`, which is copied, instead of the unknown `a`.
    fn replace_key(&self) -> heapless::String<64> {
        let mut out = heapless::String::new();
        match self.strip_prefix("{\"a\":") {
            Some(rest) => {
                out.push_str("{\"args\":").unwrap();
                out.push_str(rest).unwrap();
            }
            None => out.push_str(self).unwrap(),
        }
        out
    }
}

#[test]
fn wrong_types() {
    let values = ["\"s\"", "true", "1", "-1", "1.5", "1e2", "{}", "[]"];
    // For each key: which of the values it takes.
    for (key, takes) in [
        ("name", "10000000"),
        ("isGateway", "01000000"),
        ("vlan", "00100000"),
        ("index", "00110000"),
        ("rate", "00100000"),
        ("ipam", "00000010"),
        ("sysctl", "00000010"),
        ("words", "00000001"),
        ("args", "11111111"),
        ("opaque", "11111111"),
        ("unknown", "11111111"),
        ("disableCheck", "01000000"),
        ("prevResult", "00000010"),
    ] {
        for (value, takes) in values.iter().zip(takes.bytes()) {
            let mut text = heapless::String::<64>::new();
            for part in ["{\"", key, "\":", value, "}"] {
                text.push_str(part).unwrap();
            }
            let mut out = [0; 64];
            let result = scan(text.as_bytes(), CONF, &mut out);
            assert_eq!(result.is_ok(), takes == b'1', "{text}");
        }
    }
    for raw in [
        r#"{"rate":-0}"#,
        r#"{"rate":18446744073709551616}"#,
        r#"{"index":9223372036854775808}"#,
        r#"{"index":99999999999999999999999999}"#,
        r#"{"vlan":-1}"#,
        r#"{"runtimeConfig":{"portMappings":[{"hostPort":0}]}}"#,
    ] {
        assert_eq!(error(raw).kind, ErrorKind::OutOfRange, "{raw}");
    }
}

#[test]
fn truncated_anywhere() {
    let start = REAL.find('{').unwrap();
    let end = REAL.rfind('}').unwrap();
    for cut in 0..=end {
        let error = error(&REAL[..cut]);
        assert_eq!(error.kind, ErrorKind::Truncated, "at {cut}");
        assert!(error.offset <= cut);
        assert!(validate(&REAL.as_bytes()[..cut]).is_err());
    }
    assert!(start < end);
    assert_eq!(validate(REAL.as_bytes()), Ok(REAL));
}

#[test]
fn deep_texts() {
    let depth = ErrorKind::Limit { name: "json::DEPTH", max: DEPTH };
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for (key, levels, ok) in
            [("args", DEPTH - 1, true), ("args", DEPTH, false), ("unknown", DEPTH - 1, true), ("unknown", DEPTH, false)]
        {
            let mut text = heapless::String::<512>::new();
            for part in ["{\"", key, "\":"] {
                text.push_str(part).unwrap();
            }
            for _ in 0..levels {
                text.push_str(open).unwrap();
            }
            if open != "[" {
                text.push('1').unwrap();
            }
            for _ in 0..levels {
                text.push_str(close).unwrap();
            }
            text.push('}').unwrap();
            if ok {
                canonical(&text);
            } else {
                assert_eq!(error(&*text).kind, depth);
            }
        }
    }
    for byte in [b'[', b'{'] {
        let mut text = [byte; 10_010];
        text[..10].copy_from_slice(b"{\"name\" :[");
        text[2..6].copy_from_slice(b"args");
        error(text);
        assert!(validate(&text).is_err());
    }
    let brackets = [b'['; 10_000];
    assert_eq!(validate(&brackets).unwrap_err().kind, depth);
}

#[test]
fn large_texts() {
    // 70 KB: a long string under an unknown key, which takes no room.
    let mut text = [b'x'; 70_000];
    text[..9].copy_from_slice(b"{\"junk\":\"");
    text[69_998..].copy_from_slice(b"\"}");
    let mut out = [0; 16];
    let document = scan(&text, CONF, &mut out).unwrap();
    assert_eq!(document.canonical(), "{}");
    text[2..6].copy_from_slice(b"args");
    assert!(matches!(
        scan(&text, CONF, &mut out).unwrap_err().kind,
        ErrorKind::Limit { name: "canonical buffer", max: 16 }
    ));
}
