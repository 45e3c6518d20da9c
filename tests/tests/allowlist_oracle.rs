//! The allowlist's expressions against the `regex` crate: what we accept must
//! mean the same, on every text; what we refuse must never allow.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "tests")]

use picocni_core::allowlist::{Program, check, validate};
use proptest::prelude::*;
use regex::Regex;

/// Patterns out of the understood syntax. Some are too large for us: those may
/// be refused, but few (`accepted_share` counts).
fn pattern() -> impl Strategy<Value = String> {
    // Anchored ones as well: without anchors a wrong count rarely shows.
    (loose_pattern(), any::<bool>()).prop_map(|(p, anchored)| if anchored { format!("^(?:{p})$") } else { p })
}

fn loose_pattern() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        6 => "[a-e0-2._/-]".prop_map(|c| if c == "." { "\\.".to_owned() } else { c }),
        2 => Just(".".to_owned()),
        1 => prop::sample::select(vec!["^", "$", "\\b", "\\B", "\\A", "\\z"]).prop_map(str::to_owned),
        2 => prop::sample::select(vec!["\\d", "\\D", "\\w", "\\W", "\\S", "\\x61", "\\.", "\\-", "\\t"])
            .prop_map(str::to_owned),
        3 => class(),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            3 => prop::collection::vec(inner.clone(), 1..5).prop_map(|v| v.concat()),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|v| format!("({})", v.join("|"))),
            1 => prop::collection::vec(inner.clone(), 2..4).prop_map(|v| v.join("|")),
            2 => (inner.clone(), repetition()).prop_map(|(p, r)| format!("(?:{p}){r}")),
            2 => ("[a-c]|\\.|\\\\d|\\[b-d\\]", repetition()).prop_map(|(p, r)| format!("{p}{r}")),
            1 => inner.prop_map(|p| format!("(|{p})")),
        ]
    })
}

fn repetition() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["*", "+", "?", "*?", "+?", "??"]).prop_map(str::to_owned),
        (0u8..4).prop_map(|m| format!("{{{m}}}")),
        (0u8..4).prop_map(|m| format!("{{{m},}}")),
        (0u8..3, 0u8..4).prop_map(|(m, d)| format!("{{{m},{}}}", m + d)),
    ]
}

fn class() -> impl Strategy<Value = String> {
    let item = prop_oneof![
        "[a-d0-2_./]",
        prop::sample::select(vec![
            "a-c",
            "0-9",
            "b-b",
            "\\d",
            "\\w",
            "\\.",
            "\\]",
            "\\\\",
            "\\-",
            "[:alpha:]",
            "[:digit:]",
            "[:^lower:]",
            "[:punct:]",
            "[:xdigit:]",
            "[:graph:]",
            "[:upper:]",
        ])
        .prop_map(str::to_owned),
    ];
    let edge = prop::sample::select(vec!["", "", "-", "]"]);
    let end = prop::sample::select(vec!["", "", "-"]);
    (any::<bool>(), edge, prop::collection::vec(item, 1..4), end).prop_filter_map(
        "a doubled hyphen is refused on purpose",
        |(negated, edge, items, end)| {
            let body = format!("{edge}{}{end}", items.concat());
            let negation = if negated { "^" } else { "" };
            (!body.contains("--")).then(|| format!("[{negation}{body}]"))
        },
    )
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-e0-2._/-]{0,12}",
        4 => "[a-c]{0,7}",
        // All of ASCII but the vertical tab: Go's \\s has it not, `regex` has.
        1 => "[\\x00-\\x0a\\x0c-\\x7f]{0,8}",
    ]
}

/// `None` if we refuse the pattern.
fn ours(pattern: &str, text: &str) -> Option<bool> {
    Program::<512>::compile(pattern).ok().map(|program| program.is_match(text))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn what_we_accept_means_the_same(
        pattern in pattern(), texts in prop::collection::vec(text(), 1..12),
    ) {
        let oracle = Regex::new(&pattern).expect("the generator keeps to valid patterns");
        if let Ok(program) = Program::<512>::compile(&pattern) {
            for text in &texts {
                prop_assert_eq!(program.is_match(text), oracle.is_match(text), "{:?} on {:?}", &pattern, text);
            }
        }
    }

    /// Arbitrary bytes of syntax: no panic, and if both accept, both agree.
    #[test]
    fn arbitrary_syntax(pattern in "[ab.0-2(){}|*+?^$,:\\[\\]\\\\wdsbz-]{0,16}", text in text()) {
        if let (Some(hit), Ok(oracle)) = (ours(&pattern, &text), Regex::new(&pattern)) {
            prop_assert_eq!(hit, oracle.is_match(&text), "{:?} on {:?}", &pattern, &text);
        }
    }

    #[test]
    fn any_unicode_is_survived(pattern in "\\PC{0,12}", text in "\\PC{0,12}") {
        let hit = ours(&pattern, &text);
        if !pattern.is_ascii() {
            prop_assert_eq!(hit, None);
        }
    }

    /// Characters outside ASCII in the text count as one character each.
    #[test]
    fn text_outside_ascii(text in "[aé漢b]{0,6}") {
        for pattern in ["^.{3}$", "^[^a]+$", "^a.b$", "b$", "^[^a-z]{2}", "^(a|.)*$"] {
            let oracle = Regex::new(pattern).unwrap();
            prop_assert_eq!(ours(pattern, &text), Some(oracle.is_match(&text)), "{}", pattern);
        }
    }
}

#[test]
fn accepted_share() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let accepted = (0..2000)
        .filter(|_| {
            let pattern = pattern().new_tree(&mut runner).unwrap().current();
            Program::<512>::compile(&pattern).is_ok()
        })
        .count();
    // Otherwise the comparison above would compare little.
    assert!(accepted > 1900, "only {accepted} of 2000 accepted");
}

#[test]
fn lines_in_use_agree_on_real_keys() {
    let lines = [
        "^net\\.ipv4\\.conf\\.[a-z]+$",
        "^net.core.somaxconn$",
        "^net\\.(ipv4|ipv6)\\.conf\\.(all|default|IFNAME|eth[0-9]{1,3})\\.[a-z_]+$",
        "net.ipv4",
        "^net\\.ipv4\\.tcp_(keepalive_(time|intvl|probes)|fin_timeout)$",
        "^net/ipv4/.*",
        "^net\\.[^.]+\\.[\\w-]+$",
    ];
    let keys = [
        "net.ipv4.conf.all",
        "net.ipv4.conf.eth0",
        "net.core.somaxconn",
        "netXcoreXsomaxconn",
        "net.core.somaxconn2",
        "xnet.core.somaxconn",
        "net.ipv6.conf.eth12.accept_ra",
        "net.ipv6.conf.eth1234.accept_ra",
        "net.ipv4.conf.IFNAME.arp_filter",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_keepalive",
        "net/ipv4/ip_forward",
        "net.core.some-thing",
        "kernel.hostname",
        "",
    ];
    for line in lines {
        let oracle = Regex::new(line).unwrap();
        for key in keys {
            assert_eq!(ours(line, key), Some(oracle.is_match(key)), "{line} on {key}");
            assert_eq!(check(line, key), Ok(oracle.is_match(key)));
        }
    }
    assert_eq!(validate(&lines.join("\n")), Ok(lines.len()));
}

#[test]
fn time_grows_linearly_where_backtracking_explodes() {
    let program = Program::<512>::compile("^(a+)+(a|a)*(a?){30}b$").unwrap();
    let text = "a".repeat(20_000);
    let start = std::time::Instant::now();
    assert!(!program.is_match(&text));
    // Seconds of slack: an exponential search would not end at all.
    assert!(start.elapsed().as_secs() < 10);
}
