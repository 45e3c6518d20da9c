//! The conformance rules find what is wrong: plugins that are broken in one way each fail the rule that is about it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use picocni_tests::conformance::{self, Rule};
use picocni_tests::paths;
use picocni_tests::peer::Peer;

/// What is wrong, the plugin, what a shell does in place of some calls, and rules that fail.
const BROKEN: [(&str, &str, &str, &[&str]); 9] = [
    ("del-does-nothing", "bridge", "[ $CNI_COMMAND != DEL ] || exit 0", &["leaks.add-del", "del.netns-gone"]),
    ("check-does-nothing", "bridge", "[ $CNI_COMMAND != CHECK ] || exit 0", &["check.damage", "check.lease-removed"]),
    ("gc-does-nothing", "host-local", "[ $CNI_COMMAND != GC ] || exit 0", &["gc.removes-stale-leases"]),
    ("add-talks", "bridge", "[ $CNI_COMMAND != ADD ] || echo hello", &["result.shape-1.1.0", "error.shape"]),
    ("add-is-empty", "tuning", "[ $CNI_COMMAND != ADD ] || { echo {}; exit 0; }", &["chained.passes-the-result-on"]),
    (
        "errors-are-plain",
        "ptp",
        "[ -n \"$CNI_CONTAINERID\" ] || { echo no; exit 1; }",
        &["environment.add-without-CNI_CONTAINERID"],
    ),
    ("killed", "loopback", "[ $CNI_COMMAND != DEL ] || kill -9 $$", &["del.twice", "del.empty-netns"]),
    ("always-well", "macvlan", "exit 0", &["version.lists-versions", "stdin.not-json", "error.cni-version"]),
    ("unknown", "somebodys", "exit 0", &["environment.unknown-command", "version.says-its-own"]),
];

/// A directory with a broken plugin, and with the others as they are.
fn directory(name: &str, plugin: &str, shell: &str) -> PathBuf {
    let dir = paths::target_of("tests").join("broken").join(name);
    let _ = fs::remove_dir_all(&dir);
    let sound = dir.join("sound");
    fs::create_dir_all(&sound).expect("the target directory can be written");
    Peer::picocni().link_into(&sound);
    symlink(paths::binary(), dir.join("host-local")).expect("a link");
    let script = dir.join(plugin);
    let _ = fs::remove_file(&script);
    fs::write(&script, format!("#!/bin/sh\n{shell}\nexec {}\n", sound.join(plugin).display())).expect("a script");
    fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("an executable script");
    dir
}

fn rules_named(names: &[&str]) -> Vec<Rule> {
    conformance::rules().into_iter().filter(|rule| names.contains(&rule.name.as_str())).collect()
}

#[test]
fn each_broken_plugin_fails_the_rule_about_it() {
    for (name, plugin, shell, rules) in BROKEN {
        let dir = directory(name, plugin, shell);
        let asked = rules_named(rules);
        assert_eq!(asked.len(), rules.len(), "{name}: a rule of {rules:?} is missing");
        let report = conformance::run(&Peer::Directory { dir }, &[plugin.to_owned()], &asked);
        let mut failed: Vec<&str> = report.failures().iter().map(|(_, rule, _)| *rule).collect();
        let mut wanted = rules.to_vec();
        failed.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(failed, wanted, "{name}:\n{}", report.table());
    }
}

#[test]
fn a_directory_has_its_programs_and_not_what_they_are_links_to() {
    let dir = paths::target_of("tests").join("directory");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(dir.join("sub")).expect("the target directory can be written");
    let file = |name: &str, mode: u32| {
        fs::write(dir.join(name), "").expect("a file");
        fs::set_permissions(dir.join(name), PermissionsExt::from_mode(mode)).expect("permissions");
    };
    file("many", 0o755);
    file("alone", 0o755);
    file("README", 0o644);
    symlink(Path::new("many"), dir.join("bridge")).expect("a link");
    assert_eq!(Peer::Directory { dir }.names(), ["alone", "bridge"]);
}

#[test]
fn rules_have_names_of_their_own() {
    let rules = conformance::rules();
    let mut names: Vec<&str> = rules.iter().map(|r| r.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rules.len());
}
