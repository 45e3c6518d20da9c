//! Files that say what an attachment holds, so that DEL and GC need neither its
//! sandbox nor a prevResult: one a plugin and attachment, named by the tag.

use core::ops::ControlFlow;

use picocni_core::conf::ValidAttachments;
use picocni_core::error::{Error, Failures, Result};
use picocni_core::limits;
use picocni_core::owner::{Tag, stale_records};
use picocni_core::put;
use picocni_core::session::Session;
use picocni_core::text::fits;

/// Where the record of an attachment lies in a plugin's directory.
///
/// # Errors
/// Code 100.
pub fn path(dir: &str, tag: &Tag) -> Result<heapless::String<{ limits::PATH }>> {
    fits(&[&dir, &"/", &tag.file_name()]).ok_or_else(|| Error::limit("PATH", limits::PATH))
}

/// Attachments of one [`page`].
const PAGE: usize = 32;

/// The attachments with a record in `dir` whose file names come next after
/// `after`, in any order; go on after the last of them until none is left.
///
/// # Errors
/// Code 5.
fn page(session: &mut Session<'_>, dir: &str, after: &str) -> Result<heapless::Vec<Tag, PAGE>> {
    let mut page: heapless::Vec<Tag, PAGE> = heapless::Vec::new();
    session.backend.list(dir, &mut |name| {
        let Some(tag) = Tag::of_file_name(name).filter(|tag| tag.file_name() > after) else { return };
        if page.is_full() {
            // The last one makes room for an earlier one.
            let last = page.iter().enumerate().max_by(|(_, a), (_, b)| a.as_str().cmp(b.as_str()));
            let last = last.filter(|(_, last)| last.as_str() > tag.as_str()).map(|(at, _)| at);
            if let Some(slot) = last.and_then(|at| page.get_mut(at)) {
                *slot = tag;
            }
            return;
        }
        let _ = page.push(tag);
    })?;
    Ok(page)
}

/// Goes through the attachments that a plugin has records of, in the order of
/// their names; `act` says whether to go on. Records may come and go meanwhile.
///
/// # Errors
/// Code 5; those of `act`.
pub fn each(
    session: &mut Session<'_>,
    dir: &str,
    act: &mut dyn FnMut(&mut Session<'_>, &Tag) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut after = heapless::String::<{ limits::TAG }>::new();
    loop {
        let page = page(session, dir, &after)?;
        for tag in &page {
            if act(session, tag)?.is_break() {
                return Ok(());
            }
        }
        match page.iter().max_by(|a, b| a.as_str().cmp(b.as_str())) {
            Some(last) => {
                after.clear();
                put!(&mut after, last.file_name());
            }
            None => return Ok(()),
        }
    }
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
