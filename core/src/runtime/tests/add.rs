//! Parity rows 29 to 32: requests, results, the cache file.

use super::*;

#[test]
fn results_pass_from_plugin_to_plugin() {
    let mut host = host(r#"{"type":"main"},{"type":"ext"},{"type":"tail"}"#);
    runs(
        &mut host,
        "ext",
        Box::new(|call| {
            let prev = member(&call.request, "prevResult").unwrap_or("{}");
            (0, if call.command == "ADD" { std::format!("\n {prev}\n") } else { String::new() }, String::new())
        }),
    );
    let mut events = Vec::new();
    let result = with(&mut host, |session, memory| {
        let attachment = Attachment { cni_args: "A=1;B=2", ..ATTACHMENT };
        add(session, memory, &attachment, &mut |event| {
            events.push(match event {
                Event::Began(call) => {
                    std::format!("{} {} {}/{}", call.command.as_str(), call.kind, call.index, call.total)
                }
                Event::Ended { call, ok } => std::format!("{} {ok}", call.kind),
            });
        })
        .map(String::from)
    });
    assert_eq!(result.unwrap(), CHAINED);
    assert_eq!(events, ["ADD main 0/3", "main true", "ADD ext 1/3", "ext true", "ADD tail 2/3", "tail true"]);
    let [main, ext, tail] = &host.calls[..] else { panic!() };
    assert_eq!(sent(main, "prevResult"), None);
    assert_eq!(sent(ext, "prevResult"), Some(RESULT));
    assert_eq!(sent(tail, "prevResult"), Some(RESULT));
    assert_eq!(ext.env, ["c1", "/run/netns/a", "eth0", "A=1;B=2"]);
    assert_eq!(files_below(&host, "/made/"), ["/made/main/c1-eth0", "/made/tail/c1-eth0"]);
}

#[test]
fn the_request_is_the_object_with_our_members() {
    let object = r#"{"NAME":"x","cniversion":"9","type":"main","n":1e400,"s":"\u0041","capabilities":{"portMappings":true,"mac":false,"odd":true},"Capabilities":{},"x":{"name":"kept"}}"#;
    let mut host = host_of(r#""cniVersion":"0.4.0""#, object);
    let attachment = Attachment {
        capability_args: r#"{"portMappings":[{"hostPort":1}], "mac":"02:00:00:00:00:01","other":1}"#,
        ..ATTACHMENT
    };
    // The last of equal keys counts, as in Go: no capability is on.
    add_to(&mut host, &attachment).unwrap();
    let expected = r#"{"type":"main","n":1e400,"s":"\u0041","x":{"name":"kept"},"name":"net","cniVersion":"0.4.0"}"#;
    assert_eq!(host.calls[0].request, expected);
    let mut host = host_of(r#""cniVersion":"0.4.0""#, &object.replace(r#""Capabilities":{},"#, ""));
    add_to(&mut host, &attachment).unwrap();
    assert_eq!(sent(&host.calls[0], "runtimeConfig"), Some(r#"{"portMappings":[{"hostPort":1}]}"#));
    assert_eq!(sent(&host.calls[0], "capabilities"), None);
    // An empty version is said too.
    let mut host = host_of(r#""x":1"#, r#"{"type":"main"}"#);
    add_to(&mut host, &ATTACHMENT).unwrap();
    assert_eq!(sent(&host.calls[0], "cniVersion"), Some("\"\""));
}

#[test]
fn the_cache_file_is_libcnis() {
    let mut host = host(r#"{"type":"main","capabilities":{"mac":true}}"#);
    let attachment =
        Attachment { cni_args: "IgnoreUnknown=1;K8S_POD_NAME=a", capability_args: r#"{ "mac": "x" }"#, ..ATTACHMENT };
    let result = add_to(&mut host, &attachment).unwrap();
    let list = host.text("/etc/cni/net.d/10-net.conflist").unwrap();
    let mut config = std::vec![0u8; 1024];
    let length = super::super::base64::encode(list.as_bytes(), &mut config).unwrap();
    let config = core::str::from_utf8(&config[..length]).unwrap();
    let expected = std::format!(
        r#"{{"kind":"cniCacheV1","containerId":"c1","config":"{config}","ifName":"eth0","networkName":"net","netns":"/run/netns/a","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAME","a"]],"capabilityArgs":{{"mac":"x"}},"result":{result}}}"#
    );
    assert_eq!(host.text(CACHE_FILE), Some(expected.as_str()));
    // One file for each attachment.
    add_to(&mut host, &Attachment { ifname: "eth1", ..ATTACHMENT }).unwrap();
    add_to(&mut host, &Attachment { container_id: "c2", ..ATTACHMENT }).unwrap();
    assert_eq!(files_below(&host, "/cache/"), [CACHE_FILE, "/cache/results/net-c1-eth1", "/cache/results/net-c2-eth0"]);
    // The default directory.
    add_to(&mut host, &Attachment { container_id: "c3", cache_dir: "", ..ATTACHMENT }).unwrap();
    assert!(host.files.contains_key("/var/lib/cni/results/net-c3-eth0"));
}

#[test]
fn a_foreign_result_gets_the_networks_version() {
    for (printed, expected) in [
        (r#"{"ips":[]}"#, r#"{"ips":[],"cniVersion":"1.1.0"}"#),
        ("null", r#"{"cniVersion":"1.1.0"}"#),
        (r#"{"cniVersion":"","x":1}"#, r#"{"x":1,"cniVersion":"1.1.0"}"#),
        // Of the same family: as it is, unknown members too.
        (r#"{"cniVersion":"1.0.0", "x": 1}"#, r#"{"cniVersion":"1.0.0","x":1}"#),
        (
            r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/8"}}"#,
            r#"{"cniVersion":"1.1.0","ips":[{"address":"10.0.0.2/8"}]}"#,
        ),
    ] {
        let mut host = host(r#"{"type":"ext"}"#);
        prints(&mut host, "ext", printed);
        assert_eq!(add_to(&mut host, &ATTACHMENT).unwrap(), expected);
    }
}

#[test]
fn a_chained_plugin_cannot_be_first() {
    let mut wrong = host(r#"{"type":"tail"},{"type":"main"},{"type":"rear"}"#);
    let error = add_to(&mut wrong, &ATTACHMENT).unwrap_err();
    assert_eq!(error.code().0, 7);
    assert_eq!(details(&error), "\"tail\" works on the interface of a plugin before it; right order: main, tail, rear");
    assert!(wrong.calls.is_empty());
    let error = add_to(&mut host(r#"{"type":"tail"}"#), &ATTACHMENT).unwrap_err();
    assert!(details(&error).ends_with("right order: one that makes an interface, such as bridge or ptp, tail"));
    // Taking it down must work all the same.
    del_from(&mut wrong, &ATTACHMENT).unwrap();
    // Unknown plugins may stand anywhere.
    let mut foreign = host(r#"{"type":"ext"},{"type":"tail"},{"type":"main"}"#);
    prints(&mut foreign, "ext", RESULT);
    add_to(&mut foreign, &ATTACHMENT).unwrap();
}

#[test]
fn words_are_checked_before_anything_is_done() {
    for (attachment, code) in [
        (Attachment { container_id: "", ..ATTACHMENT }, 4),
        (Attachment { container_id: "../x", ..ATTACHMENT }, 4),
        (Attachment { ifname: "a/b", ..ATTACHMENT }, 4),
        (Attachment { netns: "", ..ATTACHMENT }, 4),
        (Attachment { cni_args: "A", ..ATTACHMENT }, 4),
        (Attachment { cni_args: "A=", ..ATTACHMENT }, 4),
        (Attachment { cni_args: "A=1;", ..ATTACHMENT }, 4),
        (Attachment { capability_args: "{", ..ATTACHMENT }, 4),
        (Attachment { capability_args: "[1]", ..ATTACHMENT }, 4),
    ] {
        let mut host = host(r#"{"type":"main"}"#);
        let before = host.files.clone();
        assert_eq!(add_to(&mut host, &attachment).unwrap_err().code().0, code, "{attachment:?}");
        assert!(host.calls.is_empty());
        assert_eq!(host.files, before);
    }
}
