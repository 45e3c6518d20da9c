//! The archive format of an initramfs ("newc"). All that is in it belongs to root, whoever writes it; directories above
//! an entry are made where they are missing.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;

/// An archive that is being written.
#[derive(Debug)]
pub struct Archive<W> {
    to: W,
    written: usize,
    entries: u32,
    paths: BTreeSet<PathBuf>,
}

impl<W: Write> Archive<W> {
    /// An archive with nothing in it. The kernel reads several, one after the other, from one file, if each begins at a
    /// multiple of four.
    pub fn new(to: W) -> Self {
        Self { to, written: 0, entries: 0, paths: BTreeSet::new() }
    }

    /// Whether something has been put at `path`.
    pub fn has(&self, path: &Path) -> bool {
        self.paths.contains(&relative(path))
    }

    /// A directory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn directory(&mut self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = relative(path.as_ref());
        if path.as_os_str().is_empty() || self.paths.contains(&path) {
            return Ok(());
        }
        self.entry(&path, DIRECTORY | 0o755, (0, 0), b"")
    }

    /// A file with these contents.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn file(&mut self, path: impl AsRef<Path>, permissions: u32, contents: &[u8]) -> io::Result<()> {
        self.entry(&relative(path.as_ref()), FILE | (permissions & 0o7777), (0, 0), contents)
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn link(&mut self, path: impl AsRef<Path>, target: impl AsRef<Path>) -> io::Result<()> {
        let target = target.as_ref().as_os_str().as_bytes();
        self.entry(&relative(path.as_ref()), SYMLINK | 0o777, (0, 0), target)
    }

    /// A character device.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn device(&mut self, path: impl AsRef<Path>, number: (u32, u32)) -> io::Result<()> {
        self.entry(&relative(path.as_ref()), CHARACTER | 0o600, number, b"")
    }

    /// What lies at `from` on this machine, with all that is below it, at `path`.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn tree(&mut self, from: &Path, path: &Path) -> io::Result<()> {
        let about = fs::symlink_metadata(from).map_err(|e| named(from, &e))?;
        if about.is_symlink() {
            return self.link(path, fs::read_link(from)?);
        }
        if about.is_file() {
            let contents = fs::read(from).map_err(|e| named(from, &e))?;
            return self.file(path, about.permissions().mode(), &contents);
        }
        self.directory(path)?;
        let mut entries = fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
        // So that the same files make the same archive.
        entries.sort_by_key(fs::DirEntry::file_name);
        entries.iter().try_for_each(|entry| self.tree(&entry.path(), &path.join(entry.file_name())))
    }

    /// Writes the end mark. The next archive can follow at once.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.write_entry(Path::new("TRAILER!!!"), 0, (0, 0), b"")?;
        self.to.flush()?;
        Ok(self.to)
    }

    fn entry(&mut self, path: &Path, mode: u32, device: (u32, u32), contents: &[u8]) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            self.directory(parent)?;
        }
        if !self.paths.insert(path.to_path_buf()) {
            return Err(io::Error::other(format!("{} is in the archive twice", path.display())));
        }
        self.write_entry(path, mode, device, contents)
    }

    fn write_entry(&mut self, path: &Path, mode: u32, device: (u32, u32), contents: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let name = path.as_os_str().as_bytes();
        let size = u32::try_from(contents.len()).map_err(|_| io::Error::other("a file of 4 GiB"))?;
        let name_size = u32::try_from(name.len() + 1).map_err(|_| io::Error::other("a name of 4 GiB"))?;
        // inode, mode, owner, group, links, time, size, device of the file, device it is, size of the name, no checksum
        let fields =
            [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0].map(|f| format!("{f:08x}"));
        self.put(format!("070701{}", fields.concat()).as_bytes())?;
        self.put(name)?;
        self.put(b"\0")?;
        self.pad()?;
        self.put(contents)?;
        self.pad()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        self.to.write_all(bytes)
    }

    /// Names and contents end at multiples of four.
    fn pad(&mut self) -> io::Result<()> {
        let missing = self.written.next_multiple_of(4) - self.written;
        self.put(&[0; 3][..missing])
    }
}

/// Names in an archive start at its root.
fn relative(path: &Path) -> PathBuf {
    path.components().filter(|c| matches!(c, Component::Normal(_))).collect()
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_contents_each_padded() {
        let mut archive = Archive::new(Vec::new());
        archive.file("/a/b", 0o755, b"hello").expect("a vector");
        assert!(archive.has(Path::new("a")) && !archive.has(Path::new("b")));
        archive.file("a/b", 0o644, b"").expect_err("it is there");
        let bytes = archive.finish().expect("a vector");
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).expect("ASCII");
        let directory = "070701\
            00000001000041ed0000000000000000000000010000000000000000\
            000000000000000000000000000000000000000200000000a\0";
        let file = "070701\
            00000002000081ed0000000000000000000000010000000000000005\
            000000000000000000000000000000000000000400000000a/b\0\0\0hello\0\0\0";
        assert_eq!(text.split_at(112).0, directory);
        assert_eq!(text[112..].split_at(124).0, file);
        assert!(text.ends_with("TRAILER!!!\0\0\0\0"), "{text:?}");
    }
}
