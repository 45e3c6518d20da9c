//! Running the automaton: all its states at once, one character at a time.

use super::{Class, Place, Program, Step};

/// A set of states, in the order of their arrival.
struct States<const N: usize> {
    seen: [bool; N],
    list: heapless::Vec<u16, N>,
}

impl<const N: usize> States<N> {
    const fn new() -> Self {
        Self { seen: [false; N], list: heapless::Vec::new() }
    }

    fn clear(&mut self) {
        self.seen.fill(false);
        self.list.clear();
    }

    /// Adds a state. Each enters at most once, so the list never runs over.
    fn add(&mut self, state: usize) {
        let Some(seen) = self.seen.get_mut(state) else {
            return;
        };
        if !*seen {
            *seen = true;
            if let Ok(state) = u16::try_from(state) {
                // Room for every state there is.
                let _ = self.list.push(state);
            }
        }
    }
}

/// A place between two characters.
struct Here {
    previous: Option<char>,
    next: Option<char>,
}

impl Here {
    fn is(&self, place: Place) -> bool {
        let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let edge = word(self.previous) != word(self.next);
        match place {
            Place::Start => self.previous.is_none(),
            Place::End => self.next.is_none(),
            Place::WordEdge => edge,
            Place::NotWordEdge => !edge,
        }
    }
}

impl Class {
    fn has(self, c: char) -> bool {
        match 1u128.checked_shl(u32::from(c)) {
            Some(bit) => self.ascii & bit != 0,
            None => self.others,
        }
    }
}

impl<const N: usize> Program<N> {
    /// Whether the expression matches anywhere in the text.
    ///
    /// Takes at most `(text length + 1) × states` steps.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        let mut now = States::<N>::new();
        let mut after = States::<N>::new();
        let mut rest = text.chars();
        let mut here = Here { previous: None, next: rest.next() };
        loop {
            // Unanchored: a match may begin at every place.
            if self.start(&mut now) || self.advance(&mut now, &mut after, &here) {
                return true;
            }
            if here.next.is_none() {
                return false;
            }
            here = Here { previous: here.next, next: rest.next() };
            core::mem::swap(&mut now, &mut after);
            after.clear();
        }
    }

    /// Enters the first step. An expression without steps matches at once.
    fn start(&self, now: &mut States<N>) -> bool {
        now.add(0);
        self.steps.is_empty()
    }

    /// Follows every state of `now` through the steps that consume nothing and
    /// over the next character into `after`. Returns whether the end is reached.
    fn advance(&self, now: &mut States<N>, after: &mut States<N>, here: &Here) -> bool {
        let mut index = 0usize;
        // The list grows while it is walked.
        while let Some(&state) = now.list.get(index) {
            index = index.saturating_add(1);
            let state = usize::from(state);
            let Some(&step) = self.steps.get(state) else {
                continue;
            };
            let follow = state.saturating_add(1);
            let (goes_on, also) = match step {
                Step::Byte(byte) => {
                    if here.next == Some(char::from(byte)) && self.arrive(after, follow) {
                        return true;
                    }
                    continue;
                }
                Step::Class(class) => {
                    let class = self.classes.get(usize::from(class));
                    let hit = class.zip(here.next).is_some_and(|(class, c)| class.has(c));
                    if hit && self.arrive(after, follow) {
                        return true;
                    }
                    continue;
                }
                Step::Assert(place) => (here.is(place), None),
                Step::Jump(distance) => (false, Some(distance)),
                Step::Split(distance) => (true, Some(distance)),
            };
            if goes_on && self.arrive(now, follow) {
                return true;
            }
            let target = also.and_then(|d| state.checked_add_signed(isize::from(d)));
            if target.is_some_and(|target| self.arrive(now, target)) {
                return true;
            }
        }
        false
    }

    /// Adds a state; `true` if it is the end of the program.
    ///
    /// The end has no condition on the place, so a match can be reported before
    /// the character that leads to it is stepped over.
    fn arrive(&self, states: &mut States<N>, state: usize) -> bool {
        states.add(state);
        state >= self.steps.len()
    }
}
