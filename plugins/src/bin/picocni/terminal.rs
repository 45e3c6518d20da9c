//! Text for people, written at once and without a buffer.

use picocni_core::text::{Put, Sink};
use picocni_linux::sys;
use rustix::fd::BorrowedFd;

struct Writer(BorrowedFd<'static>);

impl Sink for Writer {
    fn text(&mut self, text: &str) {
        picocni::program::print(self.0, text.as_bytes());
    }
}

/// Writes parts to stdout.
pub(crate) fn out(parts: &[&dyn Put]) {
    write(sys::stdout(), parts);
}

/// Writes parts to stderr.
pub(crate) fn error(parts: &[&dyn Put]) {
    write(sys::stderr(), parts);
}

/// A line is collected first, so that it leaves in one write.
fn write(fd: BorrowedFd<'static>, parts: &[&dyn Put]) {
    let line = picocni_core::text::fits::<2048>(parts);
    let mut writer = Writer(fd);
    match line {
        Some(line) => writer.text(&line),
        None => parts.iter().for_each(|part| part.put(&mut writer)),
    }
}
