//! Compiling a line: one pass, an explicit stack of open groups.

use super::{Class, MAX_GROUP_DEPTH, Place, Program, Step};
use reader::{Escape, Reader};

mod class;
mod reader;

/// Why a line cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Unsupported {
    /// Column in bytes, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: &'static str,
}

const NOTHING: &str = "nothing to repeat";

/// A jump whose target is the end of a group that is still open. No step jumps
/// to itself, so the distance 0 is free to mean this.
const TO_END_OF_GROUP: Step = Step::Jump(0);

/// An open group, or the whole line.
#[derive(Clone, Copy)]
struct Group {
    /// Its first step.
    start: usize,
    /// The first step of the alternative being read.
    alternative: usize,
    /// Column of its parenthesis.
    column: usize,
}

/// State of the pass.
struct Compiler<'t, const N: usize> {
    reader: Reader<'t>,
    program: Program<N>,
    groups: heapless::Vec<Group, MAX_GROUP_DEPTH>,
    /// The group being read; its parents are in `groups`.
    group: Group,
    /// First step of what a repetition would repeat.
    atom: Option<usize>,
}

impl<const N: usize> Program<N> {
    /// Compiles one line, without white space around it.
    ///
    /// # Errors
    /// [`Unsupported`] with the place: syntax outside what this module
    /// understands, or a line that needs more than `N` states.
    pub fn compile(line: &str) -> Result<Self, Unsupported> {
        let top = Group { start: 0, alternative: 0, column: 0 };
        let mut compiler = Compiler {
            reader: Reader { rest: line.as_bytes(), column: 1 },
            program: Self { steps: heapless::Vec::new(), classes: heapless::Vec::new() },
            groups: heapless::Vec::new(),
            group: top,
            atom: None,
        };
        while let Some(byte) = compiler.reader.take() {
            compiler.piece(byte)?;
        }
        if !compiler.groups.is_empty() {
            return Err(Unsupported { column: compiler.group.column, what: "missing )" });
        }
        compiler.end_alternatives()?;
        Ok(compiler.program)
    }
}

impl<const N: usize> Compiler<'_, N> {
    /// One piece of the expression, whose first byte was taken.
    fn piece(&mut self, byte: u8) -> Result<(), Unsupported> {
        match byte {
            b'(' => self.open(),
            b')' => self.close(),
            b'|' => self.next_alternative(),
            b'*' => self.repeat(0, None),
            b'+' => self.repeat(1, None),
            b'?' => self.repeat(0, Some(1)),
            b'{' => self.counted(),
            b'^' => self.atom(Step::Assert(Place::Start)),
            b'$' => self.atom(Step::Assert(Place::End)),
            b'.' => self.class_atom(class::ANY_BUT_NEWLINE),
            b'[' => {
                let class = class::read(&mut self.reader)?;
                self.class_atom(class)
            }
            b'\\' => match self.reader.escape()? {
                Escape::Byte(literal) => self.atom(Step::Byte(literal)),
                Escape::Class(class) => self.class_atom(class),
                Escape::Place(place) => self.atom(Step::Assert(place)),
            },
            literal if literal.is_ascii() => self.atom(Step::Byte(literal)),
            _ => self.reader.error_before("character outside ASCII"),
        }
    }

    fn push(&mut self, step: Step) -> Result<(), Unsupported> {
        let full = self.program.steps.push(step).is_err();
        if full { self.reader.error_before("expression needs too many states") } else { Ok(()) }
    }

    /// Puts a step before the steps from `at` on. Those stay together, and
    /// nothing outside jumps into them, so their distances stay right.
    fn insert(&mut self, at: usize, step: Step) -> Result<(), Unsupported> {
        let mut carried = step;
        for slot in self.program.steps.iter_mut().skip(at) {
            core::mem::swap(slot, &mut carried);
        }
        self.push(carried)
    }

    /// The distance from one step to another.
    fn distance(&self, from: usize, to: usize) -> Result<i16, Unsupported> {
        let distance = match (i16::try_from(from), i16::try_from(to)) {
            (Ok(from), Ok(to)) => to.checked_sub(from),
            _ => None,
        };
        distance.map_or_else(|| self.reader.error_before("expression needs too many states"), Ok)
    }

    fn atom(&mut self, step: Step) -> Result<(), Unsupported> {
        self.atom = Some(self.program.steps.len());
        self.push(step)
    }

    fn class_atom(&mut self, class: Class) -> Result<(), Unsupported> {
        let known = self.program.classes.iter().position(|c| *c == class);
        let index = known.unwrap_or(self.program.classes.len());
        if known.is_none() && self.program.classes.push(class).is_err() {
            return self.reader.error_before("expression has too many classes");
        }
        let index = u8::try_from(index).unwrap_or(u8::MAX);
        self.atom(Step::Class(index))
    }

    fn open(&mut self) -> Result<(), Unsupported> {
        let column = self.reader.column.saturating_sub(1);
        if self.reader.take_if(b'?') && !self.reader.take_if(b':') {
            return self.reader.error("flags and named groups are not supported");
        }
        if self.groups.push(self.group).is_err() {
            return Err(Unsupported { column, what: "too many groups inside each other" });
        }
        let start = self.program.steps.len();
        self.group = Group { start, alternative: start, column };
        self.atom = None;
        Ok(())
    }

    fn close(&mut self) -> Result<(), Unsupported> {
        self.end_alternatives()?;
        let Some(parent) = self.groups.pop() else {
            return self.reader.error_before("unexpected )");
        };
        self.atom = Some(self.group.start);
        self.group = parent;
        Ok(())
    }

    /// `A|`: try A, or what follows.
    fn next_alternative(&mut self) -> Result<(), Unsupported> {
        let start = self.group.alternative;
        self.insert(start, Step::Split(0))?;
        self.push(TO_END_OF_GROUP)?;
        let next = self.program.steps.len();
        self.set(start, Step::Split(self.distance(start, next)?));
        self.group.alternative = next;
        self.atom = None;
        Ok(())
    }

    /// Points the jumps at the end of each alternative behind the group. Inner
    /// groups are closed already, so every open jump is this group's.
    fn end_alternatives(&mut self) -> Result<(), Unsupported> {
        let end = self.program.steps.len();
        for at in self.group.start..end {
            if self.program.steps.get(at) == Some(&TO_END_OF_GROUP) {
                self.set(at, Step::Jump(self.distance(at, end)?));
            }
        }
        Ok(())
    }

    fn set(&mut self, at: usize, step: Step) {
        if let Some(slot) = self.program.steps.get_mut(at) {
            *slot = step;
        }
    }

    /// `{m}`, `{m,}` or `{m,n}`, whose brace was taken.
    fn counted(&mut self) -> Result<(), Unsupported> {
        const BAD: &str = "{ starts no repetition (write \\{ for the character)";
        if self.atom.is_none() {
            return self.reader.error_before(NOTHING);
        }
        let Some(least) = self.reader.number()? else {
            return self.reader.error_before(BAD);
        };
        let most = if self.reader.take_if(b',') { self.reader.number()? } else { Some(least) };
        if !self.reader.take_if(b'}') {
            return self.reader.error(BAD);
        }
        if most.is_some_and(|most| most < least) {
            return self.reader.error_before("repetition ends before it starts");
        }
        self.repeat(least, most)
    }

    /// Repeats the last atom `least` to `most` times, without end if `None`.
    fn repeat(&mut self, least: u16, most: Option<u16>) -> Result<(), Unsupported> {
        let Some(start) = self.atom.take() else {
            return self.reader.error_before(NOTHING);
        };
        // Lazy or greedy is the same where only "matches or not" counts.
        self.reader.take_if(b'?');
        let size = self.program.steps.len().saturating_sub(start);
        match most {
            Some(0) => self.program.steps.truncate(start),
            Some(most) => {
                // Copies first: the original is the last of the required ones,
                // or the first of the optional ones.
                for _ in 1..least {
                    self.copy(start, size)?;
                }
                if least == 0 {
                    self.insert(start, Step::Split(self.distance(0, size.saturating_add(1))?))?;
                }
                for _ in least.max(1)..most {
                    self.optional_copy(start, size, least == 0)?;
                }
            }
            None => {
                for _ in 1..least {
                    self.copy(start, size)?;
                }
                let last = self.program.steps.len().saturating_sub(size);
                if least == 0 {
                    // Over the atom and over the jump back.
                    self.insert(last, Step::Split(self.distance(0, size.saturating_add(2))?))?;
                    let here = self.program.steps.len();
                    self.push(Step::Jump(self.distance(here, last)?))?;
                } else {
                    let here = self.program.steps.len();
                    self.push(Step::Split(self.distance(here, last)?))?;
                }
            }
        }
        Ok(())
    }

    /// Appends a copy of the steps `start..start + size`.
    fn copy(&mut self, start: usize, size: usize) -> Result<(), Unsupported> {
        for at in start..start.saturating_add(size) {
            if let Some(&step) = self.program.steps.get(at) {
                self.push(step)?;
            }
        }
        Ok(())
    }

    /// Appends a copy that may be left out. The original may have got a `Split`
    /// before it.
    fn optional_copy(&mut self, start: usize, size: usize, moved: bool) -> Result<(), Unsupported> {
        self.push(Step::Split(self.distance(0, size.saturating_add(1))?))?;
        self.copy(if moved { start.saturating_add(1) } else { start }, size)
    }
}
