//! The test entry point behind `tests/run` and `.ci/run`.
//!
//! ```text
//! tests/run            everything: unit, end to end, the same tests on the Go plugins and in a virtual machine, fuzz replay
//! tests/run quick      the inner loop: sizes, unit, example and end-to-end tests, no packages
//! tests/run long       all of it, and longer fuzzing
//! tests/run ci         all of it, and format, clippy, documents
//! tests/run conformance DIR   the rules of the specification, asked of any plugins; `conformance --help`. Without DIR
//!                      as a part of everything: ours, and the Go plugins if they are there
//! tests/run bench      the benchmark; `bench --check` holds it to the budgets
//! tests/run vm         the end-to-end tests in a virtual machine; `vm --test bridge`, `vm FILTER` run some of them,
//!                      `vm bench` measures the plugins there
//! --offline            uses no network; what needs it is counted as skipped
//! ```

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, ExitCode};

use picocni_tests::packages::Set;
use picocni_tests::runner::Runner;
use picocni_tests::{conformance, packages, panics, paths, peer, vm};

/// Test files that speak only the CNI protocol, so that they also run against the Go plugins.
const BLACK_BOX: [&str; 24] = [
    "protocol",
    "bad_input",
    "versions",
    "loopback",
    "bridge",
    "bridge_options",
    "bridge_vlan",
    "firewall",
    "firewalld",
    "host_local",
    "host_device",
    "static_ipam",
    "tuning",
    "vrf",
    "bandwidth",
    "bandwidth_traffic",
    "portmap",
    "portmap_iptables",
    "ptp",
    "sbr",
    "tap",
    "links",
    "masquerade",
    "replay",
];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Quick,
    Full,
    Ci,
    Long,
}

fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let offline = words.iter().any(|w| w == "--offline");
    words.retain(|w| w != "--offline");
    let mode = match words.first().map(String::as_str) {
        None => Mode::Full,
        Some("quick") => Mode::Quick,
        Some("ci") => Mode::Ci,
        Some("long") => Mode::Long,
        Some("bench") => return bench(&words[1..], offline),
        Some("vm") => return machine(&words[1..], offline),
        Some("conformance") if words.len() == 1 => return conform_alone(offline),
        Some("conformance") => return conformance::command::main(&words[1..]),
        Some(other) => {
            eprintln!(
                "tests/run: {other}? Known: quick, long, ci, bench, vm, conformance, --offline; nothing for everything"
            );
            return ExitCode::from(2);
        }
    };
    let mut run = Runner::new(offline);
    run.stage("sizes", sizes);
    if mode >= Mode::Ci {
        house_style(&mut run);
    }
    if mode > Mode::Quick {
        run.stage("plugin-profile", plugin_profile);
        run.stage("unstripped", unstripped);
        run.stage("panics", |run| panics::check(&panics::sites(&paths::unstripped_binary()), run.budgets()));
    }
    run.stage("defmt", defmt);
    run.stage("unit", |run| run.command(&paths::root(), &["cargo", "test", "--quiet"], &[]));
    run.stage("example", example);
    run.stage("build", |run| {
        let target = paths::target_of("tests");
        tests(run, &["--no-run", "--quiet"], &[("CARGO_TARGET_DIR", target.as_os_str())])
    });
    if mode > Mode::Quick {
        run.stage("packages", |run| fetch(run, &[Set::Host, Set::Firewalld, Set::Machine]));
    }
    run.stage("end-to-end", |run| {
        let all = ["--no-fail-fast", "--quiet"];
        // Without the file that some read, and without the comparison, which takes a quarter of a minute.
        let skipped = ["--skip", "with_symbols::", "--skip", "picocni_and_the_go_plugins_do_the_same"];
        let quick = [&["--no-fail-fast", "--quiet", "--"][..], &skipped].concat();
        tests(run, if mode > Mode::Quick { &all[..] } else { &quick[..] }, &[])
    });
    if mode > Mode::Quick {
        run.stage("transport", |run| tests(run, &["--quiet", "--features", "netlink-sys", "--test", "embedded"], &[]));
    }
    if mode > Mode::Quick {
        run.stage("peer", on_go_plugins);
        run.stage("conformance", conform);
        run.stage("vm", |run| vm::run(run, &vm::Selection::default()));
        run.stage("fuzz-replay", |run| {
            let target = paths::target_of("fuzz");
            run.command(
                &paths::root().join("fuzz"),
                &["cargo", "test", "--quiet", "-p", "picocni-fuzz-targets"],
                &[("CARGO_TARGET_DIR", target.as_os_str())],
            )
        });
    }
    if mode >= Mode::Ci {
        let seconds = if mode == Mode::Long { 60 } else { 5 };
        run.stage("fuzz", |run| fuzz(run, seconds));
    }
    if run.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Builds the binary and says how large it is, before anything else.
fn sizes(run: &mut Runner) -> Result<(), String> {
    run.command(&paths::root(), &["cargo", "build", "--release", "--quiet"], &[])?;
    let binary = paths::binary();
    let bytes = fs::metadata(&binary).map_err(|e| format!("{}: {e}", binary.display()))?.len();
    let budget = run.budgets().budget("size", "binary_kib");
    #[expect(clippy::cast_precision_loss, reason = "a file size for people")]
    let kib = bytes as f64 / 1024.0;
    println!("picocni: {bytes} bytes, {kib:.1} KiB, {}; one file for {}", budget.tell(kib), peer::PLUGINS.join(", "));
    if budget.allows(kib) { Ok(()) } else { Err(format!("{kib:.1} KiB is over the limit of {} KiB", budget.limit)) }
}

/// The program with every plugin and without the operator's commands, as firmware has it.
fn plugin_profile(run: &mut Runner) -> Result<(), String> {
    let target = paths::target_of("profile");
    let env = [("CARGO_TARGET_DIR", target.as_os_str())];
    let words = ["cargo", "build", "--release", "--quiet", "-p", "picocni", "--no-default-features"];
    run.command(&paths::root(), &words, &env)?;
    let binary = target.join("release/picocni");
    let bytes = fs::metadata(&binary).map_err(|e| format!("{}: {e}", binary.display()))?.len();
    let budget = run.budgets().budget("size", "plugin_profile_kib");
    #[expect(clippy::cast_precision_loss, reason = "a file size for people")]
    let kib = bytes as f64 / 1024.0;
    println!("picocni without operator commands: {bytes} bytes, {kib:.1} KiB, {}", budget.tell(kib));
    if budget.allows(kib) { Ok(()) } else { Err(format!("{kib:.1} KiB is over the limit of {} KiB", budget.limit)) }
}

/// The same program with its symbols and line tables, for the checks that read them.
fn unstripped(run: &mut Runner) -> Result<(), String> {
    let target = paths::target_of("unstripped");
    let env = [
        ("CARGO_PROFILE_RELEASE_STRIP", OsStr::new("false")),
        ("CARGO_PROFILE_RELEASE_DEBUG", OsStr::new("1")),
        ("CARGO_TARGET_DIR", target.as_os_str()),
    ];
    run.command(&paths::root(), &["cargo", "build", "--release", "--quiet", "--bin", "picocni"], &env)
}

/// The core as firmware has it: the feature is never on in the same build as the program.
fn defmt(run: &mut Runner) -> Result<(), String> {
    let target = paths::target_of("defmt");
    let env = [("CARGO_TARGET_DIR", target.as_os_str())];
    run.command(&paths::root(), &["cargo", "check", "--quiet", "-p", "picocni-core", "--features", "defmt"], &env)
}

/// The plugin of an outside author: its own tests, and its programs for the end-to-end tests.
fn example(run: &mut Runner) -> Result<(), String> {
    let (dir, target) = (paths::root().join("plugins/examples"), paths::target_of("examples"));
    let env = [("CARGO_TARGET_DIR", target.as_os_str())];
    run.command(&dir, &["cargo", "test", "--quiet"], &env)?;
    run.command(&dir, &["cargo", "build", "--quiet"], &env)
}

fn house_style(run: &mut Runner) {
    let manifests = ["Cargo.toml", "tests/Cargo.toml", "fuzz/Cargo.toml", "plugins/examples/Cargo.toml"]
        .map(|m| paths::root().join(m));
    run.stage("format", |run| {
        for manifest in &manifests {
            let manifest = manifest.to_string_lossy();
            run.command(
                &paths::root(),
                &["cargo", "fmt", "--all", "--manifest-path", &manifest, "--", "--check", "-l"],
                &[],
            )?;
        }
        Ok(())
    });
    run.stage("clippy", |run| {
        let words = ["cargo", "clippy", "--quiet", "--all-targets", "--", "-D", "warnings"];
        run.command(&paths::root(), &words, &[])?;
        for feature in [["-p", "picocni-linux", "--features=netlink-sys"], ["-p", "picocni-core", "--features=defmt"]] {
            let words = [&["cargo", "clippy", "--quiet"], &feature[..], &["--", "-D", "warnings"]].concat();
            let target = paths::target_of("features");
            run.command(&paths::root(), &words, &[("CARGO_TARGET_DIR", target.as_os_str())])?;
        }
        for (workspace, target) in [("plugins/examples", "examples"), ("tests", "tests")] {
            let target = paths::target_of(target);
            run.command(&paths::root().join(workspace), &words, &[("CARGO_TARGET_DIR", target.as_os_str())])?;
        }
        Ok(())
    });
    run.stage("documents", |run| {
        let env = [("RUSTDOCFLAGS", OsStr::new("-D warnings"))];
        run.command(&paths::root(), &["cargo", "doc", "--quiet", "--no-deps"], &env)
    });
}

/// cargo test in the workspace of the tests, with paths set for what they look for.
fn tests(run: &mut Runner, words: &[&str], env: &[(&str, &OsStr)]) -> Result<(), String> {
    let mut command = vec!["cargo", "test"];
    command.extend(words);
    let (binary, target, own) = (paths::binary(), paths::target(), paths::target_of("tests"));
    let own = format!("--target-dir={}", own.display());
    // The options of cargo come before those of the tests.
    command.insert(2, &own);
    let mut all = vec![("PICOCNI_BIN", binary.as_os_str()), ("PICOCNI_TARGET", target.as_os_str())];
    all.extend(env.iter().filter(|(key, _)| *key != "CARGO_TARGET_DIR"));
    run.command(&paths::root().join("tests"), &command, &all)
}

fn fetch(run: &mut Runner, sets: &[Set]) -> Result<(), String> {
    if run.offline() && !sets.iter().all(|set| packages::are_here(*set)) {
        println!("offline: Debian packages are not fetched");
        return Ok(());
    }
    packages::fetch(sets)
}

/// The black-box tests on the Go plugins: this is what shows that they ask for what clients rely on.
fn on_go_plugins(run: &mut Runner) -> Result<(), String> {
    let mut words: Vec<String> = Vec::new();
    for name in BLACK_BOX {
        if paths::root().join(format!("tests/tests/{name}.rs")).is_file() {
            words.extend(["--test".to_owned(), name.to_owned()]);
        }
    }
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some(go) = peer::Peer::go() else {
        let own = format!("--target-dir={}", paths::target_of("tests").display());
        words.extend(["--", "--list", "--format=terse"]);
        let mut list = Command::new("cargo");
        list.args(["test", "--quiet", &own]).args(&words).current_dir(paths::root().join("tests"));
        let output = list.output().map_err(|e| format!("cargo: {e}"))?;
        let count = String::from_utf8_lossy(&output.stdout).lines().filter(|l| l.ends_with(": test")).count();
        run.skip(count, "the Go plugins have not been fetched (--offline)");
        return Ok(());
    };
    println!("{}", go.version());
    words.extend(["--no-fail-fast", "--quiet"]);
    tests(run, &words, &[("PICOCNI_PEER", OsStr::new("go"))])
}

/// The rules of the specification: none fails for ours, exactly the listed ones fail for the Go plugins.
fn conform(run: &mut Runner) -> Result<(), String> {
    let rules = conformance::rules();
    let ask = |peer: &peer::Peer, name: &str| {
        let report = conformance::run(peer, &peer.names(), &rules);
        let conformance::Counts { passed, failed, not_applicable } = report.counts(None);
        println!("{name}: {passed} passed, {failed} failed, {not_applicable} not applicable");
        let file = paths::target().join(format!("conformance-{name}.xml"));
        fs::write(&file, report.junit()).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok::<_, String>(report)
    };
    let ours = ask(&peer::Peer::picocni(), "picocni")?;
    if !ours.failures().is_empty() {
        return Err(ours.table());
    }
    let Some(peer::Peer::Go { dir }) = peer::Peer::go() else {
        run.skip(rules.len(), "the Go plugins have not been fetched (--offline)");
        return Ok(());
    };
    let list = paths::root().join("tests/conformance-go.toml");
    let listed = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    // All of theirs, not only those that ours has too.
    let go = ask(&peer::Peer::Directory { dir }, "go")?;
    conformance::expected::compare(&go, &listed).map(|_| ()).map_err(|e| format!("{e}\n{}", go.table()))
}

/// Every fuzz target for a few seconds, instrumented by the stable compiler.
fn fuzz(run: &mut Runner, seconds: u32) -> Result<(), String> {
    let dir = paths::root().join("fuzz");
    let target = paths::target_of("fuzz");
    let flags = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                 -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
    let env = [("RUSTFLAGS", OsStr::new(flags)), ("CARGO_TARGET_DIR", target.as_os_str())];
    // With --target the flags do not reach build scripts and procedural macros, which have no fuzzer to link to.
    let triple = "x86_64-unknown-linux-gnu";
    run.command(&dir, &["cargo", "build", "--release", "--quiet", "--bins", "--target", triple], &env)?;
    let time = format!("-max_total_time={seconds}");
    // A smoke run starts the same way every time, so that it judges the change; the long one looks elsewhere each time.
    let seed = if seconds < 60 { "-seed=1" } else { "-seed=0" };
    let mut names: Vec<String> = fs::read_dir(dir.join("fuzz_targets"))
        .map_err(|e| e.to_string())?
        .filter_map(|e| e.ok()?.path().file_stem().map(|s| s.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    for name in names {
        // New inputs go to the first directory, outside the repository; seeds are read from the second.
        let (found, seeds) = (target.join("found").join(&name), dir.join("corpus").join(&name));
        fs::create_dir_all(&found).map_err(|e| e.to_string())?;
        let program = target.join(triple).join("release").join(&name);
        let mut fuzzer = Command::new(program);
        fuzzer
            .arg(&time)
            .arg(seed)
            .arg("-close_fd_mask=3")
            .arg("-print_final_stats=1")
            .arg(&found)
            .current_dir(&target);
        if seeds.is_dir() {
            fuzzer.arg(&seeds);
        }
        let output = fuzzer.output().map_err(|e| format!("{name}: {e}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let executed = said.lines().find_map(|l| l.strip_prefix("stat::number_of_executed_units: ")).unwrap_or("?");
        println!("fuzz {name}: {} inputs in {seconds} s", executed.trim());
        if !output.status.success() {
            let tail: Vec<&str> = said.lines().rev().take(30).collect();
            return Err(format!("{name} found something:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n")));
        }
    }
    Ok(())
}

fn conform_alone(offline: bool) -> ExitCode {
    let mut run = Runner::new(offline);
    run.stage("sizes", sizes);
    run.stage("conformance", conform);
    if run.all_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn bench(words: &[String], offline: bool) -> ExitCode {
    let mut run = Runner::new(offline);
    run.stage("sizes", sizes);
    run.stage("packages", |run| fetch(run, &[Set::Host]));
    run.stage("bench", |run| {
        let own = format!("--target-dir={}", paths::target_of("tests").display());
        let mut command = vec!["cargo", "run", "--release", "--quiet", &own, "--bin", "bench", "--"];
        command.extend(words.iter().map(String::as_str));
        let (binary, target) = (paths::binary(), paths::target());
        let env = [("PICOCNI_BIN", binary.as_os_str()), ("PICOCNI_TARGET", target.as_os_str())];
        run.command(&paths::root().join("tests"), &command, &env)
    });
    // The table is the result; there are no tests to sum up.
    if run.all_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The guest alone. `--test FILE` names test files, all other words go to the test programs.
fn machine(words: &[String], offline: bool) -> ExitCode {
    let mut selection = vm::Selection::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--test" => selection.files.extend(words.next().cloned()),
            "bench" => {
                selection.bench = true;
                selection.arguments.extend(["--plugins", "--runs", "15"].map(str::to_owned));
            }
            _ => selection.arguments.push(word.clone()),
        }
    }
    let mut run = Runner::new(offline);
    run.stage("sizes", sizes);
    if !selection.bench {
        run.stage("build", |run| vm::programs::build(run.offline(), &selection.files).map(drop));
    }
    run.stage("packages", |run| fetch(run, &[Set::Host, Set::Machine]));
    run.stage("vm", |run| vm::run(run, &selection));
    if run.finish() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
