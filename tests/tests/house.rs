//! The house rules that a machine can check: what lies at the root, how thin the backend is, where unsafe code may be,
//! and that every row of the parity table that is called done names a test that exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use picocni_tests::budgets::Budgets;
use picocni_tests::paths;

/// Number of capabilities of the Go reference plugins that were written down, one row each.
const ROWS: usize = 169;

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The source files below `dir` that are no unit tests: those lie in modules declared under `#[cfg(test)]`.
fn product_files(dir: &Path) -> Vec<PathBuf> {
    let files = rust_files(dir);
    let mut for_tests: Vec<PathBuf> = Vec::new();
    for file in &files {
        // Modules of lib.rs, main.rs and mod.rs lie beside it, those of another file in a directory of its name.
        let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        let parent =
            if matches!(stem, "lib" | "main" | "mod") { file.with_file_name("") } else { file.with_extension("") };
        let text = read(file);
        let mut lines = text.lines().map(str::trim);
        while let Some(line) = lines.next() {
            let marked = line == "#[cfg(test)]" || line.starts_with("#[cfg(all(test,");
            if !marked {
                continue;
            }
            let declared = lines.find(|l| !l.starts_with("#[")).unwrap_or_default();
            let words = declared.trim_start_matches("pub(crate) ").trim_start_matches("pub ");
            if let Some(name) = words.strip_prefix("mod ").and_then(|w| w.strip_suffix(';')) {
                for_tests.push(parent.join(name));
            }
        }
    }
    files.into_iter().filter(|f| !for_tests.iter().any(|t| f.starts_with(t) || *f == t.with_extension("rs"))).collect()
}

/// The lines of a source file that are no unit tests: they stand last, as this repository writes them.
fn without_tests(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = Vec::new();
    let mut all = text.lines().peekable();
    while let Some(line) = all.next() {
        if line == "#[cfg(test)]" {
            let body = all.find(|l| !l.starts_with("#[")).unwrap_or_default();
            // A module in a file of its own ends on its line; one in braces ends at the closing one.
            if body.ends_with('{') {
                for line in all.by_ref() {
                    if line == "}" {
                        break;
                    }
                }
            }
            continue;
        }
        lines.push(line);
    }
    lines
}

#[test]
fn only_what_belongs_there_is_at_the_root() {
    let allowed: BTreeSet<&str> = [
        "Cargo.toml",
        "Cargo.lock",
        "core",
        "linux-backend",
        "plugins",
        "fuzz",
        "tests",
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    ]
    .into();
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(paths::root())
        .output()
        .expect("git can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).expect("UTF-8 names");
    let visible: BTreeSet<&str> =
        listed.lines().filter_map(|l| l.split('/').next()).filter(|n| !n.starts_with('.')).collect();
    assert!(visible.contains("core") && visible.contains("tests"), "{visible:?}");
    let others: Vec<&&str> = visible.difference(&allowed).collect();
    assert!(others.is_empty(), "also at the root: {others:?}");
}

#[test]
fn the_backend_is_thin() {
    let budgets = Budgets::read();
    let src = paths::root().join("linux-backend/src");
    let (mut lines, mut code) = (0, 0);
    for file in product_files(&src) {
        let relative = file.strip_prefix(&src).expect("below src");
        if relative.starts_with("wire") {
            continue;
        }
        let text = read(&file);
        let counted = without_tests(&text);
        lines += counted.len();
        code += counted.iter().filter(|l| !l.trim().is_empty() && !l.trim_start().starts_with("//")).count();
    }
    println!("linux-backend without wire/ and tests: {lines} lines, {code} of them code");
    #[expect(clippy::cast_precision_loss, reason = "a count of lines")]
    let counted = lines as f64;
    let budget = budgets.budget("backend", "lines");
    println!("{}", budget.tell(counted));
    assert!(budget.allows(counted), "{lines} lines, {}", budget.tell(counted));
}

/// What the framework costs the author of the smallest plugin.
#[test]
fn loopback_has_sixty_lines() {
    let lines = read(&paths::root().join("plugins/src/loopback.rs")).lines().count();
    assert!(lines <= 60, "{lines} lines");
}

/// Types of the core that firmware cannot log, with the reason.
const WITHOUT_FORMAT: [&str; 3] = [
    "Session",      // holds a backend, which is the caller's
    "Chain",        // as Session
    "FaultBackend", // as Session
];

#[test]
fn every_public_type_of_the_core_can_be_logged_by_firmware() {
    let src = paths::root().join("core/src");
    let mut missing = Vec::new();
    // The model of a host is for tests on a workstation; what is on the wire or inside a parser's call never leaves it.
    for file in product_files(&src).into_iter().filter(|f| !f.starts_with(src.join("sim")) && !f.ends_with("wire.rs")) {
        let text = read(&file);
        let mut attributes = String::new();
        for line in without_tests(&text) {
            let declared = ["pub struct ", "pub enum "].iter().find_map(|word| line.strip_prefix(word));
            if let Some(rest) = declared {
                let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
                let by_hand = text.lines().any(|l| l.contains("defmt::Format for ") && l.contains(name));
                if !attributes.contains("defmt::Format") && !by_hand && !WITHOUT_FORMAT.contains(&name) {
                    missing.push(format!("{}: {name}", file.strip_prefix(&src).expect("below src").display()));
                }
            }
            // What stands above a declaration belongs to it, up to the line that ends the item before.
            let above = line.starts_with("#[") || line.starts_with("///");
            if above { attributes.push_str(line) } else { attributes.clear() }
        }
    }
    assert!(missing.is_empty(), "without defmt::Format:\n{}", missing.join("\n"));
}

#[test]
fn unsafe_code_is_in_few_files_and_never_in_a_codec() {
    let budgets = Budgets::read();
    let root = paths::root();
    let has_unsafe = |file: &PathBuf| {
        let text = read(file);
        let code = text
            .lines()
            .filter_map(|l| l.split("//").next())
            .any(|l| l.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe"));
        code.then(|| file.strip_prefix(&root).expect("below the root").display().to_string())
    };
    let unsafe_in = |dir: &str| rust_files(&root.join(dir)).iter().filter_map(has_unsafe).collect::<Vec<String>>();
    assert_eq!(unsafe_in("core/src"), [""; 0]);
    assert!(
        read(&root.join("core/src/lib.rs")).contains("#![forbid(unsafe_code)]"),
        "core does not forbid unsafe code"
    );
    assert_eq!(unsafe_in("linux-backend/src/wire"), [""; 0]);
    let files = unsafe_in("linux-backend/src");
    println!("unsafe code in {files:?}");
    #[expect(clippy::cast_precision_loss, reason = "a count of files")]
    let count = files.len() as f64;
    assert!(count <= budgets.get("backend", "unsafe_files"), "{files:?}");
}

#[test]
fn core_and_backend_neither_use_std_nor_allocate() {
    for dir in ["core/src", "linux-backend/src", "plugins/src"] {
        let src = paths::root().join(dir);
        // For programs that have std themselves; features that picocni never has on.
        let with_std =
            |file: &PathBuf| ["transport/netlink_sys.rs", "program/with_std.rs"].iter().any(|f| file.ends_with(f));
        for file in product_files(&src).into_iter().filter(|f| !with_std(f)) {
            let text = read(&file);
            for line in without_tests(&text) {
                let line = line.trim_start();
                let bad = ["extern crate std", "extern crate alloc", "use std::", "use alloc::"]
                    .iter()
                    .find(|b| line.starts_with(**b));
                assert_eq!(bad, None, "{}: {line}", file.display());
            }
        }
    }
    for lib in ["core/src/lib.rs", "linux-backend/src/lib.rs"] {
        assert!(read(&paths::root().join(lib)).contains("#![no_std]"), "{lib} is not no_std");
    }
}

#[test]
fn names_say_what_is_inside() {
    let empty_words = ["util", "utils", "helper", "helpers", "common", "manager", "misc"];
    for dir in ["core", "linux-backend", "plugins", "tests/src", "tests/tests", "fuzz/targets"] {
        for file in rust_files(&paths::root().join(dir)) {
            let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
            assert!(!empty_words.contains(&stem), "{} says nothing", file.display());
        }
    }
}

struct Row {
    number: usize,
    status: String,
    tests: Vec<String>,
}

fn parity() -> Vec<Row> {
    let path = paths::root().join("tests/parity.tsv");
    read(&path)
        .lines()
        .filter(|l| !l.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [number, _group, _capability, status, tests] = fields[..] else { panic!("five fields: {line:?}") };
            let tests = tests.split(", ").filter(|t| !t.is_empty()).map(str::to_owned).collect();
            Row { number: number.parse().expect("a number"), status: status.to_owned(), tests }
        })
        .collect()
}

/// The names of the functions under `#[test]` in a file.
fn tests_in(path: &Path) -> BTreeSet<String> {
    let text = read(path);
    let mut names = BTreeSet::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
            names.insert(rest.split('(').next().unwrap_or_default().to_owned());
            marked = false;
        }
    }
    names
}

#[test]
fn every_done_row_of_the_parity_table_names_a_test() {
    let rows = parity();
    let numbers: Vec<usize> = rows.iter().map(|r| r.number).collect();
    assert_eq!(numbers, (1..=ROWS).collect::<Vec<_>>(), "one row for each number, in order");
    let mut missing = Vec::new();
    for row in &rows {
        let known = row.status == "done" || row.status.strip_prefix("issue-").is_some_and(|n| n.parse::<u32>().is_ok());
        assert!(known, "row {}: status {:?}", row.number, row.status);
        if row.status == "done" && row.tests.is_empty() {
            missing.push(format!("row {} is done without a test", row.number));
        }
        for test in &row.tests {
            let (file, name) =
                test.split_once("::").unwrap_or_else(|| panic!("row {}: {test} is not file::test", row.number));
            // Unit tests live beside the code; those of this directory are named without a path.
            let own = paths::root().join(format!("tests/tests/{file}.rs"));
            let path = if own.is_file() { own } else { paths::root().join(file) };
            if !path.is_file() || !tests_in(&path).contains(name) {
                missing.push(format!("row {}: no test {test}", row.number));
            }
        }
    }
    let done = rows.iter().filter(|r| r.status == "done").count();
    println!("parity: {done} of {ROWS} rows done");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn sources_speak_of_the_project_alone() {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(paths::root())
        .output()
        .expect("git can be run");
    // Spelled in halves, or this very file would be found.
    let words = [concat!("/wo", "rk/"), concat!("/ro", "ot/."), concat!("TO", "DO"), concat!("FIX", "ME")];
    for name in String::from_utf8_lossy(&output.stdout).lines() {
        if name.starts_with("tests/captures/") || name.starts_with("fuzz/corpus/") || name.ends_with(".lock") {
            continue;
        }
        let Ok(text) = fs::read_to_string(paths::root().join(name)) else {
            continue;
        };
        for word in words {
            assert!(!text.contains(word), "{name} contains {word}");
        }
    }
}
