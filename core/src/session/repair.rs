//! Reconciling: CHECK puts back what it finds missing.

use super::Session;
use crate::error::{Code, Result};
use crate::limits;
use crate::plugin::{Call, Plugin};

/// Something of an attachment that was missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Repair {
    /// The plugin that made it.
    pub plugin: &'static str,
    /// What it is.
    pub what: &'static str,
}

/// What was found so far.
#[derive(Debug)]
pub(super) struct Repairs {
    act: bool,
    found: heapless::Vec<Repair, { limits::REPAIRS }>,
}

impl Session<'_> {
    /// From here on every CHECK is a reconciliation, which puts back what is
    /// missing if `act`, and otherwise says what it would put back.
    pub fn reconcile(&mut self, act: bool) {
        self.repairs = Some(Repairs { act, found: heapless::Vec::new() });
    }

    /// Whether CHECK is a reconciliation.
    #[must_use]
    pub fn is_reconciling(&self) -> bool {
        self.repairs.is_some()
    }

    /// Takes out what was missing since the last time.
    pub fn take_repairs(&mut self) -> heapless::Vec<Repair, { limits::REPAIRS }> {
        self.repairs.as_mut().map(|repairs| core::mem::take(&mut repairs.found)).unwrap_or_default()
    }

    /// CHECK of one plugin, or what stands in for it.
    pub(crate) fn check_or_reconcile(&mut self, plugin: &dyn Plugin, call: &Call<'_>) -> Result<()> {
        if !self.is_reconciling() {
            return plugin.check(call, self);
        }
        let outcome = plugin.reconcile(call, self);
        // As after ADD: what failed was undone under the lock.
        self.backend.unlock();
        outcome
    }

    /// Puts `what` back by `put_back` if `checked` says that it changed. A
    /// failure is undone.
    ///
    /// # Errors
    /// Those of `checked` that say something else, and those of `put_back`.
    pub fn repair(
        &mut self,
        call: &Call<'_>,
        what: &'static str,
        checked: Result<()>,
        put_back: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        match checked {
            Err(changed) if changed.code() == Code::CHANGED => {}
            other => return other,
        }
        let plugin = self.plugin;
        if let Some(repairs) = &mut self.repairs {
            // More kinds of things than a plugin makes are not counted.
            let _ = repairs.found.push(Repair { plugin, what });
            if !repairs.act {
                return Ok(());
            }
        }
        let mark = self.mark();
        put_back(self).map_err(|cause| self.undo_to(mark, call, cause))
    }
}
