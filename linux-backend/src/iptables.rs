//! iptables, by the programs of its package: they alone know which of the two
//! ways into the kernel a host uses.
//!
//! A change is one `iptables-restore --noflush`, which the kernel takes as a
//! whole. `iptables-save` tells what there is. Neither parses in the kernel's
//! tables: a host's rules pass through as text.

use core::ffi::CStr;

use picocni_core::err;
use picocni_core::error::{Code, Error, Result};
use picocni_core::iptables::{self, Script};
use picocni_core::limits;
use picocni_core::op::{Change, Removal};
use picocni_core::text::fits;

use crate::exec::{self, Program};
use crate::files;
use crate::sys::Environ;

/// Where the programs are if PATH does not say: services run without one.
const DIRECTORIES: &str = "/usr/sbin:/sbin:/usr/bin:/bin:/usr/local/sbin";
/// Seconds that others may hold the lock of iptables. `iptables-restore` takes this since 1.6.2.
const WAIT: &CStr = c"--wait=60";
/// Rules that jump to a chain, in one look. An attachment makes a dozen at the most.
const ROUND: usize = 16 * 1024;
/// Times a chain is looked at when others change the table in between.
const TRIES: usize = 4;

type Path = heapless::String<{ limits::PATH }>;

fn find(environ: Environ, name: &str) -> Result<Path> {
    for path in [environ.get("PATH"), DIRECTORIES] {
        if let Some((file, ..)) = files::find(name, path)? {
            return Ok(file);
        }
    }
    Err(err!(
        NOT_AVAILABLE,
        "iptables is not installed",
        "no program \"",
        name,
        "\" in PATH or in ",
        DIRECTORIES,
        "; install the package iptables, or choose the backend \"nftables\""
    ))
}

/// Which programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    /// Those that the host calls iptables.
    Default,
    /// Those of iptables-legacy, under their own name or under that.
    Legacy,
}

fn find_save(environ: Environ, flavour: Flavour, v6: bool) -> Result<Path> {
    let (own, name) =
        if v6 { ("ip6tables-legacy-save", "ip6tables-save") } else { ("iptables-legacy-save", "iptables-save") };
    find_flavour(environ, flavour, own, name)
}

fn find_restore(environ: Environ, flavour: Flavour, v6: bool) -> Result<Path> {
    let (own, name) = if v6 {
        ("ip6tables-legacy-restore", "ip6tables-restore")
    } else {
        ("iptables-legacy-restore", "iptables-restore")
    };
    find_flavour(environ, flavour, own, name)
}

fn find_flavour(environ: Environ, flavour: Flavour, own: &str, name: &str) -> Result<Path> {
    match flavour {
        Flavour::Default => find(environ, name),
        Flavour::Legacy => find(environ, own).or_else(|_| find(environ, name)),
    }
}

/// Whether iptables-legacy has used a table in this namespace.
pub(crate) fn has_legacy_table(v6: bool, table: &str) -> bool {
    let path = if v6 { "/proc/net/ip6_tables_names" } else { "/proc/net/ip_tables_names" };
    let mut bytes = [0u8; 128];
    let length = files::read_file(path, &mut bytes).ok().flatten().unwrap_or(0);
    let text = bytes.get(..length).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("");
    text.lines().any(|line| line == table)
}

/// Runs one transaction.
fn restore(environ: Environ, flavour: Flavour, v6: bool, text: &str) -> Result<()> {
    let path = find_restore(environ, flavour, v6)?;
    let program = Program { path: &path, arguments: &[WAIT, c"--noflush"], environ, set: &[], pass_on: false };
    let exit = exec::run(&program, text.as_bytes(), &mut |_| true)?;
    if exit.code == 0 {
        return Ok(());
    }
    Err(err!(KERNEL, "iptables refused rules", path, " exited with ", exit.code, ": ", exit.stderr.trim_end()))
}

/// See [`Backend::iptables_rules`](picocni_core::backend::Backend::iptables_rules).
pub(crate) fn save(environ: Environ, v6: bool, table: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
    save_of(environ, Flavour::Default, v6, table, each)
}

fn save_of(environ: Environ, flavour: Flavour, v6: bool, table: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
    // Who looks wants to change.
    find_restore(environ, flavour, v6)?;
    let path = find_save(environ, flavour, v6)?;
    let mut name = heapless::String::<{ limits::IPTABLES_TABLE + 1 }>::new();
    let named = name.push_str(table).and_then(|()| name.push('\0')).is_ok();
    let table = CStr::from_bytes_with_nul(name.as_bytes()).ok().filter(|_| named);
    let table = table.ok_or_else(|| Error::limit("IPTABLES_TABLE", limits::IPTABLES_TABLE))?;
    let program = Program { path: &path, arguments: &[c"-t", table], environ, set: &[], pass_on: false };
    let mut lines = Lines::new();
    let exit = exec::run(&program, &[], &mut |bytes| {
        lines.take(bytes, each);
        true
    })?;
    if exit.code == 0 {
        return Ok(());
    }
    Err(err!(NOT_AVAILABLE, "iptables cannot be used", path, " exited with ", exit.code, ": ", exit.stderr.trim_end()))
}

/// Cuts what comes in pieces into lines.
struct Lines {
    line: heapless::Vec<u8, { limits::IPTABLES_RULE }>,
    /// The line is too long.
    over: bool,
}

impl Lines {
    const fn new() -> Self {
        Lines { line: heapless::Vec::new(), over: false }
    }

    fn take(&mut self, bytes: &[u8], each: &mut dyn FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let end = piece.last() == Some(&b'\n');
            let text = if end { piece.split_last().map_or(piece, |(_, text)| text) } else { piece };
            self.over |= self.line.extend_from_slice(text).is_err();
            if end {
                if let (false, Ok(line)) = (self.over, core::str::from_utf8(&self.line)) {
                    each(line);
                }
                self.line.clear();
                self.over = false;
            }
        }
    }
}

/// Carries out one change; what it did to a chain or to rules of its own can be undone.
///
/// By itself, since a transaction's text would be part of the stack of every ADD.
#[inline(never)]
pub(crate) fn apply<'c>(environ: Environ, change: &Change<'c>) -> Result<Option<Removal<'c>>> {
    match *change {
        Change::EnsureIptables { v6, text } => restore(environ, Flavour::Default, v6, text).map(|()| None),
        Change::Iptables { v6, table, chain, text } => {
            restore(environ, Flavour::Default, v6, text)?;
            Ok(Some(Removal::IptablesChain { v6, table, chain }))
        }
        Change::IptablesRules { v6, table, rules } => {
            restore(environ, Flavour::Default, v6, lines(table, "-A ", rules).finish()?)?;
            Ok(Some(Removal::IptablesRules { v6, table, rules }))
        }
        _ => Err(err!(INTERNAL, "change has no handler", change.verb())),
    }
}

fn lines(table: &str, act: &str, rules: &str) -> Script {
    let mut script = Script::new(table);
    for rule in rules.lines() {
        script.line(&[&act, &rule]);
    }
    script
}

/// Carries out one removal.
#[inline(never)]
pub(crate) fn remove(environ: Environ, removal: &Removal<'_>) -> Result<()> {
    match *removal {
        Removal::IptablesChain { v6, table, chain } => remove_chain(environ, Flavour::Default, v6, table, chain),
        Removal::DropLegacyChain { v6, table, chain } => drop_legacy(environ, v6, table, chain),
        Removal::IptablesRules { v6, table, rules } => remove_rules(environ, v6, table, rules),
        _ => Err(err!(INTERNAL, "removal has no handler", removal.verb())),
    }
}

/// What others left needs no program that the host has not got: that is said, and left.
fn drop_legacy(environ: Environ, v6: bool, table: &str, chain: &str) -> Result<()> {
    if !has_legacy_table(v6, table) {
        return Ok(());
    }
    match remove_chain(environ, Flavour::Legacy, v6, table, chain) {
        Err(error) if error.code() == Code::NOT_AVAILABLE => {
            let parts: [&dyn picocni_core::text::Put; 3] = [
                &"picocni: if there is a chain ",
                &chain,
                &" of iptables-legacy, it stays: iptables is not installed\n",
            ];
            if let Some(line) = fits::<256>(&parts) {
                let _ = rustix::io::write(crate::sys::stderr(), line.as_bytes());
            }
            Ok(())
        }
        outcome => outcome,
    }
}

fn remove_chain(environ: Environ, flavour: Flavour, v6: bool, table: &str, chain: &str) -> Result<()> {
    let mut outcome = Ok(());
    for _ in 0..TRIES {
        let mut there = false;
        let mut jumps = heapless::String::<ROUND>::new();
        save_of(environ, flavour, v6, table, &mut |line| {
            there |= iptables::chain(line) == Some(chain);
            if let Some((_, rule)) = iptables::rule(line)
                && iptables::jumps_to(rule, chain)
            {
                let line: Option<heapless::String<{ limits::IPTABLES_RULE }>> = fits(&[&line, &"\n"]);
                // More than a round is left to the next one.
                let _ = line.map(|line| jumps.push_str(&line));
            }
        })?;
        if !there {
            return Ok(());
        }
        let mut script = Script::new(table);
        for line in jumps.lines() {
            script.line(&[&"-D ", &line.strip_prefix("-A ").unwrap_or_default()]);
        }
        script.line(&[&"-F ", &chain]);
        script.line(&[&"-X ", &chain]);
        outcome = restore(environ, flavour, v6, script.finish()?);
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// All of them at once. Where that is refused, those that a look finds: the
/// others are gone.
fn remove_rules(environ: Environ, v6: bool, table: &str, rules: &str) -> Result<()> {
    let Err(refusal) = restore(environ, Flavour::Default, v6, lines(table, "-D ", rules).finish()?) else {
        return Ok(());
    };
    if refusal.code() != Code::KERNEL {
        return Err(refusal);
    }
    let mut script = Script::new(table);
    save(environ, v6, table, &mut |line| {
        if let Some(rule) = line.strip_prefix("-A ").filter(|rule| rules.lines().any(|known| known == *rule)) {
            script.line(&[&"-D ", &rule]);
        }
    })?;
    if script.is_empty() { Ok(()) } else { restore(environ, Flavour::Default, v6, script.finish()?) }
}
