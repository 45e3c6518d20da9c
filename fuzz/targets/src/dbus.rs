//! Any bytes as a message from the message bus, and as the list of its addresses.
//!
//! The laws: nothing panics, and what is read of a message lies within it.

use picocni_linux::wire::dbus::{self, Answer};

/// Reads `data` as one message, and as text.
pub fn run(data: &[u8]) {
    let length = dbus::length(data);
    assert!(length.is_none_or(|length| length >= dbus::PREFIX), "a message has its prefix");
    for serial in [0, 1, 2] {
        if let Some(Answer::Error { name, text }) = dbus::answer(data, serial) {
            for part in [name, text] {
                assert!(part.len() <= data.len(), "more text than message");
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = dbus::place(text);
    }
}
