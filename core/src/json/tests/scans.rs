//! What is accepted, and its canonical text.

use super::*;

#[test]
fn a_real_config() {
    assert_eq!(canonical(REAL), REAL_CANONICAL);
    assert_eq!(canonical(REAL_CANONICAL), REAL_CANONICAL);
    with(REAL, |document| {
        assert_eq!(
            document.raw("prevResult"),
            Some(r#"{"ips": [ {"address": "10.89.0.2/24", "x": 1.5e3} ], "CniVersion": "1.0.0"}"#)
        );
        assert_eq!(document.raw("opaque"), None);
        assert_eq!(document.source(), REAL);
        assert_eq!(document.repeated_map_key(), None);
    });
}

#[test]
fn keys_fold_and_escapes_decode() {
    for (raw, expected) in [
        (r#"{"NAME":"x"}"#, r#"{"name":"x"}"#),
        (r#"{"n\u0061m\u0045":"x"}"#, r#"{"name":"x"}"#),
        (r#"{"name":"\/\u002f\b\f\n\r\t\u0001\u001F"}"#, r#"{"name":"//\b\f\n\r\t\u0001\u001f"}"#),
        (r#"{"name":"\u0022\u005c\"\\"}"#, r#"{"name":"\"\\\"\\"}"#),
        (r#"{"name":"\uD83D\ude00é\u00e9\u2028"}"#, "{\"name\":\"😀éé\u{2028}\"}"),
        ("{\"name\":\"\u{7f}\\u0000\"}", "{\"name\":\"\u{7f}\\u0000\"}"),
        (r#"{"sysctl":{"A\u0062":"","ab":"1"}}"#, r#"{"sysctl":{"Ab":"","ab":"1"}}"#),
        (r#"{"args":{"A\u0062" : [ 1 , null, {"x":{ }} ]}}"#, r#"{"args":{"Ab":[1,null,{"x":{}}]}}"#),
        (r#"{"unknown":[{"x":"\ud83d\ude00"}],"k\u00e9":1e9,"name":""}"#, r#"{"name":""}"#),
        (" \r\n\t{ } ", "{}"),
    ] {
        assert_eq!(canonical(raw), expected, "{raw}");
        assert_eq!(canonical(expected), expected);
    }
}

#[test]
fn the_last_repeat_is_kept() {
    for (raw, expected) in [
        (r#"{"name":"a","name":"b"}"#, r#"{"name":"b"}"#),
        (r#"{"name":"a","type":"t","NAME":"b"}"#, r#"{"type":"t","name":"b"}"#),
        (r#"{"type":"t","name":"a","Name":"b","vlan":1}"#, r#"{"type":"t","name":"b","vlan":1}"#),
        (r#"{"name":"a","name":"b","name":"c"}"#, r#"{"name":"c"}"#),
        (r#"{"ipam":{"type":"a"},"ipam":{"routes":[]}}"#, r#"{"ipam":{"routes":[]}}"#),
        (r#"{"name":"a","name":null}"#, r#"{"name":"a"}"#),
        (r#"{"vlan":1,"args":1,"args":null,"type":"t"}"#, r#"{"vlan":1,"type":"t"}"#),
        (r#"{"args":1,"args":null,"type":"t"}"#, r#"{"type":"t"}"#),
        (r#"{"args":1,"type":"t","args":null}"#, r#"{"type":"t"}"#),
        (r#"{"args":1,"args":null,"args":2}"#, r#"{"args":2}"#),
        (r#"{"args":1,"args":null}"#, "{}"),
        (r#"{"sysctl":{"a":"1","b":"2","\u0061":"3"}}"#, r#"{"sysctl":{"b":"2","a":"3"}}"#),
        (r#"{"sysctl":{"a":"1","a":"2","a":"3","a":"4","a":"5","a":"6"}}"#, r#"{"sysctl":{"a":"6"}}"#),
    ] {
        assert_eq!(canonical(raw), expected, "{raw}");
    }
    with(r#"{"sysctl":{"a":"1","b":"2", "a":"3"}}"#, |document| {
        assert_eq!(document.repeated_map_key(), Some(28));
    });
}

#[test]
fn spans_follow_repeats() {
    with(r#"{"opaque": 1,"prevResult":{},"OPAQUE":[2, 3]}"#, |document| {
        assert_eq!(document.canonical(), r#"{"prevResult":{}}"#);
        assert_eq!(document.raw("opaque"), Some("[2, 3]"));
        assert_eq!(document.raw("prevResult"), Some("{}"));
    });
    with(r#"{"name":"x","opaque":1,"name":"y","prevResult":{"ips":[]} ,"name":"z"}"#, |document| {
        assert_eq!(document.raw("opaque"), Some("1"));
        assert_eq!(document.raw("prevResult"), Some(r#"{"ips":[]}"#));
        assert_eq!(document.canonical(), r#"{"prevResult":{"ips":[]},"name":"z"}"#);
    });
    with(r#"{"prevResult":{"ips":[1]},"prevResult":{"ips":[2]},"opaque":"a","opaque":null}"#, |document| {
        assert_eq!(document.raw("prevResult"), Some(r#"{"ips":[2]}"#));
        assert_eq!(document.raw("opaque"), None);
        assert_eq!(document.spans().count(), 1);
    });
}

#[test]
fn spans_inside_dropped_values_go() {
    const PLUGIN: &[Key] = &[Key::str("type"), Key::raw("conf")];
    const MANY: Limit = Limit::new("MANY", 40);
    const LIST: &[Key] = &[Key::array("plugins", &Kind::Object(PLUGIN), &MANY), Key::raw("top")];
    let text = r#"{"top":0,"plugins":[{"conf":1},{"conf":{"a":[]}}],"Plugins":[{"type":"t","conf": 2 }]}"#;
    let mut out = [0; 256];
    let document = scan(text.as_bytes(), LIST, &mut out).unwrap();
    assert_eq!(document.canonical(), r#"{"plugins":[{"type":"t"}]}"#);
    let mut spans = document.spans();
    assert_eq!(spans.next().map(|s| (s.name, s.depth, s.text)), Some(("top", 1, "0")));
    assert_eq!(spans.next().map(|s| (s.name, s.depth, s.text)), Some(("conf", 3, "2")));
    assert_eq!(spans.next(), None);
    drop(spans);

    // A repeat inside an object that is dropped later on.
    let text = r#"{"top":0,"plugins":[{"type":"long enough","conf":1,"type":""}],"plugins":[]}"#;
    let document = scan(text.as_bytes(), LIST, &mut out).unwrap();
    assert_eq!(document.canonical(), r#"{"plugins":[]}"#);
    assert_eq!(document.spans().count(), 1);

    let mut text = heapless::String::<1024>::new();
    text.push_str("{\"plugins\":[").unwrap();
    for at in 0..=crate::json::SPANS {
        text.push_str(if at == 0 { "" } else { "," }).unwrap();
        text.push_str("{\"conf\":1}").unwrap();
    }
    text.push_str("]}").unwrap();
    let error = scan(text.as_bytes(), LIST, &mut out).unwrap_err();
    assert_eq!(error.kind, crate::json::ErrorKind::Limit { name: "json::SPANS", max: 16 });
}

#[test]
fn null_is_the_default() {
    assert_eq!(
        canonical(
            r#"{"name":null,"vlan":null,"ipam":null,"words":null,"prevResult":null,"opaque":null,"args":null,"isGateway":true}"#
        ),
        r#"{"isGateway":true}"#
    );
    assert_eq!(canonical(r#"{"words":[null,"a"]}"#), r#"{"words":["","a"]}"#);
    assert_eq!(canonical(r#"{"capabilities":{"a":null}}"#), r#"{"capabilities":{"a":false}}"#);
    assert_eq!(canonical(r#"{"ipam":{"ranges":[null,[null]]}}"#), r#"{"ipam":{"ranges":[[],[{}]]}}"#);
    assert_eq!(canonical(r#"{"args":{"a":null}}"#), r#"{"args":{"a":null}}"#);
}

#[test]
fn integers_and_booleans() {
    for (raw, expected) in [
        (r#"{"vlan":4094}"#, r#"{"vlan":4094}"#),
        (r#"{"vlan":-0}"#, r#"{"vlan":0}"#),
        (r#"{"rate":18446744073709551615}"#, r#"{"rate":18446744073709551615}"#),
        (r#"{"index":-9223372036854775808}"#, r#"{"index":-9223372036854775808}"#),
        (r#"{"disableCheck":"TRUE"}"#, r#"{"disableCheck":true}"#),
        (r#"{"disableCheck":"f\u0041lse"}"#, r#"{"disableCheck":false}"#),
        (r#"{"disableCheck":false}"#, r#"{"disableCheck":false}"#),
        (r#"{"args":[-0.5E+3,1e999,0,-0,10]}"#, r#"{"args":[-0.5E+3,1e999,0,-0,10]}"#),
    ] {
        assert_eq!(canonical(raw), expected, "{raw}");
    }
}

#[test]
fn it_fits_a_buffer_of_its_own_length() {
    let mut out = [0; REAL_CANONICAL.len()];
    let document = scan(REAL.as_bytes(), CONF, &mut out).unwrap();
    assert_eq!(document.canonical(), REAL_CANONICAL);
    for room in 0..REAL_CANONICAL.len() {
        let error = scan(REAL.as_bytes(), CONF, &mut out[..room]).unwrap_err();
        assert_eq!(error.kind, crate::json::ErrorKind::Limit { name: "canonical buffer", max: room });
    }
}

#[test]
fn serde_reads_the_canonical_text() {
    #[derive(serde::Deserialize)]
    struct Conf<'a> {
        #[serde(borrow, default)]
        name: crate::json::Str<'a>,
        vlan: u16,
        #[serde(borrow)]
        words: heapless::Vec<crate::json::Str<'a>, 3>,
        bridge: Option<crate::json::Str<'a>>,
    }
    with(r#"{"NAME":"a\u0022b","Vlan":5,"words":["x\/y",null]}"#, |document| {
        let conf: Conf<'_> = document.decode().unwrap();
        assert!(conf.name == "a\"b");
        assert_eq!(conf.name.plain(), None);
        assert_eq!(conf.vlan, 5);
        assert_eq!(conf.words[0].plain(), Some("x/y"));
        assert!(conf.words[1].is_empty());
        assert!(conf.bridge.is_none());
    });
    with(r#"{"vlan":4000,"name":"a"}"#, |document| {
        assert!(document.decode::<Conf<'_>>().is_err(), "words are missing");
    });
}
