//! More changes than a plan holds, one plan after the other.

use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::op::{Change, Plan};
use picocni_core::session::Session;

/// Changes in order, applied whenever a plan is full.
#[derive(Debug, Default)]
pub struct Steps<'a> {
    plan: Plan<'a>,
}

impl<'a> Steps<'a> {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Steps { plan: Plan::new() }
    }

    /// Adds a change.
    ///
    /// # Errors
    /// What applying the changes before it met.
    #[inline(never)]
    pub fn push(&mut self, session: &mut Session<'_>, change: &Change<'a>) -> Result<()> {
        if self.plan.changes().len() >= limits::PLAN {
            self.apply(session)?;
        }
        self.plan.change(*change)
    }

    /// Applies what is left.
    ///
    /// # Errors
    /// The first failure.
    #[inline(never)]
    pub fn apply(&mut self, session: &mut Session<'_>) -> Result<()> {
        let outcome = session.apply(&self.plan);
        self.plan.clear();
        outcome
    }
}
