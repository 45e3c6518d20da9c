//! Which routing table is free.

use picocni_core::error::{Error, Result};
use picocni_core::limits;

const WORDS: usize = limits::TABLES.div_ceil(64) as usize;

/// Tables from a first one on, as many as [`limits::TABLES`], in use or not.
#[derive(Debug)]
pub struct Tables {
    first: u32,
    used: [u64; WORDS],
}

impl Tables {
    /// None in use.
    #[must_use]
    pub const fn from(first: u32) -> Self {
        Tables { first, used: [0; WORDS] }
    }

    /// The word and the bit of a table.
    fn place(&mut self, table: u32) -> Option<(&mut u64, u64)> {
        let at = table.checked_sub(self.first)?;
        let word = self.used.get_mut(usize::try_from(at >> 6).ok()?)?;
        Some((word, 1u64.wrapping_shl(at & 63)))
    }

    /// The table is in use.
    pub fn mark(&mut self, table: u32) {
        if let Some((word, bit)) = self.place(table) {
            *word |= bit;
        }
    }

    /// The lowest that is free; it is in use from now on.
    ///
    /// # Errors
    /// Code 100.
    pub fn take(&mut self) -> Result<u32> {
        for at in 0..limits::TABLES {
            let table = self.first.saturating_add(at);
            if let Some((word, bit)) = self.place(table)
                && *word & bit == 0
            {
                *word |= bit;
                return Ok(table);
            }
        }
        Err(Error::limit("TABLES", limits::TABLES as usize).with(&" routing tables, and none is free"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_that_is_free() {
        let mut tables = Tables::from(100);
        for used in [0, 99, 100, 102, 254, u32::MAX] {
            tables.mark(used);
        }
        let taken = [(); 3].map(|()| tables.take().unwrap());
        assert_eq!(taken, [101, 103, 104]);
    }

    #[test]
    fn it_ends() {
        let mut tables = Tables::from(1);
        for number in 1..=limits::TABLES {
            assert_eq!(tables.take().unwrap(), number);
        }
        assert_eq!(tables.take().unwrap_err().code().0, 100);
    }
}
