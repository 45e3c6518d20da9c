//! What the backend does by iptables' programs, in both flavours of them.

use std::ffi::CString;

use picocni_core::backend::Backend;
use picocni_core::error::Code;
use picocni_core::iptables::{Comment, Lines, Script};
use picocni_core::op::{Change, Removal};
use picocni_linux::host::{Linux, Memory};
use picocni_linux::sys::{Environ, Pointers};
use picocni_tests::iptables::{FLAVOURS, Flavour};
use picocni_tests::{sandbox, skip};

const TABLE: &str = "filter";

/// The environment of a process with this PATH.
fn environ(path: &str) -> Environ {
    let variable: &'static CString = Box::leak(Box::new(CString::new(format!("PATH={path}")).expect("no NUL")));
    let list = Box::leak(Box::new(Pointers::<'static, 4>::new()));
    list.push(variable).expect("room");
    Environ::of(list)
}

/// Runs `body` with a backend that finds one flavour in PATH, for each flavour and family.
fn with_each(body: impl Fn(&mut Linux<'_>, Flavour, bool) + Sync) {
    sandbox::run(|_| {
        for flavour in FLAVOURS {
            if !flavour.works() {
                skip!("no {flavour:?} iptables");
            }
            for v6 in [false, true] {
                let mut memory = Box::new(Memory::new());
                body(&mut Linux::new(&mut memory, environ(&flavour.path())), flavour, v6);
            }
        }
    });
}

/// Whether the change has an inverse, or why it failed.
fn apply(linux: &mut Linux<'_>, change: Change<'_>) -> Result<bool, (Code, String)> {
    let mut said = None;
    linux.apply(&[change], &mut |_, outcome| {
        said = Some(outcome.map(|inverse| inverse.is_some()).map_err(|e| (e.code(), e.details().to_string())));
    });
    said.expect("a report")
}

fn remove(linux: &mut Linux<'_>, removal: Removal<'_>) {
    linux.remove(&[removal], &mut |_, outcome| outcome.expect("it is removed"));
}

/// What the backend sees, as [`Flavour::saved`] gives it.
fn seen(linux: &mut Linux<'_>, v6: bool) -> Vec<String> {
    let mut lines = Vec::new();
    linux
        .iptables_rules(v6, TABLE, &mut |line| {
            if line.starts_with(':') || line.starts_with("-A") {
                let plain = if line.starts_with(':') { line.split(" [").next() } else { None };
                lines.push(plain.unwrap_or(line).to_owned());
            }
        })
        .expect("iptables-save");
    lines
}

#[test]
fn a_chain_is_made_twice_and_goes_with_every_jump_to_it() {
    with_each(|linux, flavour, v6| {
        flavour.run(v6, &["-A", "FORWARD", "-m", "comment", "--comment", "a \"guest\" -j OWN", "-j", "ACCEPT"]);
        let mut shared = Script::new(TABLE);
        shared.shared_chain("SHARED");
        shared.append("FORWARD", &"-j SHARED");
        let ensure = Change::EnsureIptables { v6, text: shared.finish().expect("it fits") };
        assert_eq!(apply(linux, ensure), Ok(false), "shared: nothing to undo");
        let before = flavour.saved(v6, TABLE);
        let comment = Comment(r#"name: "a.b" id: "it's \1""#);
        for round in 0..2 {
            let mut own = Script::new(TABLE);
            own.own_chain("OWN");
            own.append("OWN", &comment);
            if round == 0 {
                own.append("SHARED", &"-j OWN");
                own.insert("SHARED", &"-p udp -g OWN");
            }
            let change = Change::Iptables { v6, table: TABLE, chain: "OWN", text: own.finish().expect("it fits") };
            assert_eq!(apply(linux, change), Ok(true));
        }
        let now = seen(linux, v6);
        assert_eq!(now, flavour.saved(v6, TABLE));
        let own: Vec<&String> = now.iter().filter(|line| !before.contains(line)).collect();
        let quoted = r#"-A OWN -m comment --comment "name: \"a.b\" id: \"it\'s \\1\"""#;
        assert_eq!(own, [":OWN -", quoted, "-A SHARED -p udp -g OWN", "-A SHARED -j OWN"], "{flavour:?}");
        for _ in 0..2 {
            remove(linux, Removal::IptablesChain { v6, table: TABLE, chain: "OWN" });
            assert_eq!(flavour.saved(v6, TABLE), before, "{flavour:?}");
        }
    });
}

#[test]
fn rules_among_others_are_added_and_removed_alone() {
    with_each(|linux, flavour, v6| {
        flavour.run(v6, &["-A", "FORWARD", "-j", "ACCEPT"]);
        let before = flavour.saved(v6, TABLE);
        let ip = if v6 { "2001:db8::2/128" } else { "10.1.2.3/32" };
        let rules = [
            format!("FORWARD -d {ip} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"),
            format!("FORWARD -s {ip} -j ACCEPT"),
        ];
        let mut lines = Lines::new();
        lines.push_str(&rules.join("\n")).expect("they fit");
        let change = Change::IptablesRules { v6, table: TABLE, rules: &lines };
        let removal = Removal::IptablesRules { v6, table: TABLE, rules: &lines };
        for half_gone in [false, true] {
            assert_eq!(apply(linux, change), Ok(true));
            let after = flavour.saved(v6, TABLE);
            let wanted: Vec<String> = rules.iter().map(|rule| format!("-A {rule}")).collect();
            assert!(after.ends_with(&wanted), "{flavour:?}: the spelling is that of iptables-save: {after:?}");
            if half_gone {
                flavour.run(v6, &["-D", "FORWARD", "-s", ip, "-j", "ACCEPT"]);
            }
            for _ in 0..2 {
                remove(linux, removal);
                assert_eq!(flavour.saved(v6, TABLE), before, "{flavour:?}");
            }
        }
    });
}

#[test]
fn what_is_refused_changes_nothing_and_is_told() {
    with_each(|linux, flavour, v6| {
        flavour.run(v6, &["-N", "THERE"]);
        flavour.run(v6, &["-A", "THERE", "-j", "ACCEPT"]);
        let before = flavour.saved(v6, TABLE);
        let refusal = |linux: &mut Linux<'_>, write: &dyn Fn(&mut Script)| {
            let mut script = Script::new(TABLE);
            script.own_chain("OWN");
            write(&mut script);
            let text = script.finish().expect("it fits");
            apply(linux, Change::Iptables { v6, table: TABLE, chain: "OWN", text }).expect_err("it is refused")
        };
        for (code, said) in [
            refusal(linux, &|script| script.append("OWN", &"-j NOWHERE")),
            refusal(linux, &|script| script.append("OWN", &"--no-such-option")),
            // A shared chain that somebody made meanwhile keeps its rules.
            refusal(linux, &|script| script.shared_chain("THERE")),
        ] {
            assert_eq!(code, Code::KERNEL);
            assert!(said.contains("restore"), "{said}");
            assert_eq!(flavour.saved(v6, TABLE), before, "{flavour:?}");
        }
    });
}

#[test]
fn a_line_beyond_all_measure_is_left_out_and_the_rest_is_seen() {
    with_each(|linux, flavour, v6| {
        // 250 rules are several reads of the pipe.
        for chain in 0..5 {
            flavour.run(v6, &["-N", &format!("C{chain}")]);
        }
        let mut script = Script::new(TABLE);
        for number in 0..250 {
            let (chain, comment) = (format!("C{}", number % 5), format!("{number:0>200}"));
            script.append(&chain, &Comment(&comment));
        }
        let text = script.finish().expect("it fits");
        assert_eq!(apply(linux, Change::EnsureIptables { v6, text }), Ok(false));
        assert_eq!(seen(linux, v6), flavour.saved(v6, TABLE));
    });
}

#[test]
fn without_iptables_the_error_says_what_to_do() {
    sandbox::run(|_| {
        sandbox::hide("/usr/sbin");
        sandbox::hide("/usr/local/sbin");
        let mut memory = Box::new(Memory::new());
        let mut linux = Linux::new(&mut memory, environ("/nowhere"));
        let error = linux.iptables_rules(false, TABLE, &mut |_| {}).expect_err("there is no program");
        assert_eq!((error.code(), error.msg()), (Code::NOT_AVAILABLE, "iptables is not installed"));
        let change = Change::Iptables { v6: true, table: TABLE, chain: "OWN", text: "*filter\nCOMMIT\n" };
        let (code, said) = apply(&mut linux, change).expect_err("there is no program");
        assert_eq!(code, Code::NOT_AVAILABLE);
        assert!(said.contains("ip6tables-restore") && said.contains("install"), "{said}");
    });
}
