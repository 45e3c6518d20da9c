//! The sysctl allowlist of the `tuning` plugin: one regular expression a line.
//!
//! The reference plugin reads each line as an unanchored Go (RE2) expression. A
//! sysctl key is allowed if any line matches. This module compiles a line into a
//! bounded automaton and runs it in time proportional to
//! `text length × states`, without recursion and without allocation.
//!
//! Understood: literals, `.`, `^`, `$`, `|`, groups `(…)` and `(?:…)`, classes
//! `[…]` with ranges, negation and `[:name:]`, the repetitions `*` `+` `?`
//! `{m}` `{m,}` `{m,n}` (a lazy `?` after them changes nothing here, where only
//! "matches or not" counts), escapes `\d \D \w \W \s \S \b \B \A \z \a \f \t \n
//! \r \v \xHH` and escaped punctuation.
//!
//! Everything else is an [`Unsupported`] error, so that a line means what Go
//! takes it to mean or the ADD is refused; it is never read as an allow. That
//! includes flags (`(?i)`), named groups, `\Q…\E`, `\p`, octal escapes,
//! non-ASCII characters, and a few forms that Go reads as literals but other
//! engines as operators: `{` that starts no repetition, `[`, `&&`, `--` and `~~`
//! inside a class, `\<` and `\>`.
//!
//! A text may hold any character; a character outside ASCII is one character,
//! which `.` and negated classes match.

mod compile;
mod matching;
#[cfg(test)]
mod tests;

pub use compile::Unsupported;

/// Most states of one line's automaton: about one per character of the line,
/// with counted repetitions written out. Lines in use have 20 to 60.
pub const MAX_STATES: usize = 512;

/// Most groups open at the same place of a line.
pub const MAX_GROUP_DEPTH: usize = 16;

/// Most different character classes of one line.
pub const MAX_CLASSES: usize = 16;

/// One step of the automaton. Distances are relative to the step itself, so
/// that a part of the program can be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Exactly this ASCII character.
    Byte(u8),
    /// A character of the class with this index.
    Class(u8),
    /// Go on at the next step and also at this distance.
    Split(i16),
    /// Go on at this distance.
    Jump(i16),
    /// Go on at the next step if the place in the text is such.
    Assert(Place),
}

/// A condition on a place in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// `^`, `\A`
    Start,
    /// `$`, `\z`
    End,
    /// `\b`: between a word character and something else (ASCII).
    WordEdge,
    /// `\B`
    NotWordEdge,
}

/// A set of characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Class {
    /// Bit `c` is set if the ASCII character `c` belongs to the set.
    ascii: u128,
    /// Whether every other character belongs to it.
    others: bool,
}

/// A compiled line, with room for `N` states (at most 32,767 can be used).
#[derive(Clone, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Program<const N: usize = MAX_STATES> {
    /// Reaching the end of the steps is the match.
    steps: heapless::Vec<Step, N>,
    classes: heapless::Vec<Class, MAX_CLASSES>,
}

/// A line of the allowlist that cannot be used. `Display` gives
/// `line L, column C: what`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LineError {
    /// Line, from 1.
    pub line: usize,
    /// Column in bytes, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Whether any line of an allowlist matches the key.
///
/// As in the reference plugin, white space around a line and empty lines are
/// ignored, lines are tried in order and the first match decides: lines after it
/// are not read. [`validate`] reads them all. (An absent file allows
/// everything; that is the caller's to know.)
///
/// # Errors
/// A line before the first match is not understood: the key must be refused.
pub fn check(file_text: &str, key: &str) -> Result<bool, LineError> {
    for line in compiled_lines(file_text) {
        if line?.is_match(key) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads every line of an allowlist and returns how many expressions it has.
///
/// # Errors
/// The first line that is not understood.
pub fn validate(file_text: &str) -> Result<usize, LineError> {
    let mut count = 0usize;
    for line in compiled_lines(file_text) {
        line?;
        count = count.saturating_add(1);
    }
    Ok(count)
}

const fn is_line_feed(c: char) -> bool {
    c == '\n'
}

/// ASCII white space as Go's `strings.TrimSpace` has it.
const fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\x0b' | '\x0c' | '\r' | ' ')
}

fn compiled_lines(text: &str) -> impl Iterator<Item = Result<Program, LineError>> + '_ {
    // By function: splitting at a `char` keeps a slice panic in small builds.
    text.split(is_line_feed).enumerate().filter_map(|(index, raw)| {
        let shorter = raw.trim_start_matches(is_space);
        let indent = raw.len().saturating_sub(shorter.len());
        let line = shorter.trim_end_matches(is_space);
        if line.is_empty() {
            return None;
        }
        Some(Program::compile(line).map_err(|e| LineError {
            line: index.saturating_add(1),
            column: indent.saturating_add(e.column),
            what: e.what,
        }))
    })
}

impl core::fmt::Display for LineError {
    fn fmt(&self, out: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(out, "line {}, column {}: ", self.line, self.column)?;
        out.write_str(self.what)
    }
}

impl core::error::Error for LineError {}
