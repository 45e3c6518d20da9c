//! Files that say what an attachment holds, so that DEL and GC need neither its
//! sandbox nor a prevResult: one a plugin and attachment, named by the tag.

use picocni_core::conf::ValidAttachments;
use picocni_core::error::{Error, Failures, Result};
use picocni_core::limits;
use picocni_core::owner::{Tag, stale_records};
use picocni_core::session::Session;
use picocni_core::text::fits;

/// Where the record of an attachment lies in a plugin's directory.
///
/// # Errors
/// Code 100.
pub fn path(dir: &str, tag: &Tag) -> Result<heapless::String<{ limits::PATH }>> {
    fits(&[&dir, &"/", &tag.file_name()]).ok_or_else(|| Error::limit("PATH", limits::PATH))
}

/// GC: takes back what the records of `network` say that belong to no valid
/// attachment; `take_back` removes the record. They come in slices; a slice of
/// which nothing could be taken back is the last.
///
/// # Errors
/// The first failure, after everything was tried.
pub fn take_back_stale(
    session: &mut Session<'_>,
    dir: &str,
    network: &str,
    valid: &ValidAttachments<'_>,
    take_back: &mut dyn FnMut(&mut Session<'_>, &Tag) -> Result<()>,
) -> Result<()> {
    loop {
        let stale = stale_records(session.backend, dir, network, valid)?;
        let mut failures = Failures::new();
        let mut progress = false;
        for tag in &stale {
            let outcome = take_back(session, tag);
            progress |= outcome.is_ok();
            failures.note(outcome);
        }
        if !progress {
            return failures.into_result();
        }
    }
}
