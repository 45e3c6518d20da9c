//! iptables: chains and rules as text, in the order in which they are kept.

use super::{EEXIST, SimBackend, refused};
use crate::err;
use crate::error::{Error, Result};
use crate::iptables::{Words, chain, jumps_to, rule};
use crate::op::{Change, Removal};
use crate::put;
use crate::text::{Put, fits};

/// Bytes of all lines.
pub(crate) const TEXT: usize = 24 * 1024;
/// `V TABLE ` before a line: the family, the table, and whether pods share it.
type Place = heapless::String<16>;
/// Bytes of one line.
const LINE: usize = 640;

/// The chains that a kernel has from the start.
const BUILT_IN: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];

/// Targets that are no chains.
const TARGETS: [&str; 8] = ["ACCEPT", "DROP", "REJECT", "RETURN", "MARK", "DNAT", "SNAT", "MASQUERADE"];

#[derive(Debug, Clone)]
pub(crate) struct Tables {
    /// Lines of iptables-save, each after its [`Place`] and a mark: `s` for shared, `o` for an attachment's own.
    text: heapless::String<TEXT>,
    /// The programs are not installed.
    pub(crate) missing: bool,
}

fn place(v6: bool, table: &str) -> Place {
    fits(&[&if v6 { "6 " } else { "4 " }, &table, &" "]).unwrap_or_default()
}

fn full() -> Error {
    Error::limit("TEXT", TEXT)
}

impl Tables {
    pub(crate) const fn new() -> Self {
        Tables { text: heapless::String::new(), missing: false }
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.missing = false;
    }

    fn probe(&self) -> Result<()> {
        if self.missing { Err(err!(NOT_AVAILABLE, "iptables is not installed")) } else { Ok(()) }
    }

    /// The lines of a table: whether shared, and as iptables-save prints them.
    fn lines<'t>(&'t self, place: &'t str) -> impl Iterator<Item = (bool, &'t str)> {
        self.text.lines().filter_map(move |line| {
            let line = line.strip_prefix(place)?;
            Some((line.starts_with('s'), line.get(2..)?))
        })
    }

    /// All lines with their places, for the snapshot.
    pub(crate) fn all(&self) -> impl Iterator<Item = (bool, &str)> {
        self.text.lines().map(|line| (line.split(' ').nth(2) == Some("s"), line))
    }

    pub(crate) fn list(&self, v6: bool, table: &str, each: &mut dyn FnMut(&str)) -> Result<()> {
        self.probe()?;
        for chain in BUILT_IN {
            let line: heapless::String<64> = fits(&[&":", &chain, &" ACCEPT [0:0]"]).unwrap_or_default();
            each(&line);
        }
        self.lines(&place(v6, table)).for_each(|(_, line)| each(line));
        Ok(())
    }

    /// Carries out a script: all of it or nothing.
    fn run(&mut self, v6: bool, shared: bool, script: &str) -> Result<()> {
        self.probe()?;
        let before = self.clone();
        let outcome = self.run_lines(v6, shared, script);
        if outcome.is_err() {
            *self = before;
        }
        outcome
    }

    fn run_lines(&mut self, v6: bool, shared: bool, script: &str) -> Result<()> {
        let mut lines = script.lines();
        let table = lines.next().and_then(|line| line.strip_prefix('*')).unwrap_or_default();
        let place = place(v6, table);
        for line in lines {
            if line == "COMMIT" {
                return Ok(());
            }
            self.run_line(&place, shared, line)?;
        }
        Err(err!(KERNEL, "iptables-restore failed", "no COMMIT"))
    }

    fn has_chain(&self, place: &str, name: &str) -> bool {
        BUILT_IN.contains(&name) || self.lines(place).any(|(_, line)| chain(line) == Some(name))
    }

    fn run_line(&mut self, place: &Place, shared: bool, line: &str) -> Result<()> {
        if let Some(name) = chain(line) {
            if self.has_chain(place, name) {
                return self.keep(place, |line| rule(line).is_none_or(|(of, _)| of != name));
            }
            return self.add(place, shared, &[&":", &name, &" - [0:0]"]);
        }
        let (act, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (name, spec) = rest.split_once(' ').unwrap_or((rest, ""));
        if act == "-N" {
            if self.has_chain(place, name) {
                return Err(refused(EEXIST, "chain exists"));
            }
            return self.add(place, shared, &[&":", &name, &" - [0:0]"]);
        }
        if !self.has_chain(place, name) {
            return Err(err!(KERNEL, "iptables-restore failed", "no chain ", name));
        }
        let mut words = Words(spec);
        words.by_ref().find(|word| *word == "-j");
        if let Some(target) = words.next().filter(|target| !TARGETS.contains(target) && !self.has_chain(place, target))
        {
            return Err(err!(KERNEL, "iptables-restore failed", "no chain/target/match ", target));
        }
        match act {
            "-A" => self.add(place, shared, &[&"-A ", &name, &" ", &spec]),
            "-I" => self.insert(place, shared, name, spec),
            "-D" => self.delete(place, name, spec),
            "-F" => self.keep(place, |line| rule(line).is_none_or(|(of, _)| of != name)),
            "-X" => {
                if self
                    .lines(place)
                    .any(|(_, line)| rule(line).is_some_and(|(of, spec)| of == name || jumps_to(spec, name)))
                {
                    return Err(err!(KERNEL, "iptables-restore failed", "chain is in use: ", name));
                }
                self.keep(place, |line| chain(line) != Some(name))
            }
            _ => Err(err!(KERNEL, "iptables-restore failed", "unknown line ", line)),
        }
    }

    fn add(&mut self, place: &str, shared: bool, parts: &[&dyn Put]) -> Result<()> {
        let line: heapless::String<LINE> = fits(parts).ok_or_else(full)?;
        let mark = if shared { "s " } else { "o " };
        let whole: heapless::String<LINE> = fits(&[&place, &mark, &line, &"\n"]).ok_or_else(full)?;
        self.text.push_str(&whole).map_err(|_| full())
    }

    fn insert(&mut self, place: &str, shared: bool, name: &str, spec: &str) -> Result<()> {
        let old = self.text.clone();
        let is_first = |line: &&str| {
            line.strip_prefix(place).and_then(|line| rule(line.get(2..)?)).is_some_and(|(of, _)| of == name)
        };
        let at = old.lines().position(|line| is_first(&line)).unwrap_or(usize::MAX);
        self.text.clear();
        for line in old.lines().take(at) {
            put!(&mut self.text, line, "\n");
        }
        self.add(place, shared, &[&"-A ", &name, &" ", &spec])?;
        for line in old.lines().skip(at) {
            self.text.push_str(line).and_then(|()| self.text.push_str("\n")).map_err(|_| full())?;
        }
        Ok(())
    }

    fn delete(&mut self, place: &str, name: &str, spec: &str) -> Result<()> {
        let mut found = false;
        self.keep(place, |line| {
            let this = !found && rule(line) == Some((name, spec));
            found |= this;
            !this
        })?;
        if found { Ok(()) } else { Err(err!(KERNEL, "iptables-restore failed", "no such rule: ", name, " ", spec)) }
    }

    /// Drops the lines of a table that `keeps` does not want.
    fn keep(&mut self, place: &str, mut keeps: impl FnMut(&str) -> bool) -> Result<()> {
        let old = self.text.clone();
        self.text.clear();
        for line in old.lines() {
            let wanted = line.strip_prefix(place).and_then(|line| line.get(2..)).is_none_or(&mut keeps);
            if wanted {
                self.text.push_str(line).and_then(|()| self.text.push_str("\n")).map_err(|_| full())?;
            }
        }
        Ok(())
    }

    fn delete_chain(&mut self, v6: bool, table: &str, name: &str) -> Result<()> {
        self.probe()?;
        let of_it = |line: &str| {
            chain(line) == Some(name) || rule(line).is_some_and(|(of, spec)| of == name || jumps_to(spec, name))
        };
        self.keep(&place(v6, table), |line| !of_it(line))
    }

    fn delete_rules(&mut self, v6: bool, table: &str, rules: &str) -> Result<()> {
        self.probe()?;
        let place = place(v6, table);
        for line in rules.lines() {
            let (name, spec) = line.split_once(' ').unwrap_or((line, ""));
            // One that is not there is success.
            let _ = self.delete(&place, name, spec);
        }
        Ok(())
    }
}

impl SimBackend {
    pub(super) fn apply_iptables<'o>(&mut self, change: &Change<'o>) -> Result<Option<Removal<'o>>> {
        match *change {
            Change::EnsureIptables { v6, text } => self.tables.run(v6, true, text).map(|()| None),
            Change::Iptables { v6, table, chain, text } => {
                self.tables.run(v6, false, text)?;
                Ok(Some(Removal::IptablesChain { v6, table, chain }))
            }
            Change::IptablesRules { v6, table, rules } => {
                let mut script = crate::iptables::Script::new(table);
                for line in rules.lines() {
                    script.line(&[&"-A ", &line]);
                }
                self.tables.run(v6, false, script.finish()?)?;
                Ok(Some(Removal::IptablesRules { v6, table, rules }))
            }
            _ => Err(err!(INTERNAL, "change in the wrong place", change.verb())),
        }
    }

    pub(super) fn remove_iptables(&mut self, removal: &Removal<'_>) -> Result<()> {
        match *removal {
            Removal::IptablesChain { v6, table, chain } | Removal::DropLegacyChain { v6, table, chain } => {
                self.tables.delete_chain(v6, table, chain)
            }
            Removal::IptablesRules { v6, table, rules } => self.tables.delete_rules(v6, table, rules),
            _ => Err(err!(INTERNAL, "removal in the wrong place", removal.verb())),
        }
    }
}
