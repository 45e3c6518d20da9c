//! What plugins that run one after the other in one process share: memory, and
//! one deletion of several links.

use super::Session;
use crate::err;
use crate::error::Result;
use crate::limits;
use crate::name::IfName;
use crate::observe::Ns;
use crate::op::{Plan, Removal};
use crate::result::AddResult;

/// What a list in one process hands from plugin to plugin.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ListedMemory {
    /// The request to one plugin.
    pub request: [u8; limits::REQUEST],
    /// The result of the plugin before it, as text.
    pub prev_text: [u8; limits::REQUEST],
    /// The same, read.
    pub prev: AddResult,
}

impl ListedMemory {
    /// Empty memory; `const`, so that it can be static.
    #[must_use]
    pub const fn new() -> Self {
        ListedMemory { request: [0; limits::REQUEST], prev_text: [0; limits::REQUEST], prev: AddResult::new() }
    }
}

impl Default for ListedMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Session<'_> {
    /// Lends the memory of a list in one process.
    ///
    /// # Errors
    /// Code 7: it is lent already, to the list that this one is inside of.
    /// Those of `act`.
    pub fn run_listed<T>(&mut self, act: impl FnOnce(&mut Self, &mut ListedMemory) -> Result<T>) -> Result<T> {
        let Some(memory) = self.listed.take() else {
            return Err(err!(CONFIG, "a list in one process cannot be inside another"));
        };
        // Who asks for one process means this one, and needs no files of the others.
        self.prefer_builtin();
        let outcome = act(self, memory);
        self.listed = Some(memory);
        outcome
    }

    /// Lets the deletions of [`delete_link_later`](Self::delete_link_later) wait from here on.
    pub fn let_links_wait(&mut self) {
        self.links_wait = true;
    }

    /// Deletes a link of the host. In a list in one process it waits for the
    /// next link of the host that goes, or the end of DEL: the kernel deletes
    /// several at once in the time of one.
    ///
    /// # Errors
    /// As [`remove`](Session::remove).
    pub fn delete_link_later(&mut self, name: IfName) -> Result<()> {
        if self.links_wait && self.waiting.push(name).is_ok() {
            return Ok(());
        }
        self.removal(Removal::DeleteLink { ns: Ns::Host, name })
    }

    /// Whether a link waits for the deletion of another one of the host.
    #[must_use]
    pub fn has_waiting_links(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Deletes what waits, and lets nothing wait any more.
    ///
    /// # Errors
    /// As [`remove`](Session::remove).
    pub fn delete_waiting_links(&mut self) -> Result<()> {
        self.links_wait = false;
        if self.waiting.is_empty() { Ok(()) } else { self.remove_with_waiting(&Plan::new()) }
    }

    /// Whether the plan begins with the deletion of a link that others wait for.
    pub(super) fn takes_waiting(&self, plan: &Plan<'_>) -> bool {
        let room = plan.removals().len().saturating_add(limits::WAITING_LINKS) <= limits::PLAN;
        let first = matches!(plan.removals().first(), Some(Removal::DeleteLink { ns: Ns::Host, .. }));
        self.has_waiting_links() && room && first
    }

    pub(super) fn remove_with_waiting(&mut self, plan: &Plan<'_>) -> Result<()> {
        let mut all = Plan::new();
        let waiting = core::mem::take(&mut self.waiting);
        for name in &waiting {
            all.remove(Removal::DeleteLink { ns: Ns::Host, name: *name })?;
        }
        for removal in plan.removals() {
            all.remove(*removal)?;
        }
        self.remove_now(&all)
    }
}
