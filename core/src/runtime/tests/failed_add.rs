//! Parity rows 22, 31 and 33: how ADD fails, and that nothing is left of it.

use super::*;

#[test]
fn a_failed_add_leaves_nothing() {
    let mut host = host(r#"{"type":"main"},{"type":"ext"},{"type":"tail","failOn":"ADD"},{"type":"rear"}"#);
    prints(&mut host, "ext", RESULT);
    let error = add_to(&mut host, &ATTACHMENT).unwrap_err();
    assert_eq!(error.msg(), "plugin failed");
    assert_eq!(error.code(), crate::error::Code::EXHAUSTED);
    assert_eq!(details(&error), "plugin type=\"tail\" name=\"net\" failed (add): toy broke: as it was told");
    assert!(host.calls[3..].iter().all(|call| sent(call, "prevResult") == Some(RESULT)));
    assert_eq!(host.take_calls(), ["main ADD", "ext ADD", "tail ADD", "tail DEL", "ext DEL", "main DEL"]);
    assert!(files_below(&host, "/made/").is_empty());
    assert!(files_below(&host, "/cache/").is_empty());
}

#[test]
fn a_dels_failure_after_a_failed_add_is_told() {
    let mut host = host(r#"{"type":"main"},{"type":"ext"},{"type":"tail","failOn":"ADD"}"#);
    runs(
        &mut host,
        "ext",
        Box::new(|call| match call.command.as_str() {
            "ADD" => (0, RESULT.into(), String::new()),
            _ => (1, r#"{"code":42,"msg":"no del"}"#.into(), String::new()),
        }),
    );
    let error = add_to(&mut host, &ATTACHMENT).unwrap_err();
    assert!(
        details(&error)
            .ends_with("as it was told; not undone: plugin type=\"ext\" name=\"net\" failed (delete): no del")
    );
    assert_eq!(host.take_calls().last().unwrap(), "main DEL");
    assert!(files_below(&host, "/made/").is_empty());
}

#[test]
fn an_attachment_in_use_survives_a_second_add() {
    let mut host = host(r#"{"type":"main"}"#);
    add_to(&mut host, &ATTACHMENT).unwrap();
    let before = host.files.clone();
    let error = add_to(&mut host, &ATTACHMENT).unwrap_err();
    assert_eq!(error.code(), crate::error::Code::CONFLICT);
    assert!(details(&error).ends_with("not undone: an earlier ADD of this attachment is in use"));
    assert_eq!(host.files, before);
    // An old cache file whose sandbox is gone protects nothing.
    host.put(CACHE_FILE, &host.text(CACHE_FILE).unwrap().replace("/run/netns/a", "/run/netns/gone"));
    assert!(add_to(&mut host, &ATTACHMENT).is_err());
    assert!(files_below(&host, "/made/").is_empty());
}

#[test]
fn a_cache_that_cannot_be_written_fails_and_undoes_the_add() {
    let mut host = host(r#"{"type":"main"},{"type":"tail"}"#);
    host.read_only = "/cache".into();
    let error = add_to(&mut host, &ATTACHMENT).unwrap_err();
    assert_eq!(error.msg(), "writing failed");
    assert_eq!(details(&error), "/cache/results/net-c1-eth0: read-only file system");
    assert_eq!(host.take_calls(), ["main ADD", "tail ADD", "tail DEL", "main DEL"]);
    assert!(files_below(&host, "/made/").is_empty());
}

#[test]
fn foreign_errors_keep_their_code() {
    for (code, stdout, stderr, expected_code, expected) in [
        (1, r#"{"code":11,"msg":"try \"later\"","details":"busy"}"#, "noise", 11, "failed (add): try \"later\"; busy"),
        (1, "", "it hurts", 105, "netplugin failed: ext: \"it hurts\": exit status 1"),
        (1, "", "", 105, "netplugin failed: ext with no error message: exit status 1"),
        (1, "oops", "", 105, "netplugin failed: ext but its diagnostic message is no JSON object: exit status 1"),
        (0, "", "", 6, "plugin printed no result: expected a JSON object on stdout"),
        (0, " \n", "", 6, "plugin printed no result"),
        (0, "[]", "", 6, "plugin's result unreadable: expected a JSON object on stdout"),
        (0, "{\"ips\":", "", 6, "plugin's result unreadable: line 1, column 8"),
    ] {
        let mut host = host(r#"{"type":"ext"}"#);
        runs(
            &mut host,
            "ext",
            Box::new(move |call| {
                if call.command == "ADD" {
                    (code, stdout.into(), stderr.into())
                } else {
                    (0, String::new(), String::new())
                }
            }),
        );
        let error = add_to(&mut host, &ATTACHMENT).unwrap_err();
        assert_eq!(error.code().0, expected_code, "{stdout}");
        assert!(!error.foreign);
        assert!(details(&error).starts_with("plugin type=\"ext\" name=\"net\" failed (add): "));
        assert!(details(&error).contains(expected), "{}", details(&error));
    }
}

#[test]
fn a_plugin_that_is_nowhere_is_named() {
    let mut lacking = host(r#"{"type":"main"},{"type":"lost"}"#);
    let error = add_to(&mut lacking, &ATTACHMENT).unwrap_err();
    assert!(details(&error).contains("failed to find plugin \"lost\" in path [/opt/cni/bin]"), "{}", details(&error));
    assert_eq!(error.code().0, 7);
    assert!(files_below(&lacking, "/made/").is_empty());
    let error = add_to(&mut host(r#"{"type":"own-stranger"}"#), &ATTACHMENT).unwrap_err();
    assert!(details(&error).contains("plugin not built in: own-stranger"));
}

#[test]
fn before_0_4_0_its_del_gets_no_result() {
    let mut host = host_of(r#""cniVersion":"0.3.1""#, r#"{"type":"main"},{"type":"tail","failOn":"ADD"}"#);
    add_to(&mut host, &ATTACHMENT).unwrap_err();
    let [_, _, tail, main] = &host.calls[..] else { panic!() };
    assert_eq!((tail.command.as_str(), sent(tail, "prevResult"), sent(main, "prevResult")), ("DEL", None, None));
}

#[test]
fn each_plugin_that_succeeded_leaves_an_empty_journal() {
    with(&mut host(r#"{"type":"main"},{"type":"tail"}"#), |session, memory| {
        add(session, memory, &ATTACHMENT, &mut |_| {}).unwrap();
        assert!(session.work().journal.is_empty());
    });
}
