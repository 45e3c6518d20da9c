//! Bits in words: bit `n` of a bitmap is bit `n % 64` of word `n / 64`; a set
//! bit is a taken address.
//!
//! All functions take the caller's words, work a word at a time, and answer
//! `false` or `None` for a bit outside the words; none of them can panic.

/// Addresses per word.
pub const WORD_BITS: usize = 64;

/// The bit of `n` within its word.
fn bit(n: usize) -> u64 {
    // Always fits: the mask leaves six bits.
    1u64.wrapping_shl(u32::try_from(n & 63).unwrap_or(0))
}

/// Bits below `n % 64`.
fn below(n: usize) -> u64 {
    bit(n).wrapping_sub(1)
}

/// Takes bit `n`. Returns whether it was free; `false` also if `n` is outside.
pub fn reserve(words: &mut [u64], n: usize) -> bool {
    let Some(word) = words.get_mut(n / WORD_BITS) else {
        return false;
    };
    let free = *word & bit(n) == 0;
    *word |= bit(n);
    free
}

/// Frees bit `n`. Returns whether it was taken; `false` also if `n` is outside.
pub fn release(words: &mut [u64], n: usize) -> bool {
    let Some(word) = words.get_mut(n / WORD_BITS) else {
        return false;
    };
    let taken = *word & bit(n) != 0;
    *word &= !bit(n);
    taken
}

/// Whether bit `n` is taken. A bit outside the words counts as taken, so that
/// it is never handed out.
#[must_use]
pub fn is_taken(words: &[u64], n: usize) -> bool {
    words.get(n / WORD_BITS).is_none_or(|word| word & bit(n) != 0)
}

/// The first free bit at `from` or after it and below `len`.
///
/// `len` over the size of `words` is cut to that size.
#[must_use]
pub fn next_free(words: &[u64], from: usize, len: usize) -> Option<usize> {
    // Bits before `from` in its word are masked off; later words count whole.
    let mut wanted = !below(from);
    for (index, word) in words.iter().enumerate().skip(from / WORD_BITS) {
        let free = !word & wanted;
        if free != 0 {
            let offset = free.trailing_zeros() as usize;
            let found = index.wrapping_mul(WORD_BITS).wrapping_add(offset);
            return (found < len).then_some(found);
        }
        wanted = u64::MAX;
    }
    None
}

/// The first free bit in the order `from, from + 1, …, len - 1, 0, …, from - 1`.
/// A `from` at or over `len` starts at 0.
#[must_use]
pub fn next_free_round(words: &[u64], from: usize, len: usize) -> Option<usize> {
    let from = if from < len { from } else { 0 };
    next_free(words, from, len).or_else(|| next_free(words, 0, from))
}

/// How many of the first `len` bits are taken (bits outside the words are not
/// counted).
#[must_use]
pub fn count_taken(words: &[u64], len: usize) -> usize {
    let whole = len / WORD_BITS;
    let mut count = 0usize;
    for (index, word) in words.iter().enumerate() {
        let counted = match index.cmp(&whole) {
            core::cmp::Ordering::Less => *word,
            core::cmp::Ordering::Equal => *word & below(len),
            core::cmp::Ordering::Greater => break,
        };
        count = count.wrapping_add(counted.count_ones() as usize);
    }
    count
}
