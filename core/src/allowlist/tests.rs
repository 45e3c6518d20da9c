//! Go's readings and the places of errors. Agreement with another engine is
//! checked in the `allowlist_oracle` test of the `tests` workspace.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::{LineError, MAX_GROUP_DEPTH, Program, check, validate};

fn matches(pattern: &str, text: &str) -> bool {
    Program::<512>::compile(pattern).unwrap().is_match(text)
}

/// Column and message of a refusal.
fn refused(pattern: &str) -> (usize, &'static str) {
    let error = Program::<512>::compile(pattern).unwrap_err();
    (error.column, error.what)
}

#[test]
fn unanchored_unless_said() {
    assert!(matches("ipv4", "net.ipv4.conf"));
    assert!(!matches("^ipv4", "net.ipv4.conf"));
    assert!(matches("^net.core.somaxconn$", "net.core.somaxconn"));
    assert!(matches("^net.core.somaxconn$", "netXcore/somaxconn"));
    assert!(!matches("^net\\.core\\.somaxconn$", "netXcore.somaxconn"));
    assert!(!matches("^net$", "net\n"));
    // An empty alternative matches everything, as it does in Go.
    assert!(matches("a|", "zzz"));
}

#[test]
fn repetition() {
    for (pattern, least, most) in [
        ("^a*$", 0, 99),
        ("^a+$", 1, 99),
        ("^a?$", 0, 1),
        ("^a{3}$", 3, 3),
        ("^a{2,}$", 2, 99),
        ("^a{0,2}$", 0, 2),
        ("^a{2,4}?$", 2, 4),
        ("^(?:a{2}){1,2}$", 2, 4),
        ("^a{0}$", 0, 0),
        ("^(a|b){1,3}$", 1, 3),
        ("^[a]{0,}$", 0, 99),
        ("^(a?){3}$", 0, 3),
    ] {
        for n in 0..8usize {
            let text = "aaaaaaaa".get(..n).unwrap();
            // Two times two has a gap at three.
            let gap = pattern == "^(?:a{2}){1,2}$" && n == 3;
            let wanted = n >= least && n <= most && !gap;
            assert_eq!(matches(pattern, text), wanted, "{pattern} on {n}");
        }
    }
}

#[test]
fn classes_as_go_reads_them() {
    // No vertical tab in \s, but in [:space:].
    assert!(!matches("\\s", "\x0b") && matches("[[:space:]]", "\x0b"));
    assert!(matches("^[]a]+$", "]a") && matches("^[^]a]$", "b"));
    // A hyphen after a class or a range is a character.
    assert!(matches("^[\\w-.]+$", "a-b.c") && matches("^[a-c-z]+$", "a-z"));
    assert!(!matches("^[a-c-z]$", "x"));
    assert!(matches("^[[:^digit:]x]+$", "ax") && !matches("^[[:^digit:]x]+$", "1"));
    // Escaped punctuation is itself; a brace or bracket that closes nothing too.
    assert!(matches("^\\_\\-\\/\\{$", "_-/{") && matches("^a}]$", "a}]"));
}

#[test]
fn what_is_not_understood_is_refused_at_its_place() {
    for (pattern, column) in [
        ("(?i)net", 3),
        ("(?P<n>a)", 3),
        ("a(b", 2),
        ("ab)", 3),
        ("[a", 3),
        ("[z-a]", 4),
        ("a{", 2),
        ("a{,3}", 2),
        ("a{2,1}", 6),
        ("a{1001}", 6),
        ("a{01}", 4),
        ("a**", 3),
        ("*a", 1),
        ("a|+", 3),
        ("(?:*)", 4),
        ("\\p{L}", 2),
        ("\\Qa\\E", 2),
        ("\\1", 2),
        ("a\\", 2),
        ("\\x4", 4),
        ("\\xff", 4),
        ("[[:foo:]]", 8),
        ("[a[b]", 3),
        ("[a&&b]", 3),
        ("[a--b]", 4),
        ("[\\b]", 3),
        ("a\u{e9}", 2),
        ("\\<", 2),
        ("x{2}{3}", 5),
        ("[a-\\d]", 5),
    ] {
        assert_eq!(refused(pattern).0, column, "{pattern}: {}", refused(pattern).1);
    }
}

#[test]
fn limits_are_errors() {
    assert_eq!(refused("a{513}").1, "expression needs too many states");
    assert!(matches("^a{510}$", core::str::from_utf8(&[b'a'; 510]).unwrap()));
    assert!(Program::<4>::compile("abcd").unwrap().is_match("abcd"));
    assert!(Program::<4>::compile("abcde").is_err());
    assert!(Program::<4>::compile("a|bc").is_err());
    // Repetitions inside repetitions would need 10^9 states.
    assert_eq!(refused("((a{1000}){1000}){1000}").1, "expression needs too many states");
    let open = core::str::from_utf8(&[b'('; MAX_GROUP_DEPTH + 1]).unwrap();
    assert_eq!(refused(open), (MAX_GROUP_DEPTH + 1, "too many groups inside each other"));
    let full = "[ab][ac][ad][ae][af][ag][ah][ai][aj][ak][al][am][an][ao][ap][aq][ab]";
    assert!(Program::<512>::compile(full).is_ok());
    let over = "[ab][ac][ad][ae][af][ag][ah][ai][aj][ak][al][am][an][ao][ap][aq][ar]";
    assert_eq!(refused(over).1, "expression has too many classes");
}

#[test]
fn files() {
    let file = "\n  ^net\\.ipv4\\.conf\\.[a-z]+$ \r\n\n\t^net.core.somaxconn$\n  net.(\n";
    assert_eq!(check(file, "net.ipv4.conf.all"), Ok(true));
    assert_eq!(check(file, "net.core.somaxconn"), Ok(true));
    // No match before the line that cannot be read: refused, with its place.
    let error = LineError { line: 5, column: 7, what: "missing )" };
    assert_eq!(check(file, "kernel.hostname"), Err(error));
    assert_eq!(validate(file), Err(error));
    let mut text = heapless::String::<64>::new();
    core::fmt::Write::write_fmt(&mut text, format_args!("{error}")).unwrap();
    assert_eq!(text, "line 5, column 7: missing )");
    // Nothing but empty lines allows nothing.
    assert_eq!(check("\n \n\r\n", "net.core.somaxconn"), Ok(false));
    assert_eq!(check("", ""), Ok(false));
    assert_eq!(validate("a\n\nb"), Ok(2));
}
