//! The plugins of a network run one after the other.

use super::conflist::{Network, PluginConf};
use super::{Attachment, Event, Observer, PluginCall, cache, validate, words};
use crate::backend::Sandbox;
use crate::conf::Derived;
use crate::dispatch::{self, CallMemory};
use crate::err;
use crate::error::{Error, Result};
use crate::json;
use crate::limits;
use crate::put;
use crate::session::{Program, Session};
use crate::version::{self, Command};

/// Requests, results and the cache file of a running chain, owned by the caller.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ChainMemory {
    pub(super) calls: Calls,
    /// A cache file as it is read or written.
    pub(super) cache: [u8; limits::CACHE_FILE],
}

/// What one plugin call needs.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Calls {
    /// The request to the plugin.
    request: [u8; limits::REQUEST],
    /// What goes from one call to the next: the last result, or GC's valid attachments.
    pub(super) held: [u8; limits::REQUEST],
    /// A plugin in process. Its text is scratch between calls.
    pub(super) call: CallMemory,
}

impl ChainMemory {
    /// Empty memory; `const`, so that it can be static.
    #[must_use]
    pub const fn new() -> Self {
        ChainMemory {
            calls: Calls { request: [0; limits::REQUEST], held: [0; limits::REQUEST], call: CallMemory::new() },
            cache: [0; limits::CACHE_FILE],
        }
    }
}

impl Default for ChainMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// What [`Calls::held`] holds, with its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    Prev(usize),
    Valid(usize),
}

/// A network's plugins, ready to be called for one attachment.
#[expect(missing_debug_implementations, reason = "holds a session, which has no debug form")]
pub struct Chain<'c, 's> {
    pub(super) session: &'c mut Session<'s>,
    pub(super) network: &'c Network<'c>,
    pub(super) attachment: &'c Attachment<'c>,
    observe: &'c mut Observer<'c>,
}

impl<'c, 's> Chain<'c, 's> {
    /// A chain for the plugins of `network`. Plugins of the session's registry
    /// run in process without a file in CNI_PATH, delegated ones too.
    pub fn new(
        session: &'c mut Session<'s>,
        network: &'c Network<'c>,
        attachment: &'c Attachment<'c>,
        observe: &'c mut Observer<'c>,
    ) -> Self {
        session.allow_builtin_without_file();
        Chain { session, network, attachment, observe }
    }

    /// Calls every plugin in order and caches the result; see [`add`](super::add).
    ///
    /// # Errors
    /// See [`add`](super::add).
    pub fn add<'m>(&mut self, memory: &'m mut ChainMemory) -> Result<&'m str> {
        self.check_words(Command::Add)?;
        validate::check_order(self.network, self.session.registry)?;
        let cache_file = cache::path(self.attachment)?;
        let ChainMemory { calls, cache } = memory;
        let earlier = self.is_attached(&cache_file, calls, cache);
        let mut held = Held::Nothing;
        for at in 0..self.network.plugins().len() {
            match self.call(at, Command::Add, self.attachment, held, calls) {
                Ok(length) => held = Held::Prev(length),
                Err(error) => return Err(self.undo(at, earlier, error, held, calls)),
            }
        }
        let Held::Prev(length) = held else {
            return Err(err!(CONFIG, "no plugin configs found"));
        };
        let result = text_of(&calls.held, length);
        if let Err(error) = cache::write(self.session.backend, self.network, self.attachment, result, cache) {
            let last = self.network.plugins().len().saturating_sub(1);
            return Err(self.undo(last, earlier, error, held, calls));
        }
        let Calls { held, .. } = calls;
        Ok(text_of(held, length))
    }

    /// Tells the observer.
    pub(super) fn observe(&mut self, event: Event<'_>) {
        (self.observe)(event);
    }

    /// Whether an earlier ADD of this attachment is cached and its sandbox is there.
    fn is_attached(&mut self, cache_file: &str, calls: &mut Calls, buffer: &mut [u8]) -> bool {
        let cache::Content::Info(info) = cache::read(self.session.backend, cache_file, buffer, &mut calls.call.text)
        else {
            return false;
        };
        !info.netns.is_empty() && self.session.backend.open_sandbox(&info.netns) == Ok(Sandbox::Open)
    }

    /// DEL of the plugins up to `last`, in reverse; what fails is added to the
    /// details of `cause`.
    fn undo(&mut self, last: usize, earlier: bool, cause: Error, held: Held, calls: &mut Calls) -> Error {
        if earlier {
            put!(&mut cause.more(), "; not undone: an earlier ADD of this attachment is in use");
            return cause;
        }
        let held = match held {
            // An ADD that failed may have left half a result there.
            Held::Prev(length) if json::validate(calls.held.get(..length).unwrap_or_default()).is_err() => {
                Held::Nothing
            }
            _ if !self.network.is_at_least((0, 4, 0)).unwrap_or(false) => Held::Nothing,
            held => held,
        };
        for at in (0..=last).rev() {
            if let Err(error) = self.call(at, Command::Del, self.attachment, held, calls) {
                put!(&mut cause.more(), "; not undone: ", error.details());
            }
        }
        cause
    }

    /// Checks the words that become parts of paths and of the environment.
    pub(super) fn check_words(&self, command: Command) -> Result<()> {
        self.attachment.environment(command).validate()?;
        words::check_cni_args(self.attachment.cni_args)?;
        words::check_capability_args(self.attachment.capability_args)
    }

    /// Calls one plugin; an error says which one failed. ADD puts its result
    /// into `calls.held` and gives the length.
    pub(super) fn call(
        &mut self,
        at: usize,
        command: Command,
        attachment: &Attachment<'_>,
        held: Held,
        calls: &mut Calls,
    ) -> Result<usize> {
        let Some(plugin) = self.network.plugins().get(at) else {
            return Err(err!(INTERNAL, "no such plugin in the list"));
        };
        self.call_raw(at, command, attachment, held, calls).map_err(|error| self.explain(error, plugin, command))
    }

    /// As [`call`](Self::call), with the plugin's error as it came.
    pub(super) fn call_raw(
        &mut self,
        at: usize,
        command: Command,
        attachment: &Attachment<'_>,
        held: Held,
        calls: &mut Calls,
    ) -> Result<usize> {
        let Some(plugin) = self.network.plugins().get(at) else {
            return Err(err!(INTERNAL, "no such plugin in the list"));
        };
        let call = PluginCall { kind: plugin.kind, command, index: at, total: self.network.plugins().len() };
        self.observe(Event::Began(call));
        let outcome = self.run(plugin, command, attachment, held, calls);
        // What a plugin did stays when the next one fails: that is undone by DEL.
        self.session.work().journal.commit();
        self.observe(Event::Ended { call, ok: outcome.is_ok() });
        outcome
    }

    fn run(
        &mut self,
        plugin: &PluginConf<'_>,
        command: Command,
        attachment: &Attachment<'_>,
        held: Held,
        calls: &mut Calls,
    ) -> Result<usize> {
        let program = self.session.program(plugin.kind, self.attachment.cni_path)?;
        let Calls { request, held: out, call } = calls;
        let valid = if let Held::Valid(length) = held { Some(text_of(out, length)) } else { None };
        let derived = Derived {
            kind: plugin.kind,
            object: plugin.object,
            name: self.network.name,
            version: self.network.version,
            prev: if let Held::Prev(length) = held { Some(text_of(out, length)) } else { None },
            args: None,
            valid,
            // Our own plugins know the key of the specification; a node full of
            // attachments fits into a request only once.
            valid_legacy: valid.filter(|_| matches!(program, Program::Foreign(_))),
            capability_args: attachment.capability_args,
        };
        let length = derived.write(request)?;
        let request = request.get(..length).unwrap_or_default();
        let env = attachment.environment(command);
        match program {
            Program::InProcess(plugin) => {
                let Some(invocation) = env.validate()? else {
                    return Err(err!(INTERNAL, "unknown CNI_COMMAND"));
                };
                let mut answer = version::CURRENT;
                dispatch::perform(plugin, &invocation, request, self.session, call, out, &mut answer)
            }
            Program::Foreign(_) if self.session.is_reconciling() => Ok(0),
            Program::Foreign(path) => {
                let length = self.session.exec(plugin.kind, &path, &env, request)?;
                if command != Command::Add {
                    return Ok(0);
                }
                self.take_result(length, call, out)
            }
        }
    }
}

/// The first `length` bytes of a buffer that was filled with JSON text.
pub(super) fn text_of(buffer: &[u8], length: usize) -> &str {
    buffer.get(..length).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or_default()
}
