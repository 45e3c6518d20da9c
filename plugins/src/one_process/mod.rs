//! `picocni`: the plugins of a list, one after the other in one process.
//!
//! An entry of type `picocni` has a key `plugins`, a list like that of a
//! network. Each plugin in it gets what a runtime would give it (spec 1.1.0,
//! section 3), so `prevResult`, CHECK, the reverse order of DEL, GC and STATUS
//! mean the same as if it stood in the network's list. What differs:
//!
//! * one program is started and not one for each;
//! * if a plugin fails in ADD, all before it are undone at once;
//! * DEL goes on past a failure and reports the first;
//! * DEL deletes the attachment's links in one operation of the kernel.
//!
//! The entry's own `capabilities` say what the runtime passes to it; those of
//! each plugin say which of that it gets.

mod listed;
#[cfg(test)]
mod tests;

use picocni_core::config_keys;
use picocni_core::error::{Error, Failures, Result};
use picocni_core::json::{Key, Kind, Limit};
use picocni_core::limits;
use picocni_core::plugin::{Call, Plugin};
use picocni_core::put;
use picocni_core::result::{AddResult, encode};
use picocni_core::session::{ListedMemory, Session};
use picocni_core::version::Command;

use listed::{List, Listed};

/// The plugin.
#[derive(Debug)]
pub struct OneProcess;

const PLUGIN_LIMIT: Limit = Limit::new("PLUGINS", limits::PLUGINS);
const PLUGIN: Kind = Kind::Object(&[Key::str("type")]);
const KEYS: &[Key] = config_keys![Key::array("plugins", &PLUGIN, &PLUGIN_LIMIT)];

impl Plugin for OneProcess {
    fn name(&self) -> &'static str {
        "picocni"
    }

    fn keys(&self) -> &'static [Key] {
        KEYS
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let list = List::read(call)?;
        list.check_versions(call, session)?;
        session.run_listed(|session, memory| add(call, session, memory, &list, result))
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        in_order(call, session, Command::Check)
    }

    fn reconcile(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        // Each plugin is asked to, by the session.
        self.check(call, session)
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let list = List::read(call)?;
        session.run_listed(|session, memory| {
            let mut failures = Failures::new();
            session.let_links_wait();
            for plugin in list.plugins().iter().rev() {
                failures.note(ask(call, session, memory, plugin, Command::Del));
            }
            failures.note(session.delete_waiting_links());
            failures.into_result()
        })
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let list = List::read(call)?;
        session.run_listed(|session, memory| {
            let mut failures = Failures::new();
            for plugin in list.plugins() {
                failures.note(ask(call, session, memory, plugin, Command::Gc));
            }
            failures.into_result()
        })
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        in_order(call, session, Command::Status)
    }
}

/// CHECK and STATUS: the first failure ends it.
fn in_order(call: &Call<'_>, session: &mut Session<'_>, command: Command) -> Result<()> {
    let list = List::read(call)?;
    list.check_versions(call, session)?;
    session.run_listed(|session, memory| {
        list.plugins().iter().try_for_each(|plugin| ask(call, session, memory, plugin, command))
    })
}

/// One plugin, with the prevResult that the list itself got.
fn ask(
    call: &Call<'_>,
    session: &mut Session<'_>,
    memory: &mut ListedMemory,
    plugin: &Listed<'_>,
    command: Command,
) -> Result<()> {
    let request = plugin.request(call, plugin.outer_prev(call), &mut memory.request)?;
    let outcome = session.delegate_to(plugin.kind, &Call { raw: request, ..*call }, command, None);
    session.backend.unlock();
    outcome.map_err(|error| explain(error, plugin))
}

/// Every plugin in order; each but the first gets the result of the one before.
fn add(
    call: &Call<'_>,
    session: &mut Session<'_>,
    memory: &mut ListedMemory,
    list: &List<'_>,
    result: &mut AddResult,
) -> Result<()> {
    let mut marks = heapless::Vec::<usize, { limits::PLUGINS }>::new();
    for plugin in list.plugins() {
        // As many as there are plugins.
        let _ = marks.push(session.mark());
        if let Err(cause) = add_one(call, session, memory, plugin, marks.len() == 1, result) {
            return Err(undo(call, session, memory, list, &marks, explain(cause, plugin)));
        }
        session.backend.unlock();
    }
    // A result that the version cannot say is found out while everything can still be undone.
    match encode::to_json(result, call.version, &mut memory.prev_text) {
        Ok(_) => Ok(()),
        Err(cause) => Err(undo(call, session, memory, list, &marks, cause)),
    }
}

fn add_one(
    call: &Call<'_>,
    session: &mut Session<'_>,
    memory: &mut ListedMemory,
    plugin: &Listed<'_>,
    first: bool,
    result: &mut AddResult,
) -> Result<()> {
    let ListedMemory { request, prev_text, prev } = memory;
    let (prev, text) = if first {
        (call.prev, plugin.outer_prev(call))
    } else {
        prev.clone_from(result);
        let length = encode::to_json(prev, call.version, prev_text)?;
        (Some(&*prev), prev_text.get(..length).and_then(|text| core::str::from_utf8(text).ok()))
    };
    let request = plugin.request(call, text, request)?;
    result.clear();
    session.delegate_to(plugin.kind, &Call { raw: request, prev, ..*call }, Command::Add, Some(result))
}

/// Undoes the plugins from the last that began, each with its own config: what
/// undoes a foreign plugin is its DEL.
fn undo(
    call: &Call<'_>,
    session: &mut Session<'_>,
    memory: &mut ListedMemory,
    list: &List<'_>,
    marks: &[usize],
    mut cause: Error,
) -> Error {
    for (plugin, mark) in list.plugins().iter().zip(marks).rev() {
        if session.mark() > *mark {
            let request = plugin.request(call, None, &mut memory.request).unwrap_or_default();
            cause = session.undo_to(*mark, &Call { raw: request, prev: None, ..*call }, cause);
        }
    }
    cause
}

/// Says whose error it is; one that a foreign plugin printed is passed on as it came.
fn explain(error: Error, plugin: &Listed<'_>) -> Error {
    if !error.foreign {
        put!(&mut error.more(), " (plugin \"", plugin.kind, "\" of \"plugins\")");
    }
    error
}
