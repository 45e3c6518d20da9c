//! Files, leases and claims: one list of paths, their bytes end to end.

use super::{FILE_BYTES, FILES, full};
use crate::error::Result;

/// What a path holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file.
    File,
    /// Where the next search starts: only an ordering hint, never undone.
    Hint,
    /// A symbolic link to its holder.
    Claim,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    kind: Kind,
    path: usize,
    content: usize,
}

impl Entry {
    const fn bytes(&self) -> usize {
        self.path.saturating_add(self.content)
    }
}

/// One path with what it holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct File<'a> {
    pub(crate) kind: Kind,
    pub(crate) path: &'a str,
    pub(crate) content: &'a [u8],
}

impl<'a> File<'a> {
    /// The file's name, if it lies in `dir` itself.
    pub(crate) fn name_in(&self, dir: &str) -> Option<&'a str> {
        let rest = self.path.strip_prefix(dir.trim_end_matches('/'))?.strip_prefix('/')?;
        (!rest.is_empty() && !rest.contains('/')).then_some(rest)
    }

    fn is_below(&self, dir: &str) -> bool {
        self.path.strip_prefix(dir.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// The file system, as far as plugins use it.
#[derive(Debug)]
pub(crate) struct Store {
    entries: heapless::Vec<Entry, FILES>,
    bytes: heapless::Vec<u8, FILE_BYTES>,
}

impl Store {
    pub(crate) const fn new() -> Self {
        Store { entries: heapless::Vec::new(), bytes: heapless::Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.bytes.clear();
    }

    /// Every path in the order of creation.
    pub(crate) fn files(&self) -> impl Iterator<Item = File<'_>> {
        let mut rest = self.bytes.as_slice();
        self.entries.iter().filter_map(move |entry| {
            let (path, after) = rest.split_at_checked(entry.path)?;
            let (content, after) = after.split_at_checked(entry.content)?;
            rest = after;
            Some(File { kind: entry.kind, path: core::str::from_utf8(path).ok()?, content })
        })
    }

    pub(crate) fn get(&self, path: &str) -> Option<File<'_>> {
        self.files().find(|file| file.path == path)
    }

    pub(crate) fn has_dir(&self, dir: &str) -> bool {
        self.files().any(|file| file.is_below(dir))
    }

    /// Creates or replaces; nothing is changed when it does not fit.
    pub(crate) fn put(&mut self, kind: Kind, path: &str, content: &[u8]) -> Result<()> {
        let freed = self.get(path).map_or(0, |old| old.path.len().saturating_add(old.content.len()));
        let needed = self.bytes.len().saturating_sub(freed).saturating_add(path.len()).saturating_add(content.len());
        if needed > FILE_BYTES {
            return Err(full("FILE_BYTES", FILE_BYTES));
        }
        self.remove(path);
        self.entries
            .push(Entry { kind, path: path.len(), content: content.len() })
            .map_err(|_| full("FILES", FILES))?;
        self.bytes.extend_from_slice(path.as_bytes()).map_err(|_| full("FILE_BYTES", FILE_BYTES))?;
        self.bytes.extend_from_slice(content).map_err(|_| full("FILE_BYTES", FILE_BYTES))
    }

    /// Whether it was there.
    pub(crate) fn remove(&mut self, path: &str) -> bool {
        let Some(at) = self.files().position(|file| file.path == path) else { return false };
        let start: usize = self.entries.iter().take(at).map(Entry::bytes).sum();
        let gone = self.entries.get(at).map_or(0, Entry::bytes);
        let mut read = start.saturating_add(gone);
        let mut write = start;
        while let Some(byte) = self.bytes.get(read).copied() {
            if let Some(slot) = self.bytes.get_mut(write) {
                *slot = byte;
            }
            read = read.saturating_add(1);
            write = write.saturating_add(1);
        }
        self.bytes.truncate(write);
        let mut index = 0usize;
        self.entries.retain(|_| {
            let keep = index != at;
            index = index.saturating_add(1);
            keep
        });
        true
    }
}
