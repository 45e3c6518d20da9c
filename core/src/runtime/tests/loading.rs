//! Parity rows 25 to 28.

use super::*;

const DIR: &str = "/etc/cni/net.d";

fn load_named<T>(host: &mut Host, name: &str, look: impl FnOnce(&Network<'_>) -> T) -> Result<T> {
    let mut memory = Box::new(ListMemory::new());
    Network::load(host, DIR, name, &mut memory).map(|network| look(&network))
}

fn load(host: &mut Host) -> Result<String> {
    load_named(host, "net", |network| {
        let kinds: Vec<&str> = network.plugins().iter().map(|plugin| plugin.kind).collect();
        std::format!("{} {}", network.version, kinds.join(","))
    })
}

fn files(files: &[(&str, &str)]) -> Host {
    let mut host = Host::default();
    for (name, content) in files {
        host.put(&std::format!("{DIR}/{name}"), content);
    }
    host
}

fn list(name: &str, kind: &str) -> String {
    std::format!(r#"{{"cniVersion":"1.0.0","name":"{name}","plugins":[{{"type":"{kind}"}}]}}"#)
}

#[test]
fn lists_come_first_in_name_order_then_single_files() {
    let (a, b, other) = (list("net", "a"), list("net", "b"), list("other", "x"));
    let single = r#"{"name":"net","cniVersion":"0.4.0","type":"single","x":{"y":[1]}}"#;
    let mut host = files(&[("20.conflist", &b), ("10.conflist", &a), ("05.conflist", &other), ("00.conf", single)]);
    assert_eq!(load(&mut host).unwrap(), "1.0.0 a");
    let mut host =
        files(&[("10.conflist", &other), ("99.conf", "{\"name\":\"net\",\"type\":\"late\"}"), ("50.json", single)]);
    assert_eq!(load(&mut host).unwrap(), "0.4.0 single");
    let object = load_named(&mut host, "net", |network| {
        assert_eq!(network.source, std::format!(r#"{{"cniVersion":"0.4.0","name":"net","plugins":[{single}]}}"#));
        String::from(network.plugins()[0].object)
    });
    assert_eq!(object.unwrap(), single);
    // Other endings are not looked at, and a directory with a list's name is passed over.
    let mut host =
        files(&[("10.conflist.bak", "rubbish"), ("x.txt", "rubbish"), ("05.conflist/file", ""), ("90.conflist", &a)]);
    assert_eq!(load(&mut host).unwrap(), "1.0.0 a");
}

#[test]
fn what_is_not_found_is_said_in_libcnis_words() {
    let error = load(&mut Host::default()).unwrap_err();
    assert_eq!(details(&error), "no net configurations found in /etc/cni/net.d");
    for file in ["1.conflist", "1.conf"] {
        let content = if file.ends_with('t') { list("other", "x") } else { r#"{"name":"other","type":"x"}"#.into() };
        let error = load(&mut files(&[(file, &content)])).unwrap_err();
        assert_eq!(details(&error), "no net configuration with name \"net\" in /etc/cni/net.d");
        assert_eq!(error.code().0, 7);
    }
    let mut host = files(&[("1.conflist", &list("net", "x"))]);
    for name in ["", "../net", "a/b", ".x"] {
        assert_eq!(load_named(&mut host, name, |_| ()).unwrap_err().code().0, 7, "{name}");
    }
}

#[test]
fn a_malformed_earlier_file_ends_the_search() {
    let good = list("net", "a");
    let error =
        load(&mut files(&[("10.conflist", "{\"name\": \"other\",\n  \"plugins\": [,]}"), ("20.conflist", &good)]))
            .unwrap_err();
    assert_eq!(error.code().0, 6);
    assert!(details(&error).starts_with("/etc/cni/net.d/10.conflist: line 2, column 15: "), "{}", details(&error));
    // A later one does not matter.
    assert!(load(&mut files(&[("10.conflist", &good), ("20.conflist", "{")])).is_ok());
    // Position and key inside a plugin.
    let error = load(&mut files(&[("1.conflist", "{\"name\":\"net\",\n\"plugins\":[\n{\"type\":5}]}")])).unwrap_err();
    assert_eq!(details(&error), "/etc/cni/net.d/1.conflist: line 3, column 9: expected a string for \"type\"");
}

#[test]
fn every_plugin_has_a_type_that_is_no_path() {
    for (plugins, phrase) in [
        (
            r#"{"type":"a"},{"name":"x"}"#,
            "failed to parse plugin config 1: error parsing configuration: missing 'type'",
        ),
        (r#"{"type":""}"#, "missing 'type'"),
        ("null", "missing 'type'"),
        (r#"{"type":"../../bin/sh"}"#, "../../bin/sh (a type is a file name, never a path)"),
    ] {
        let error = load(&mut host(plugins)).unwrap_err();
        assert!(details(&error).contains(phrase), "{plugins}: {}", details(&error));
        assert_eq!(error.code().0, 7);
    }
    let error = load(&mut files(&[("1.conf", r#"{"name":"other"}"#)])).unwrap_err();
    assert!(details(&error).ends_with("missing 'type'"));
    let error = load(&mut files(&[("1.conflist", r#"{"plugins":[{"type":"a"}]}"#)])).unwrap_err();
    assert_eq!(error.msg(), "missing network name");
}

#[test]
fn inlined_plugins_and_those_in_files() {
    let sibling =
        [("net/20.conf", r#"{"type":"f2"}"#), ("net/10.conf", r#"{"type":"f1"}"#), ("net/30.json", "rubbish")];
    for (only, plugins, beside, expected) in [
        ("", r#","plugins":[{"type":"a"}]"#, true, Ok("1.1.0 a,f1,f2")),
        (r#","loadOnlyInlinedPlugins":false"#, "", true, Ok("1.1.0 f1,f2")),
        (r#","loadOnlyInlinedPlugins":true"#, r#","plugins":[{"type":"a"}]"#, true, Ok("1.1.0 a")),
        (r#","loadOnlyInlinedPlugins":"TRUE""#, r#","plugins":[{"type":"a"}]"#, true, Ok("1.1.0 a")),
        ("", r#","plugins":[{"type":"a"}]"#, false, Ok("1.1.0 a")),
        (
            r#","loadOnlyInlinedPlugins":true"#,
            "",
            true,
            Err("\"loadOnlyInlinedPlugins\" is true, and there is no \"plugins\""),
        ),
        ("", "", false, Err("no .conf file in /etc/cni/net.d/net")),
        ("", r#","plugins":[]"#, true, Err("no plugins in list")),
    ] {
        let content = std::format!(r#"{{"cniVersion":"1.1.0","name":"net"{only}{plugins}}}"#);
        let mut host = files(&[("1.conflist", &content)]);
        if beside {
            sibling.iter().for_each(|(file, content)| host.put(&std::format!("{DIR}/{file}"), content));
        }
        match (load(&mut host), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected),
            (Err(error), Err(phrase)) => {
                assert_eq!(error.msg(), "no plugin configs found");
                assert!(details(&error).contains(phrase), "{}", details(&error));
            }
            (found, expected) => panic!("{content}: {found:?}, not {expected:?}"),
        }
    }
    let mut host = files(&[("1.conflist", &list("net", "a")), ("net/1.conf", "{}")]);
    assert!(details(&load(&mut host).unwrap_err()).starts_with("/etc/cni/net.d/net/1.conf: "));
}

#[test]
fn the_highest_known_version_is_chosen() {
    for (members, expected) in [
        (r#""cniVersion":"0.3.1""#, "0.3.1"),
        (r#""cniVersions":["0.4.0","1.1.0","1.0.0"]"#, "1.1.0"),
        (r#""cniVersions":["0.3.1","0.4.0"],"cniVersion":"1.0.0""#, "1.0.0"),
        (r#""cniVersions":["0.3.1","99.0.0"]"#, "0.3.1"),
        (r#""cniVersions":[],"cniVersion":"0.4.0""#, "0.4.0"),
        (r#""cniVersions":["99.0.0"]"#, ""),
        (r#""x":1"#, ""),
    ] {
        let found =
            load_named(&mut host_of(members, r#"{"type":"a"}"#), "net", |network| String::from(network.version));
        assert_eq!(found.unwrap(), expected, "{members}");
    }
    for bad in
        [r#""cniVersions":["1.0.0","a.b"]"#, r#""cniVersions":"1.0.0""#, r#""cniVersions":[1]"#, r#""cniVersion":1"#]
    {
        assert_eq!(load(&mut host_of(bad, r#"{"type":"a"}"#)).unwrap_err().code().0, 6, "{bad}");
    }
}

#[test]
fn switches_are_booleans_or_their_words() {
    for (value, expected) in [("true", true), ("\"True\"", true), ("false", false), ("\"false\"", false)] {
        let members = std::format!(r#""disableCheck":{value},"disableGC":{value}"#);
        let found = load_named(&mut host_of(&members, r#"{"type":"a"}"#), "net", |network| {
            (network.disable_check, network.disable_gc)
        });
        assert_eq!(found.unwrap(), (expected, expected), "{value}");
    }
    for bad in ["1", "\"yes\"", "[]"] {
        let members = std::format!(r#""disableCheck":{bad}"#);
        assert_eq!(load(&mut host_of(&members, r#"{"type":"a"}"#)).unwrap_err().code().0, 6, "{bad}");
    }
}

#[test]
fn limits_are_named() {
    let many = core::iter::repeat_n(r#"{"type":"a"}"#, limits::PLUGINS + 1).collect::<Vec<_>>().join(",");
    let error = load(&mut host(&many)).unwrap_err();
    assert_eq!(error.code().0, 100);
    assert!(details(&error).contains("PLUGINS allows 16"), "{}", details(&error));
    let large = std::format!(r#"{{"type":"a","x":"{}"}}"#, "y".repeat(limits::CONFLIST));
    let error = load(&mut host(&large)).unwrap_err();
    assert!(details(&error).contains("CONFLIST allows 65536"), "{}", details(&error));
    let mut crowded = Host::default();
    for at in 0..=limits::CONF_FILES {
        crowded.put(&std::format!("{DIR}/{at}.conflist"), &list("other", "a"));
    }
    assert!(details(&load(&mut crowded).unwrap_err()).contains("CONF_FILES allows 128"));
}

#[test]
fn a_single_file_takes_no_plugins_from_a_directory() {
    let mut host = files(&[("1.conf", r#"{"name":"net","type":"a"}"#), ("net/1.conf", r#"{"type":"b"}"#)]);
    assert_eq!(load(&mut host).unwrap(), " a");
}
