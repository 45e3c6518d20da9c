//! Parity rows 34 and 35: CHECK and DEL with the cached result.

use super::*;

/// As libcni 1.1.2 wrote it for podman: indented nowhere, keys in its order.
const LIBCNI: &str = r#"{"kind":"cniCacheV1","containerId":"c1","config":"e30=","ifName":"eth0","networkName":"net","netns":"/run/netns/a","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAME","p\u0026q"]],"capabilityArgs":{"mac":"02:00:00:00:00:01"},"result":{"cniVersion":"0.4.0","interfaces":[{"name":"eth0"}],"ips":[{"version":"4","address":"10.1.0.2/24"}],"dns":{}}}"#;

#[test]
fn check_hands_the_cached_result_to_every_plugin_in_order() {
    let mut host = host(r#"{"type":"main"},{"type":"tail"}"#);
    add_to(&mut host, &ATTACHMENT).unwrap();
    host.calls.clear();
    check_of(&mut host, &ATTACHMENT).unwrap();
    assert!(host.calls.iter().all(|call| sent(call, "prevResult") == Some(CHAINED)));
    assert_eq!(host.take_calls(), ["main CHECK", "tail CHECK"]);
    // Without a cache file there is no prevResult.
    host.files.remove(CACHE_FILE);
    check_of(&mut host, &ATTACHMENT).unwrap();
    assert_eq!(sent(&host.calls[0], "prevResult"), None);
    // Rubbish is an error.
    host.put(CACHE_FILE, "");
    let error = check_of(&mut host, &ATTACHMENT).unwrap_err();
    assert_eq!((error.code().0, error.msg()), (6, "cached result unreadable"));
    assert!(details(&error).starts_with(CACHE_FILE));
}

#[test]
fn check_stops_at_the_first_failure() {
    let mut host = host(r#"{"type":"main","failOn":"CHECK"},{"type":"tail"}"#);
    let error = check_of(&mut host, &ATTACHMENT).unwrap_err();
    assert!(details(&error).starts_with("plugin type=\"main\" name=\"net\" failed (check): toy broke"));
    assert_eq!(host.take_calls(), ["main CHECK"]);
}

#[test]
fn check_needs_0_4_0_and_can_be_switched_off() {
    let error = check_of(&mut host_of(r#""cniVersion":"0.3.1""#, r#"{"type":"main"}"#), &ATTACHMENT).unwrap_err();
    assert_eq!(error.code().0, 1);
    assert!(details(&error).starts_with("configuration version \"0.3.1\" does not support the CHECK command"));
    let mut off = host_of(r#""cniVersion":"1.0.0","disableCheck":"true""#, r#"{"type":"main"}"#);
    check_of(&mut off, &ATTACHMENT).unwrap();
    assert!(off.calls.is_empty());
}

#[test]
fn cached_results_are_converted() {
    let mut host = host(r#"{"type":"main"}"#);
    host.put(CACHE_FILE, LIBCNI);
    check_of(&mut host, &ATTACHMENT).unwrap();
    let converted = r#"{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"}],"ips":[{"address":"10.1.0.2/24"}]}"#;
    assert_eq!(sent(&host.calls[0], "prevResult"), Some(converted));
    // A bare result is what older versions cached.
    host.put(CACHE_FILE, r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.2/24"}}"#);
    check_of(&mut host, &ATTACHMENT).unwrap();
    assert_eq!(sent(&host.calls[1], "prevResult"), Some(r#"{"cniVersion":"1.1.0","ips":[{"address":"10.1.0.2/24"}]}"#));
}

#[test]
fn del_goes_in_reverse_and_forgets() {
    let mut host = host(r#"{"type":"main"},{"type":"ext"},{"type":"tail"}"#);
    prints(&mut host, "ext", RESULT);
    add_to(&mut host, &ATTACHMENT).unwrap();
    host.calls.clear();
    del_from(&mut host, &ATTACHMENT).unwrap();
    assert!(host.calls.iter().all(|call| sent(call, "prevResult") == Some(CHAINED)));
    assert_eq!(host.take_calls(), ["tail DEL", "ext DEL", "main DEL"]);
    assert!(files_below(&host, "/cache/").is_empty() && files_below(&host, "/made/").is_empty());
    // Again, and without a sandbox.
    del_from(&mut host, &Attachment { netns: "", ..ATTACHMENT }).unwrap();
    assert_eq!(sent(&host.calls[0], "prevResult"), None);
}

#[test]
fn before_0_4_0_del_gets_no_result() {
    let mut host = host_of(r#""cniVersion":"0.3.1""#, r#"{"type":"main"}"#);
    add_to(&mut host, &ATTACHMENT).unwrap();
    del_from(&mut host, &ATTACHMENT).unwrap();
    assert_eq!(sent(&host.calls[1], "prevResult"), None);
    assert!(files_below(&host, "/cache/").is_empty());
}

#[test]
fn a_failed_del_stops_and_keeps_the_cache() {
    let mut host = host(r#"{"type":"main"},{"type":"tail","failOn":"DEL"}"#);
    add_to(&mut host, &ATTACHMENT).unwrap();
    host.calls.clear();
    let error = del_from(&mut host, &ATTACHMENT).unwrap_err();
    assert!(details(&error).starts_with("plugin type=\"tail\" name=\"net\" failed (delete): toy broke"));
    assert_eq!(host.take_calls(), ["tail DEL"]);
    assert!(host.files.contains_key(CACHE_FILE));
}

#[test]
fn no_cache_file_of_any_content_blocks_del() {
    let torn = &LIBCNI[..200];
    let wrong_version = LIBCNI.replace("0.4.0", "7.0.0");
    for content in ["", "{", torn, "null", "[]", "\u{0}\u{0}\u{0}", wrong_version.as_str()] {
        let mut host = host(r#"{"type":"main"}"#);
        host.put(CACHE_FILE, content);
        host.put("/made/main/c1-eth0", "");
        del_from(&mut host, &ATTACHMENT).unwrap();
        assert!(files_below(&host, "/made/").is_empty() && files_below(&host, "/cache/").is_empty(), "{content}");
    }
    let mut host = host(r#"{"type":"main"}"#);
    host.put(CACHE_FILE, &"x".repeat(limits::CACHE_FILE + 1));
    del_from(&mut host, &ATTACHMENT).unwrap();
    assert!(files_below(&host, "/cache/").is_empty());
}

#[test]
fn gc_deletes_what_libcni_cached_with_its_words() {
    let mut host = host(r#"{"type":"ext","capabilities":{"mac":true}}"#);
    prints(&mut host, "ext", RESULT);
    host.put(CACHE_FILE, LIBCNI);
    gc_of(&mut host, Some(&[])).unwrap();
    let del = &host.calls[0];
    assert_eq!(del.command, "DEL");
    assert_eq!(del.env, ["c1", "/run/netns/a", "eth0", "IgnoreUnknown=1;K8S_POD_NAME=p&q"]);
    assert_eq!(sent(del, "runtimeConfig"), Some(r#"{"mac":"02:00:00:00:00:01"}"#));
    assert!(sent(del, "prevResult").unwrap().starts_with(r#"{"cniVersion":"1.1.0","#));
    assert!(files_below(&host, "/cache/").is_empty());
}
