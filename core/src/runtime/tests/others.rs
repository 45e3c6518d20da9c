//! Parity rows 36 to 38: GC, STATUS, VERSION.

use super::*;

const VALID: &str = "cni.dev/valid-attachments";
const LEGACY: &str = "cni.dev/attachments";

/// `net` of main and ext with attachments c1/eth0, c1/eth1, c2/eth0 (its
/// sandbox is gone); one of another network whose name begins the same way.
fn crowded(members: &str) -> Host {
    let mut host = host_of(members, r#"{"type":"main"},{"type":"ext"}"#);
    prints(&mut host, "ext", RESULT);
    host.put("/etc/cni/net.d/20.conflist", r#"{"cniVersion":"1.1.0","name":"net-c1","plugins":[{"type":"main"}]}"#);
    host.sandboxes.insert("/run/netns/b".into());
    for attachment in [
        ATTACHMENT,
        Attachment { ifname: "eth1", ..ATTACHMENT },
        Attachment { container_id: "c2", netns: "/run/netns/b", ..ATTACHMENT },
        Attachment { network: "net-c1", container_id: "c9", ..ATTACHMENT },
    ] {
        add_to(&mut host, &attachment).unwrap();
    }
    host.sandboxes.remove("/run/netns/b");
    host.put("/cache/results/net-rubbish", "");
    host.calls.clear();
    host
}

#[test]
fn gc_deletes_the_stale_and_passes_the_valid_on() {
    let mut host = crowded(r#""cniVersion":"1.1.0""#);
    gc_of(&mut host, Some(&[("c1", "eth1"), ("foreign", "net0")])).unwrap();
    let list = r#"[{"containerID":"c1","ifname":"eth1"},{"containerID":"foreign","ifname":"net0"}]"#;
    let [.., main, ext] = &host.calls[..] else { panic!() };
    assert_eq!((sent(main, VALID), sent(ext, VALID), sent(ext, LEGACY)), (Some(list), Some(list), Some(list)));
    assert_eq!(ext.env, ["", "", "", ""]);
    // Ours read the specification's key; both would halve what fits.
    assert_eq!(sent(main, LEGACY), None);
    assert_eq!(host.take_calls(), ["ext DEL", "main DEL", "ext DEL", "main DEL", "main GC", "ext GC"]);
    let left = ["/cache/results/net-c1-c9-eth0", "/cache/results/net-c1-eth1", "/cache/results/net-rubbish"];
    assert_eq!(files_below(&host, "/cache/"), left);
}

#[test]
fn gc_with_an_empty_list_deletes_all_of_the_network() {
    let mut host = crowded(r#""cniVersion":"1.1.0""#);
    gc_of(&mut host, Some(&[])).unwrap();
    assert_eq!(files_below(&host, "/made/"), ["/made/main/c9-eth0"]);
    assert_eq!(sent(host.calls.last().unwrap(), VALID), Some("[]"));
}

#[test]
fn gc_without_a_list_keeps_what_has_a_sandbox() {
    let mut host = crowded(r#""cniVersion":"1.1.0""#);
    gc_of(&mut host, None).unwrap();
    let list = r#"[{"containerID":"c1","ifname":"eth0"},{"containerID":"c1","ifname":"eth1"}]"#;
    assert_eq!(sent(host.calls.last().unwrap(), VALID), Some(list));
    assert_eq!(files_below(&host, "/made/"), ["/made/main/c1-eth0", "/made/main/c1-eth1", "/made/main/c9-eth0"]);
    // Where no sandbox was ever named, none can be missed.
    let nameless = host.text(CACHE_FILE).unwrap().replace(r#""netns":"/run/netns/a","#, "");
    host.put(CACHE_FILE, &nameless);
    gc_of(&mut host, None).unwrap();
    assert!(host.files.contains_key(CACHE_FILE));
    // Without a cache nothing is known, and no list is sent.
    host.files.retain(|file, _| !file.starts_with("/cache"));
    host.calls.clear();
    gc_of(&mut host, None).unwrap();
    assert!(
        host.calls
            .iter()
            .all(|call| call.command == "GC" && sent(call, VALID).is_none() && sent(call, LEGACY).is_none())
    );
    assert_eq!(host.calls.len(), 2);
    host.unreadable = "/cache/results".into();
    gc_of(&mut host, None).unwrap();
}

#[test]
fn gc_before_1_1_0_only_deletes_and_can_be_switched_off() {
    let mut host = crowded(r#""cniVersion":"1.0.0""#);
    gc_of(&mut host, Some(&[("c1", "eth0"), ("c1", "eth1")])).unwrap();
    assert_eq!(host.take_calls(), ["ext DEL", "main DEL"]);
    let mut off = crowded(r#""cniVersion":"1.1.0","disableGC":true"#);
    gc_of(&mut off, Some(&[])).unwrap();
    assert!(off.calls.is_empty());
}

#[test]
fn gc_goes_past_failures_and_tells_them_all() {
    let mut host = crowded(r#""cniVersion":"1.1.0""#);
    runs(
        &mut host,
        "ext",
        Box::new(|call| (1, std::format!(r#"{{"code":50,"msg":"no {}"}}"#, call.env[2]), String::new())),
    );
    let error = gc_of(&mut host, Some(&[("c2", "eth0")])).unwrap_err();
    assert_eq!(error.msg(), "failed to delete stale attachment");
    assert!(details(&error).starts_with("c1 eth0: plugin type=\"ext\" name=\"net\" failed (delete): no eth0; also: "));
    assert!(details(&error).contains("c1 eth1: plugin type=\"ext\""), "{}", details(&error));
    assert_eq!(host.take_calls(), ["ext DEL", "ext DEL", "main GC", "ext GC"]);
}

#[test]
fn status_goes_in_order_and_gives_the_error_as_it_came() {
    let mut host = host(r#"{"type":"main"},{"type":"ext"},{"type":"tail"}"#);
    runs(&mut host, "ext", Box::new(|_| (1, r#"{"code":50,"msg":"down","details":"link"}"#.into(), String::new())));
    with(&mut host, |session, memory| {
        let error = status(session, memory, &ATTACHMENT, &mut |_| {}).unwrap_err();
        assert!(error.foreign);
        assert_eq!(session.work().foreign_error, br#"{"code":50,"msg":"down","details":"link"}"#[..]);
    });
    assert_eq!(host.take_calls(), ["main STATUS", "ext STATUS"]);
    let error = status_of(&mut self::host(r#"{"type":"main","failOn":"STATUS"}"#)).unwrap_err();
    assert_eq!((error.msg(), error.foreign), ("toy broke", false));
    let mut old = host_of(r#""cniVersion":"1.0.0""#, r#"{"type":"main","failOn":"STATUS"}"#);
    status_of(&mut old).unwrap();
    assert!(old.calls.is_empty());
}

#[test]
fn validate_asks_for_versions() {
    let validate_of =
        |host: &mut Host| with(host, |session, memory| validate(session, memory, &ATTACHMENT, &mut |_| {}));
    let unknown = r#"{"code":4,"msg":"unknown CNI_COMMAND: VERSION"}"#;
    for (version, exit, reply, expected) in [
        ("1.1.0", 0, r#"{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}"#, Ok(())),
        ("1.1.0", 0, r#"{"cniVersion":"1.1.0","supportedVersions":["1.0.0"]}"#, Err(1)),
        ("0.1.0", 0, r#"{"cniVersion":"0.2.0"}"#, Ok(())),
        ("0.3.0", 0, r#"{"cniVersion":"0.2.0"}"#, Err(1)),
        ("0.1.0", 1, unknown, Ok(())),
        ("0.2.0", 1, unknown, Err(1)),
        ("1.1.0", 1, r#"{"code":4,"msg":"other"}"#, Err(105)),
        ("1.1.0", 0, "hello", Err(6)),
    ] {
        let mut host = host_of(&std::format!(r#""cniVersion":"{version}""#), r#"{"type":"main"},{"type":"ext"}"#);
        runs(&mut host, "ext", Box::new(move |_| (exit, reply.into(), String::new())));
        assert_eq!(validate_of(&mut host).map_err(|error| error.code().0), expected, "{version} {reply}");
        assert_eq!(host.take_calls(), ["ext VERSION"]);
    }
    assert_eq!(validate_of(&mut host_of(r#""cniVersion":"1.2.0""#, r#"{"type":"main"}"#)).unwrap_err().code().0, 1);
    assert_eq!(validate_of(&mut host(r#"{"type":"lost"}"#)).unwrap_err().code().0, 7);
    assert_eq!(validate_of(&mut host(r#"{"type":"tail"}"#)).unwrap_err().code().0, 7);
}

#[test]
fn an_earlier_foreign_error_is_not_mistaken_for_a_later_one() {
    let mut host = host(r#"{"type":"ext"},{"type":"main","failOn":"GC"}"#);
    runs(&mut host, "ext", Box::new(|_| (1, r#"{"code":50,"msg":"foreign"}"#.into(), String::new())));
    let error = gc_of(&mut host, Some(&[])).unwrap_err();
    assert_eq!(error.code().0, 50);
    assert!(details(&error).contains(
        "failed (gc): foreign; also: plugin failed: plugin type=\"main\" name=\"net\" failed (gc): toy broke"
    ));
}
