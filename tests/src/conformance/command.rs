//! `tests/run conformance DIR`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use super::Rule;
use crate::peer::Peer;

const USAGE: &str = "\
tests/run conformance DIR [--plugin NAME]... [--rule TEXT] [--junit FILE]

Asks the rules of the CNI specification of every plugin in the directory DIR, each on a private host.
Without any words: of picocni and of the Go plugins, whose known failures are listed in tests/conformance-go.toml.
  --plugin NAME   only this plugin; more than once for several
  --rule TEXT     only rules whose name contains TEXT
  --junit FILE    also writes a report in JUnit XML
  --list          says which rules there are
Exit code 0: no rule failed. 1: one did. 2: the words make no sense.";

#[derive(Debug, Default)]
struct Words {
    dir: Option<PathBuf>,
    plugins: Vec<String>,
    rule: String,
    junit: Option<PathBuf>,
    list: bool,
}

/// Runs with the words after `conformance`.
pub fn main(words: &[String]) -> ExitCode {
    if words.iter().any(|w| w == "--help" || w == "-h") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match parse(words).and_then(run) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("tests/run conformance: {why}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(words: &[String]) -> Result<Words, String> {
    let mut parsed = Words::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--plugin" => parsed.plugins.push(value()?),
            "--rule" => parsed.rule = value()?,
            "--junit" => parsed.junit = Some(value()?.into()),
            "--list" => parsed.list = true,
            option if option.starts_with('-') => return Err(format!("{option}?")),
            dir if parsed.dir.is_none() => parsed.dir = Some(dir.into()),
            more => return Err(format!("{more}: one directory is enough")),
        }
    }
    Ok(parsed)
}

/// Whether no rule failed.
fn run(words: Words) -> Result<bool, String> {
    let rules: Vec<Rule> = super::rules().into_iter().filter(|r| r.name.contains(&words.rule)).collect();
    if words.list {
        rules.iter().for_each(|rule| println!("{:<40} {}", rule.name, rule.section));
        return Ok(true);
    }
    let dir = words.dir.ok_or("which directory?")?;
    let dir = dir.canonicalize().map_err(|e| format!("{}: {e}", dir.display()))?;
    if !dir.is_dir() {
        return Err(format!("{} is no directory", dir.display()));
    }
    if dir.starts_with("/run") {
        return Err(format!(
            "{} is hidden from the private hosts, as all below /run: copy it elsewhere",
            dir.display()
        ));
    }
    let peer = Peer::Directory { dir: dir.clone() };
    let mut plugins = peer.names();
    if let Some(missing) = words.plugins.iter().find(|p| !plugins.contains(p)) {
        return Err(format!("no plugin {missing} in {}", dir.display()));
    }
    plugins.retain(|p| words.plugins.is_empty() || words.plugins.contains(p));
    if plugins.is_empty() || rules.is_empty() {
        return Err(format!("nothing to do: {} plugins, {} rules", plugins.len(), rules.len()));
    }
    let report = super::run(&peer, &plugins, &rules);
    print!("{}", report.table());
    if let Some(file) = &words.junit {
        fs::write(file, report.junit()).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(report.counts(None).failed == 0)
}
