//! The next free address of a set of any size, through a bitmap of any size.

use core::net::IpAddr;

use super::bitmap::{self, WORD_BITS};
use super::range_set::{Candidate, RangeSet};

/// A search for a free address in round-robin order.
///
/// The caller's words are a window on the set. Bit 0 of the first window is the
/// address after the last one handed out, and the bits follow the round-robin
/// order from there, across ranges and round the end. The caller marks what is
/// taken, asks for [`Search::next_free`], and if there is none moves the window
/// with [`Search::advance`] and marks again:
///
/// ```text
/// let mut search = Search::new(set, last, &mut words)?;
/// loop {
///     for each lease { search.mark(lease address); }
///     if let Some(candidate) = search.next_free() { break candidate }
///     if !search.advance() { break exhausted }
/// }
/// ```
///
/// If a candidate turns out to be taken (another process was faster), mark it
/// and ask again.
///
/// Fairness: windows follow each other in round-robin order without gap or
/// overlap, so the address found is the same one that trying every address in
/// turn would find, whatever the size of the window. Every free address is seen
/// within [`Search::passes`] windows (`ceil(set size / bits of the words)`), and
/// an address that was just released is offered again only when everything
/// after it in the order has been passed.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Search<'r, 'm> {
    set: RangeSet<'r>,
    words: &'m mut [u64],
    /// Position in the set of the first address in the order.
    origin: u128,
    /// Distance from the origin to bit 0 of the current window.
    base: u128,
}

impl<'r, 'm> Search<'r, 'm> {
    /// Starts after `last` (at the set's first address if `last` is `None` or
    /// not in the set). The words are cleared; 64 addresses per word.
    ///
    /// `None` if `words` is empty: with no window nothing can be found, and
    /// that must not look like an exhausted set.
    #[must_use]
    pub fn new(set: RangeSet<'r>, last: Option<IpAddr>, words: &'m mut [u64]) -> Option<Self> {
        if words.is_empty() {
            return None;
        }
        let mut search = Self { set, words, origin: set.resume(last), base: 0 };
        search.clear();
        Some(search)
    }

    /// Marks an address as taken. Returns whether it lies in the current window;
    /// an address outside the window, or outside the set, is ignored.
    pub fn mark(&mut self, address: IpAddr) -> bool {
        let Some(position) = self.set.position(address) else {
            return false;
        };
        self.mark_position(position)
    }

    /// The first free address of the current window that is not a gateway. It
    /// is not marked: asked twice, it answers the same.
    #[must_use]
    pub fn next_free(&self) -> Option<Candidate> {
        let found = bitmap::next_free(self.words, 0, self.window_len())?;
        let distance = self.base.checked_add(u128::try_from(found).ok()?)?;
        self.set.at(self.set.ahead(self.origin, distance))
    }

    /// Moves to the next window and clears it; everything taken must be marked
    /// again. `false` if the whole set has been seen: it is exhausted.
    pub fn advance(&mut self) -> bool {
        let next = self.base.saturating_add(self.word_bits());
        if next >= self.set.len() {
            return false;
        }
        self.base = next;
        self.clear();
        true
    }

    /// How many windows it takes to see the whole set, at least 1.
    #[must_use]
    pub fn passes(&self) -> u128 {
        self.set.len().div_ceil(self.word_bits().max(1))
    }

    fn word_bits(&self) -> u128 {
        // Never 0, see `new`; 64 times a slice's length in words fits easily.
        (self.words.len() as u128).saturating_mul(WORD_BITS as u128)
    }

    /// Bits in use: the last window of a set is shorter.
    fn window_len(&self) -> usize {
        let left = self.set.len().saturating_sub(self.base);
        usize::try_from(left.min(self.word_bits())).unwrap_or(usize::MAX)
    }

    fn clear(&mut self) {
        self.words.fill(0);
        let set = self.set;
        for position in set.gateways() {
            self.mark_position(position);
        }
    }

    fn mark_position(&mut self, position: u128) -> bool {
        let distance = self.set.distance(self.origin, position);
        let Some(offset) = distance.checked_sub(self.base) else {
            return false;
        };
        match usize::try_from(offset) {
            Ok(bit) if bit < self.window_len() => {
                bitmap::reserve(self.words, bit);
                true
            }
            _ => false,
        }
    }
}
