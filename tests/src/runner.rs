//! The stages of `tests/run`: each is timed against its budget, test results are summed up, and what the runners said
//! last is said again at the end.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::budgets::Budgets;
use crate::paths;

/// A run of several stages.
#[derive(Debug)]
pub struct Runner {
    budgets: Budgets,
    offline: bool,
    skips: PathBuf,
    stages: Vec<Stage>,
    closing: Vec<String>,
    passed: usize,
    failed: usize,
    skipped: usize,
    started: Instant,
}

#[derive(Debug)]
struct Stage {
    name: &'static str,
    seconds: f64,
    budget: f64,
    outcome: Result<(), String>,
}

impl Runner {
    /// A run with nothing done yet. Offline: cargo and the package stage use no network.
    ///
    /// # Panics
    /// When the target directory cannot be written or `budgets.toml` cannot be read.
    pub fn new(offline: bool) -> Self {
        let skips = paths::target_of("tests").join("skipped.txt");
        fs::create_dir_all(paths::target_of("tests")).expect("the target directory can be made");
        fs::write(&skips, "").expect("the target directory can be written");
        Self {
            budgets: Budgets::read(),
            offline,
            skips,
            stages: Vec::new(),
            closing: Vec::new(),
            passed: 0,
            failed: 0,
            skipped: 0,
            started: Instant::now(),
        }
    }

    /// Whether the network may not be used.
    pub fn offline(&self) -> bool {
        self.offline
    }

    /// The budgets this run is held to.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Runs one stage. A failed one does not end the run: the others still have something to say.
    pub fn stage(&mut self, name: &'static str, body: impl FnOnce(&mut Self) -> Result<(), String>) {
        println!("== {name}");
        let budget = self.budgets.get("stages", name);
        let started = Instant::now();
        let failed = self.failed;
        let mut outcome = body(self);
        let seconds = started.elapsed().as_secs_f64();
        if outcome.is_ok() && seconds > budget {
            outcome = Err(format!("took {seconds:.1} s, budget {budget:.0} s"));
        }
        match &outcome {
            Ok(()) => println!("-- {name}: {seconds:.1} s of {budget:.0} s\n"),
            Err(why) => println!("-- {name}: FAILED after {seconds:.1} s: {why}\n"),
        }
        // Tests that failed are counted already; a stage that fails for another reason counts as one.
        if outcome.is_err() && self.failed == failed {
            self.failed += 1;
        }
        self.stages.push(Stage { name, seconds, budget, outcome });
    }

    /// Runs a command in `dir`, shows what it prints and counts the test results in it.
    ///
    /// # Errors
    /// When it cannot be started or exits with failure.
    pub fn command(&mut self, dir: &Path, words: &[&str], env: &[(&str, &OsStr)]) -> Result<(), String> {
        let (program, arguments) = words.split_first().ok_or("no command")?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir(dir).stdin(Stdio::null()).stdout(Stdio::piped());
        command.env("PICOCNI_SKIPS", &self.skips).envs(env.iter().copied());
        if self.offline {
            command.env("CARGO_NET_OFFLINE", "true");
        }
        let mut child = command.spawn().map_err(|e| format!("{program}: {e}"))?;
        let output = child.stdout.take().ok_or("no stdout")?;
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            self.note(&line);
        }
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("`{}` ended with {status}", words.join(" "))) }
    }

    /// Counts a line if a test runner closes with it, and shows it unless it only says that one test passed.
    pub fn note(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let before = counts.split(what).next().unwrap_or_default();
                before.rsplit([' ', '.']).find_map(|w| w.parse::<usize>().ok()).unwrap_or(0)
            };
            self.passed += count(" passed");
            self.failed += count(" failed");
            self.skipped += count(" ignored");
            if !counts.contains(" 0 passed; 0 failed; 0 ignored") {
                self.closing.push(line.to_owned());
            }
        }
        let dull = line.is_empty() || line.starts_with("running ") || line.ends_with(" ... ok");
        if !dull {
            println!("{line}");
        }
    }

    /// Counts tests that were not even started, with the reason.
    pub fn skip(&mut self, count: usize, reason: &str) {
        println!("skipped {count} tests: {reason}");
        self.skipped += count;
    }

    /// Counts a test that its runner counted as passed, but that returned early elsewhere: `TEST: REASON`.
    pub fn skip_early(&mut self, line: &str) {
        let file = fs::OpenOptions::new().append(true).create(true).open(&self.skips);
        let written = file.and_then(|mut file| writeln!(file, "{line}"));
        written.unwrap_or_else(|e| panic!("{}: {e}", self.skips.display()));
    }

    /// Whether no stage has failed so far.
    pub fn all_well(&self) -> bool {
        self.failed == 0
    }

    /// Prints what happened, last the sum, and returns whether all is well.
    pub fn finish(mut self) -> bool {
        let total = self.started.elapsed().as_secs_f64();
        let reasons = fs::read_to_string(&self.skips).unwrap_or_default();
        // A skipped test has returned early, so its runner counted it as passed.
        let early = reasons.lines().count();
        self.passed = self.passed.saturating_sub(early);
        self.skipped += early;
        for line in reasons.lines() {
            println!("skipped {line}");
        }
        println!("\n{:<14} {:>8} {:>8}", "stage", "seconds", "budget");
        for stage in &self.stages {
            let verdict = stage.outcome.as_ref().err().map_or("", |_| "  FAILED");
            println!("{:<14} {:>8.1} {:>8.0}{verdict}", stage.name, stage.seconds, stage.budget);
        }
        let budget = self.budgets.get("stages", "total");
        println!("{:<14} {total:>8.1} {budget:>8.0}\n", "total");
        if total > budget {
            println!("the whole run took longer than its budget");
            self.failed += 1;
        }
        for line in &self.closing {
            println!("{line}");
        }
        println!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        let _ = std::io::stdout().flush();
        self.failed == 0 && self.passed > 0
    }
}
