//! Strings, raw walking, writing.

use crate::json::raw::{Elements, Members, member, rewrite_object};
use crate::json::{Overflow, Str, Writer, from_canonical, to_slice};

fn read(text: &str) -> Str<'_> {
    from_canonical(text).unwrap()
}

#[test]
fn strings_decode_on_access() {
    let plain = read(r#""eth0""#);
    assert_eq!(plain.plain(), Some("eth0"));
    assert!(plain == "eth0" && plain != "eth1");
    let escaped = read(r#""a\"b\\\n\u001f😀""#);
    assert_eq!(escaped.plain(), None);
    assert!(escaped == "a\"b\\\n\u{1f}😀");
    assert!(escaped != "a\"b\\\n\u{1f}");
    let mut out = heapless::String::<16>::new();
    escaped.decode_into(&mut out).unwrap();
    assert_eq!(out, "a\"b\\\n\u{1f}😀");
    let mut short = heapless::String::<6>::new();
    short.push('>').unwrap();
    assert!(escaped.decode_into(&mut short).is_err());
    assert_eq!(short, ">");
    assert!(plain.decode_into(&mut short).is_ok());
    assert!(plain.decode_into(&mut short).is_err());
    assert_eq!(short, ">eth0");
    assert_eq!(Str::default(), "");
    assert!(Str::from_plain("a\\").is_none() && Str::from_plain("é").is_some());
}

#[test]
fn strings_write_as_they_were() {
    let mut out = [0; 64];
    for text in [r#""eth0""#, r#""a\"b\\\n😀\t""#, r#""""#] {
        let length = to_slice(&read(text), &mut out).unwrap();
        assert_eq!(&out[..length], text.as_bytes());
    }
    assert_eq!(to_slice(&read(r#""eth0""#), &mut out[..5]), Err(Overflow));
    assert_eq!(to_slice(&read(r#""a\"b\\\n""#), &mut out[..9]), Err(Overflow));
}

#[test]
fn raw_members_and_elements() {
    let text = r#" { "a" : 1 ,"b":[ {"x":"]}"} , 2], "\u0061":"\"}" , "c":{} ,"d":-1e5}"#;
    let mut members = Members::new(text);
    for (key, value) in [("a", "1"), ("b", r#"[ {"x":"]}"} , 2]"#), ("\\u0061", r#""\"}""#), ("c", "{}"), ("d", "-1e5")]
    {
        let found = members.next().unwrap();
        assert_eq!((found.key, found.value), (key, value));
    }
    assert!(members.next().is_none());
    assert_eq!(member(text, "A"), Some(r#""\"}""#));
    assert_eq!(member(text, "e"), None);
    let mut elements = Elements::new(member(text, "b").unwrap());
    assert_eq!(elements.next(), Some(r#"{"x":"]}"}"#));
    assert_eq!(elements.next(), Some("2"));
    assert_eq!(elements.next(), None);
    assert!(Elements::new("[]").next().is_none() && Elements::new("{}").next().is_none());
    assert!(Members::new("{}").next().is_none() && Members::new("[1]").next().is_none());
    // Text nobody validated ends the walk, and that is all.
    for cut in 0..text.len() {
        for member in Members::new(&text[..cut]) {
            Elements::new(member.value).count();
        }
    }
}

#[test]
fn objects_are_rewritten() {
    let raw = r#"{ "type":"bridge", "Name" : "old", "pre\u0076Result": {"a": [1]}, "k" : [ "a b" , 2 ] }"#;
    let mut out = [0; 128];
    let length = rewrite_object(
        raw,
        &[("name", r#""new""#), ("cniVersion", r#" "1.0.0" "#)],
        &["prevResult", "absent"],
        &mut out,
    )
    .unwrap();
    assert_eq!(
        core::str::from_utf8(&out[..length]).unwrap(),
        r#"{"type":"bridge","k":["a b",2],"name":"new","cniVersion":"1.0.0"}"#
    );
    assert_eq!(rewrite_object(raw, &[], &[], &mut out[..20]), Err(Overflow));
    let length = rewrite_object("{}", &[], &[], &mut out).unwrap();
    assert_eq!(&out[..length], b"{}");
}

#[test]
fn the_writer_sets_commas_and_escapes() {
    let mut out = [0; 160];
    let mut w = Writer::new(&mut out);
    w.begin_object();
    w.key("a\"").str("q\"\\\u{1}é\n");
    w.key("n").begin_array();
    w.int(0).int(-7).int(i64::MIN).uint(u64::MAX).int(10);
    w.end_array();
    w.key("e").begin_object().end_object();
    w.key("l").begin_array().end_array();
    w.key("b").bool(true).key("z").null();
    w.key("r").raw("[1]").key("s").canonical(read(r#""\"x""#));
    w.key("c").compact(r#"{ "a b" : [ "\" \\" , 1 ] }"#);
    w.end_object();
    let length = w.finish().unwrap();
    let text = core::str::from_utf8(&out[..length]).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"a\"":"q\"\\\u0001é\n","n":[0,-7,-9223372036854775808,18446744073709551615,10],"#,
            r#""e":{},"l":[],"b":true,"z":null,"r":[1],"s":"\"x","c":{"a b":["\" \\",1]}}"#
        )
    );
    let mut small = [0; 3];
    let mut w = Writer::new(&mut small);
    w.begin_array().int(12).int(3).end_array();
    assert_eq!(w.finish(), Err(Overflow));
}
