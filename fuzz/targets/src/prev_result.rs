//! Any bytes as a result, read by the rules of every version.
//!
//! The laws: nothing panics; what is written is JSON that can be read again;
//! the newest version loses nothing; and for every version the second text is
//! the first (older ones have no place for some values, but they lose them once).

use std::cell::RefCell;

use picocni_core::limits;
use picocni_core::result::AddResult;
use picocni_core::result::decode::{foreign, is_error_object};
use picocni_core::result::encode::to_json;
use picocni_core::version::{CURRENT, Version};

struct Buffers {
    canonical: Vec<u8>,
    text: Vec<u8>,
    again: Vec<u8>,
    first: Box<AddResult>,
    second: Box<AddResult>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(crate::on_large_stack(|| Buffers {
        canonical: vec![0; 2 * limits::REQUEST],
        text: vec![0; limits::REQUEST],
        again: vec![0; limits::REQUEST],
        first: Box::new(AddResult::new()),
        second: Box::new(AddResult::new()),
    }));
}

/// Reads `data` as a result, in every version if it names none.
pub fn run(data: &[u8]) {
    BUFFERS.with_borrow_mut(|buffers| {
        let error = is_error_object(data, &mut buffers.canonical);
        let oracle = serde_json::from_slice::<serde::de::IgnoredAny>(data);
        assert!(!error || oracle.is_ok(), "an error object that is no JSON");
        for assumed in Version::ALL {
            if foreign(data, *assumed, &mut buffers.canonical, &mut buffers.first).is_ok() {
                assert!(oracle.is_ok(), "taken, but it is no JSON");
                for version in Version::ALL {
                    buffers.round(*version);
                }
            }
        }
    });
}

impl Buffers {
    /// Writes `first`, reads it, writes it again.
    fn round(&mut self, version: Version) {
        // 0.1.0 and 0.2.0 have no shape for a result without addresses; a long one is over the buffer.
        let Ok(length) = to_json(&self.first, version, &mut self.text) else { return };
        let text = self.text.get(..length).expect("within the buffer");
        serde_json::from_slice::<serde::de::IgnoredAny>(text).expect("a result is JSON");
        foreign(text, version, &mut self.canonical, &mut self.second).expect("what we write we read");
        if version == CURRENT {
            // An empty dns block is not written.
            self.second.dns.present = self.first.dns.present;
            assert_eq!(self.second, self.first);
        }
        let length = to_json(&self.second, version, &mut self.again).expect("what we read we write");
        let again = self.again.get(..length).expect("within the buffer");
        assert_eq!(str::from_utf8(again), str::from_utf8(text), "{}", version.as_str());
    }
}
