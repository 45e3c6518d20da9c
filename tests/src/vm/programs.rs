//! Which test files run in the guest, and their executables.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::paths;

/// Test files that stay on the host, with the reason. Every other one runs in the guest too, a new one by itself.
const ON_THE_HOST_ONLY: [(&str, &str); 13] = [
    ("allowlist_oracle", "pure code"),
    ("ipam_oracle", "pure code"),
    ("json_oracle", "pure code"),
    // These two start a thousand processes between them, which takes an emulated machine more than a minute.
    ("bad_input", "has configs refused before the kernel is asked for anything"),
    ("versions", "looks at what is printed"),
    ("binary", "reads the program's symbols, traces it and counts its memory"),
    ("bandwidth_traffic", "measures rates that an emulated machine does not reach"),
    ("house", "reads source files"),
    ("firewall", "turns switches of br_netfilter, which is no module of the image"),
    ("iptables", "hides directories of the host's iptables"),
    ("portmap_iptables", "executes iptables a thousand times"),
    ("takeover", "runs the Go plugins with tools that the image has in other places"),
    ("example", "runs programs of another crate, which are not in the image"),
];

/// A test program.
#[derive(Debug, Clone)]
pub struct Program {
    /// The name of its source file.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
}

impl Program {
    /// How many tests it has.
    pub fn tests(&self) -> usize {
        let listed = Command::new(&self.path).args(["--list", "--format=terse"]).output();
        let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        listed.lines().filter(|line| line.ends_with(": test")).count()
    }
}

/// Builds the test programs of these files; of all that belong in the guest if none is named.
///
/// # Errors
/// When cargo fails, or when a name is none of a test file.
pub fn build(offline: bool, files: &[String]) -> Result<Vec<Program>, String> {
    let known = test_files()?;
    if let Some(unknown) = files.iter().find(|file| !known.contains(file)) {
        return Err(format!("no test file {unknown}; there are {}", known.join(", ")));
    }
    let wanted = |name: &String| match files {
        [] => !ON_THE_HOST_ONLY.iter().any(|(other, _)| name == other),
        files => files.contains(name),
    };
    let own = format!("--target-dir={}", paths::target_of("tests").display());
    let mut cargo = Command::new("cargo");
    cargo.args(["test", &own, "--no-run", "--quiet", "--message-format=json"]);
    for name in known.iter().filter(|name| wanted(name)) {
        cargo.args(["--test", name]);
    }
    if offline {
        cargo.arg("--offline");
    }
    let output = cargo.current_dir(paths::root().join("tests")).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|e| format!("cargo: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo ended with {}", output.status));
    }
    let mut programs: Vec<Program> = String::from_utf8_lossy(&output.stdout).lines().filter_map(executable).collect();
    programs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(programs)
}

/// Builds the benchmark.
///
/// # Errors
/// When cargo fails.
pub fn bench(offline: bool) -> Result<Program, String> {
    let target = paths::target_of("tests");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--quiet", "--bin", "bench"]).arg("--target-dir").arg(&target);
    if offline {
        cargo.arg("--offline");
    }
    let status = cargo.current_dir(paths::root().join("tests")).stdin(Stdio::null()).status();
    let status = status.map_err(|e| format!("cargo: {e}"))?;
    let path = target.join("release/bench");
    if status.success() {
        Ok(Program { name: "bench".to_owned(), path })
    } else {
        Err(format!("cargo ended with {status}"))
    }
}

fn test_files() -> Result<Vec<String>, String> {
    let directory = paths::root().join("tests/tests");
    let entries = fs::read_dir(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let files =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|p| p.extension().is_some_and(|e| e == "rs"));
    let mut names: Vec<String> =
        files.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}

/// The test program that a message of cargo tells of.
fn executable(message: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_test = message["target"]["kind"] == serde_json::json!(["test"]);
    let path = message["executable"].as_str().filter(|_| is_test)?;
    Some(Program { name: message["target"]["name"].as_str()?.to_owned(), path: path.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_on_the_host_is_there() {
        let known = test_files().expect("the directory of tests");
        for (name, reason) in ON_THE_HOST_ONLY {
            assert!(known.contains(&name.to_owned()), "{name}, which {reason}, is no test file");
        }
    }

    #[test]
    fn cargo_tells_of_a_test_program() {
        let message =
            r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"bridge"},"executable":"/x/b-1"}"#;
        let program = executable(message).expect("a program");
        assert_eq!((program.name.as_str(), program.path), ("bridge", PathBuf::from("/x/b-1")));
        assert!(executable(r#"{"target":{"kind":["bin"],"name":"run"},"executable":"/x/run"}"#).is_none());
        assert!(executable("warning").is_none());
    }
}
