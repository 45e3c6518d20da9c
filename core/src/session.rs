//! One call's hands: apply plans, delegate, undo on failure.

mod delegate;
mod listed;
mod repair;

pub(crate) use delegate::Program;
pub use listed::ListedMemory;
pub use repair::Repair;

use crate::backend::{Backend, Sandbox};
use crate::err;
use crate::error::{Error, Failures, Result};
use crate::journal::{Journal, Step};
use crate::limits;
use crate::name::IfName;
use crate::observe::Ns;
use crate::op::{Change, Plan, Removal};
use crate::plugin::{Call, Plugin};
use crate::put;
use crate::version::Command;

/// Everything a session needs, owned by the entry point.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Workspace {
    /// Journal, log and a foreign plugin's output.
    pub buffers: Buffers,
    /// The config as delegates in process read it, one inside the other.
    pub nested_text: [[u8; limits::REQUEST]; limits::NESTING],
    /// The config that a plugin makes for another one.
    pub composed: [u8; limits::COMPOSED],
    /// What a list in one process hands from plugin to plugin.
    pub listed: ListedMemory,
}

/// What is written during a call.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Buffers {
    /// Undo log.
    pub journal: Journal,
    /// What was applied, with times.
    pub log: Log,
    /// A foreign plugin's output as it came.
    pub foreign_raw: [u8; limits::REQUEST],
    /// The same as canonical text.
    pub foreign_text: [u8; limits::REQUEST],
    /// A foreign plugin's error object, passed through.
    pub foreign_error: heapless::Vec<u8, { limits::FOREIGN_ERROR }>,
}

impl Workspace {
    /// Empty buffers; `const`, so that they can be static.
    #[must_use]
    pub const fn new() -> Self {
        Workspace {
            buffers: Buffers {
                journal: Journal::new(),
                log: Log::new(),
                foreign_raw: [0; limits::REQUEST],
                foreign_text: [0; limits::REQUEST],
                foreign_error: heapless::Vec::new(),
            },
            nested_text: [[0; limits::REQUEST]; limits::NESTING],
            composed: [0; limits::COMPOSED],
            listed: ListedMemory::new(),
        }
    }
}

impl Default for Workspace {
    fn default() -> Self {
        Self::new()
    }
}

/// One applied operation.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LogLine {
    /// Plugin that planned it.
    pub plugin: &'static str,
    /// What was done.
    pub verb: &'static str,
    /// To what.
    pub object: heapless::String<64>,
    /// When its batch began, microseconds of [`Backend::now_us`].
    pub at_us: u64,
    /// Until its outcome was known, microseconds.
    pub took_us: u32,
    /// Whether it succeeded.
    pub ok: bool,
}

/// A call of a plugin in process, also of a delegated one.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Span {
    /// The plugin.
    pub plugin: &'static str,
    /// The plugin that delegated to it, "" for the runtime.
    pub caller: &'static str,
    /// What it was asked.
    pub command: Command,
    /// When it was called, microseconds of [`Backend::now_us`].
    pub began_us: u64,
    /// When it returned.
    pub ended_us: u64,
    /// Whether it succeeded.
    pub ok: bool,
}

/// The log of plugin calls and applied operations; the oldest stay when it is full.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Log {
    lines: heapless::Vec<LogLine, { limits::LOG }>,
    spans: heapless::Vec<Span, { limits::SPANS }>,
    enabled: bool,
}

impl Log {
    /// An empty log that records nothing until it is enabled.
    #[must_use]
    pub const fn new() -> Self {
        Log { lines: heapless::Vec::new(), spans: heapless::Vec::new(), enabled: false }
    }

    /// Starts recording from empty.
    pub fn enable(&mut self) {
        self.enabled = true;
        self.lines.clear();
        self.spans.clear();
    }

    /// Plugin calls in the order in which they returned.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// What was recorded.
    #[must_use]
    pub fn lines(&self) -> &[LogLine] {
        &self.lines
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

/// What a plugin works with during one call.
#[expect(missing_debug_implementations, reason = "holds a backend, which has no debug form")]
pub struct Session<'s> {
    /// The operating system.
    pub backend: &'s mut dyn Backend,
    /// Plugins of this program, for delegation in process.
    pub registry: &'s [&'static dyn Plugin],
    work: &'s mut Buffers,
    nested: [&'s mut [u8]; limits::NESTING],
    composed: &'s mut [u8],
    /// Bytes of the composed config that delegates are reading, 0 if it is the call's own.
    composing: usize,
    listed: Option<&'s mut ListedMemory>,
    /// Links that a DEL in one process deletes with the next one, or at its end.
    waiting: heapless::Vec<IfName, { limits::WAITING_LINKS }>,
    links_wait: bool,
    repairs: Option<repair::Repairs>,
    plugin: &'static str,
    sandbox: Sandbox,
    builtin_without_file: bool,
    builtin_first: bool,
    keep_foreign_error: bool,
}

impl<'s> Session<'s> {
    /// A session with an empty journal.
    pub fn new(backend: &'s mut dyn Backend, registry: &'s [&'static dyn Plugin], work: &'s mut Workspace) -> Self {
        let Workspace { buffers, nested_text: [outer, middle, inner], composed, listed } = work;
        buffers.foreign_error.clear();
        // What the last session did is done.
        buffers.journal.commit();
        Session {
            backend,
            registry,
            work: buffers,
            nested: [outer, middle, inner],
            composed,
            composing: 0,
            listed: Some(listed),
            waiting: heapless::Vec::new(),
            links_wait: false,
            repairs: None,
            plugin: "",
            sandbox: Sandbox::Missing,
            builtin_without_file: false,
            builtin_first: false,
            keep_foreign_error: false,
        }
    }

    /// Lets a delegated plugin that is not in CNI_PATH run in process: the
    /// runtime side needs no installed files.
    pub fn allow_builtin_without_file(&mut self) {
        self.builtin_without_file = true;
    }

    /// From here on plugins of this program run in process, whatever files are
    /// in CNI_PATH.
    pub fn prefer_builtin(&mut self) {
        self.builtin_first = true;
    }

    /// Runs `act` as a call of `plugin`: its operations carry that name in the
    /// log, and the call becomes a [`Span`].
    pub fn as_plugin<T>(
        &mut self,
        plugin: &'static str,
        command: Command,
        act: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let caller = core::mem::replace(&mut self.plugin, plugin);
        let began_us = if self.work.log.enabled { self.backend.now_us() } else { 0 };
        let outcome = act(self);
        if self.work.log.enabled {
            let ended_us = self.backend.now_us();
            let _ = self.work.log.spans.push(Span { plugin, caller, command, began_us, ended_us, ok: outcome.is_ok() });
        }
        self.plugin = caller;
        outcome
    }

    /// The buffers.
    pub fn work(&mut self) -> &mut Buffers {
        self.work
    }

    /// Whether the sandbox of this call is open.
    #[must_use]
    pub fn has_sandbox(&self) -> bool {
        self.sandbox == Sandbox::Open
    }

    /// Opens the sandbox of the calls that follow.
    ///
    /// # Errors
    /// Code 8: the path is there but is no network namespace.
    pub fn open_sandbox(&mut self, path: &str) -> Result<Sandbox> {
        self.sandbox = Sandbox::Missing;
        if !path.is_empty() {
            self.sandbox = self.backend.open_sandbox(path)?;
        }
        Ok(self.sandbox)
    }

    /// Applies a plan; the inverses of what succeeded are in the journal even
    /// when something failed. Removals run only if every change succeeded.
    ///
    /// # Errors
    /// The first failure.
    pub fn apply(&mut self, plan: &Plan<'_>) -> Result<()> {
        self.work.journal.reserve(plan.changes().len())?;
        self.apply_changes(plan)?;
        self.remove(plan)
    }

    /// Applies a single change.
    ///
    /// # Errors
    /// As [`apply`](Session::apply).
    pub fn change(&mut self, change: Change<'_>) -> Result<()> {
        let mut plan = Plan::new();
        plan.change(change)?;
        self.apply(&plan)
    }

    /// Carries out a single removal. A link in a sandbox that is gone is gone.
    ///
    /// # Errors
    /// As [`remove`](Session::remove).
    pub fn removal(&mut self, removal: Removal<'_>) -> Result<()> {
        let within = matches!(
            removal,
            Removal::DeleteLink { ns: Ns::Sandbox, .. }
                | Removal::ResetLink { ns: Ns::Sandbox, .. }
                | Removal::ReturnLink { ns: Ns::Sandbox, .. }
        );
        if within && !self.has_sandbox() {
            return Ok(());
        }
        let mut plan = Plan::new();
        plan.remove(removal)?;
        self.remove(&plan)
    }

    fn apply_changes(&mut self, plan: &Plan<'_>) -> Result<()> {
        let Buffers { journal, log, .. } = &mut *self.work;
        let begun = if log.enabled { self.backend.now_us() } else { 0 };
        let mut first: Result<()> = Ok(());
        let mut seen = 0usize;
        let plugin = self.plugin;
        self.backend.apply(plan.changes(), &mut |at, outcome| {
            seen = seen.saturating_add(1);
            if log.enabled
                && let Some(change) = plan.changes().get(at)
            {
                let mut object = heapless::String::new();
                put!(&mut object, *change);
                let _ = log.lines.push(LogLine {
                    plugin,
                    verb: change.verb(),
                    object,
                    at_us: begun,
                    took_us: 0,
                    ok: outcome.is_ok(),
                });
            }
            let step = outcome.and_then(|inverse| inverse.map_or(Ok(()), |inverse| journal.record(&inverse)));
            if first.is_ok() {
                first = step;
            }
        });
        if log.enabled {
            let took = self.backend.now_us().saturating_sub(begun);
            let fresh = log.lines.len().saturating_sub(seen);
            for line in log.lines.iter_mut().skip(fresh) {
                line.took_us = u32::try_from(took).unwrap_or(u32::MAX);
            }
        }
        if first.is_ok() && seen < plan.changes().len() {
            return Err(err!(INTERNAL, "backend did not report every change"));
        }
        first
    }

    /// Carries out the removals of a plan, all of them.
    ///
    /// # Errors
    /// The first failure, the others in its details.
    pub fn remove(&mut self, plan: &Plan<'_>) -> Result<()> {
        if self.takes_waiting(plan) { self.remove_with_waiting(plan) } else { self.remove_now(plan) }
    }

    fn remove_now(&mut self, plan: &Plan<'_>) -> Result<()> {
        if plan.removals().is_empty() {
            return Ok(());
        }
        let Buffers { log, .. } = &mut *self.work;
        let begun = if log.enabled { self.backend.now_us() } else { 0 };
        let mut failures = Failures::new();
        let plugin = self.plugin;
        let mut seen = 0usize;
        self.backend.remove(plan.removals(), &mut |at, outcome| {
            seen = seen.saturating_add(1);
            if log.enabled
                && let Some(removal) = plan.removals().get(at)
            {
                let mut object = heapless::String::new();
                put!(&mut object, *removal);
                let _ = log.lines.push(LogLine {
                    plugin,
                    verb: removal.verb(),
                    object,
                    at_us: begun,
                    took_us: 0,
                    ok: outcome.is_ok(),
                });
            }
            failures.note(outcome);
        });
        if log.enabled {
            let took = self.backend.now_us().saturating_sub(begun);
            let fresh = log.lines.len().saturating_sub(seen);
            for line in log.lines.iter_mut().skip(fresh) {
                line.took_us = u32::try_from(took).unwrap_or(u32::MAX);
            }
        }
        failures.into_result()
    }

    /// How much the journal holds: a mark for [`undo_to`](Session::undo_to).
    #[must_use]
    pub fn mark(&self) -> usize {
        self.work.journal.len()
    }

    /// Undoes everything since `mark`, newest first, past failures; what could
    /// not be undone is added to the details of `cause`. A file that ADD wrote
    /// then stays: it says what there may be, and DEL goes by it.
    pub fn undo_to(&mut self, mark: usize, call: &Call<'_>, cause: Error) -> Error {
        let mut complete = true;
        while let Some(entry) = self.work.journal.take_above(mark) {
            let outcome = match entry.step() {
                Step::Remove(Removal::RemoveFile { .. }) if !complete => continue,
                Step::Remove(removal) => {
                    let mut outcome = Ok(());
                    self.backend.remove(&[removal], &mut |_, result| outcome = result);
                    outcome
                }
                Step::Delegate(plugin, composed) => self.compensate(plugin, composed, call),
            };
            if let Err(error) = outcome {
                complete = false;
                put!(&mut cause.more(), "; not undone: ", error);
            }
        }
        cause
    }
}
