//! Plugins called by plugins: in process if they are built in, else as programs.

use super::{Buffers, Session};
use crate::backend::Found;
use crate::env::Environment;
use crate::err;
use crate::error::{Error, Result};
use crate::limits;
use crate::name::check_plugin_type;
use crate::plugin::{Call, Plugin};
use crate::put;
use crate::result::AddResult;
use crate::version::{Command, Version};

/// What a plugin's type stands for.
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack; there is no heap to box it")]
pub(crate) enum Program {
    /// A plugin of this program.
    InProcess(&'static dyn Plugin),
    /// The path of another one.
    Foreign(heapless::String<{ limits::PATH }>),
}

impl Session<'_> {
    /// DEL of a foreign plugin whose ADD is being undone; its output must not
    /// overwrite the error that is passed through.
    pub(super) fn compensate(&mut self, plugin: &str, composed: usize, call: &Call<'_>) -> Result<()> {
        self.keep_foreign_error = true;
        let outcome = match composed {
            0 => self.delegate_to(plugin, call, Command::Del, None),
            length => self.compose(|session, text| {
                let raw = text.get(..length).unwrap_or_default();
                session.delegate_to(plugin, &Call { raw, prev: None, ..*call }, Command::Del, None)
            }),
        };
        self.keep_foreign_error = false;
        outcome
    }

    /// Lends the buffer for a config that a plugin makes for another one. What
    /// is in it stays there for the rest of the call.
    ///
    /// # Errors
    /// Those of `act`.
    pub fn compose<T>(&mut self, act: impl FnOnce(&mut Self, &mut [u8]) -> Result<T>) -> Result<T> {
        let buffer = core::mem::take(&mut self.composed);
        let outcome = act(self, buffer);
        self.composed = buffer;
        outcome
    }

    /// Runs any plugin on a call whose `raw` was composed at the start of the
    /// buffer of [`compose`](Session::compose). ADD fills `result`.
    ///
    /// # Errors
    /// The plugin's own error, or why it could not be run.
    pub fn delegate_composed(
        &mut self,
        plugin: &str,
        call: &Call<'_>,
        command: Command,
        result: Option<&mut AddResult>,
    ) -> Result<()> {
        self.composing = call.raw.len();
        let outcome = self.delegate_to(plugin, call, command, result);
        self.composing = 0;
        outcome
    }

    /// Whether a delegated plugin would run in process.
    ///
    /// # Errors
    /// Why it could not be run at all.
    pub fn is_built_in(&mut self, plugin: &str, path: &str) -> Result<bool> {
        Ok(matches!(self.program(plugin, path)?, Program::InProcess(_)))
    }

    /// Runs the IPAM plugin of the call's config with the same command; ADD
    /// fills `result`.
    ///
    /// # Errors
    /// The plugin's own error, or why it could not be run.
    pub fn delegate(&mut self, call: &Call<'_>, command: Command, result: Option<&mut AddResult>) -> Result<()> {
        self.delegate_to(call.conf.ipam_type(), call, command, result)
    }

    /// Runs any plugin on a call; ADD fills `result`.
    ///
    /// # Errors
    /// The plugin's own error, or why it could not be run.
    pub fn delegate_to(
        &mut self,
        plugin: &str,
        call: &Call<'_>,
        command: Command,
        result: Option<&mut AddResult>,
    ) -> Result<()> {
        match self.program(plugin, call.env.path)? {
            Program::InProcess(builtin) => self.delegate_in_process(builtin, call, command, result),
            Program::Foreign(program) => self.delegate_by_exec(plugin, &program, call, command, result),
        }
    }

    /// Resolves a plugin's type.
    ///
    /// # Errors
    /// Code 7: it is neither built in nor in `path`.
    #[inline(never)]
    pub(crate) fn program(&mut self, plugin: &str, path: &str) -> Result<Program> {
        check_plugin_type(plugin)?;
        let builtin = self.registry.iter().copied().find(|p| p.name() == plugin);
        if let Some(builtin) = builtin.filter(|_| self.builtin_first) {
            return Ok(Program::InProcess(builtin));
        }
        match (self.backend.find(plugin, path)?, builtin) {
            (Found::Own, Some(builtin)) => Ok(Program::InProcess(builtin)),
            (Found::Missing, Some(builtin)) if self.builtin_without_file => Ok(Program::InProcess(builtin)),
            (Found::Foreign(program), _) => Ok(Program::Foreign(program)),
            (Found::Own, None) => Err(err!(CONFIG, "plugin not built in", plugin)),
            (Found::Missing, _) => Err(err!(
                CONFIG,
                "failed to find plugin",
                "failed to find plugin \"",
                plugin,
                "\" in path [",
                path,
                "]"
            )),
        }
    }

    fn delegate_in_process(
        &mut self,
        plugin: &'static dyn Plugin,
        call: &Call<'_>,
        command: Command,
        result: Option<&mut AddResult>,
    ) -> Result<()> {
        // The delegate reads the same text by its own keys. The buffer is
        // taken out for as long as the delegate's config borrows it.
        let Some(at) = self.nested.iter().position(|buffer| !buffer.is_empty()) else {
            return Err(Error::limit("NESTING", limits::NESTING)
                .with(&" plugins inside one another: ")
                .with(&plugin.name()));
        };
        let buffer = self.nested.get_mut(at).map(core::mem::take).unwrap_or_default();
        let outcome = self.run_nested(plugin, call, command, result, buffer);
        if let Some(slot) = self.nested.get_mut(at) {
            *slot = buffer;
        }
        outcome
    }

    fn run_nested(
        &mut self,
        plugin: &'static dyn Plugin,
        call: &Call<'_>,
        command: Command,
        result: Option<&mut AddResult>,
        buffer: &mut [u8],
    ) -> Result<()> {
        let document = crate::conf::scan(call.raw, plugin.keys(), buffer)?;
        let conf = crate::conf::NetConf::read(document.canonical())?;
        let inner = Call {
            conf: &conf,
            text: document.canonical(),
            version: Version::exact(conf.cni_version).unwrap_or(call.version),
            repeated_key: document.repeated_map_key(),
            ..*call
        };
        self.as_plugin(plugin.name(), command, |session| match (command, result) {
            (Command::Add, Some(result)) => plugin.add(&inner, session, result),
            (Command::Check, _) => session.check_or_reconcile(plugin, &inner),
            (Command::Del, _) => plugin.del(&inner, session),
            (Command::Gc, _) => plugin.gc(&inner, session),
            (Command::Status, _) => plugin.status(&inner, session),
            (Command::Add, None) | (Command::Version, _) => Ok(()),
        })
    }

    fn delegate_by_exec(
        &mut self,
        plugin: &str,
        program: &str,
        call: &Call<'_>,
        command: Command,
        result: Option<&mut AddResult>,
    ) -> Result<()> {
        // A foreign plugin knows no reconciliation, and a CHECK would only complain.
        if self.is_reconciling() {
            return Ok(());
        }
        let env = call.environment(command);
        if command == Command::Add {
            // Before it runs: an ADD that fails half way is undone by a DEL too.
            self.work.journal.record_delegate(plugin, self.composing)?;
        }
        let length = self.exec(plugin, program, &env, call.raw)?;
        let Some(result) = result.filter(|_| command == Command::Add) else { return Ok(()) };
        let Buffers { foreign_raw, foreign_text, .. } = &mut *self.work;
        let raw = foreign_raw.get(..length).unwrap_or_default();
        crate::result::decode::foreign(raw, call.version, foreign_text, result)
    }

    /// Runs a program as a plugin; gives the length of its output in
    /// `work().foreign_raw`. A plugin's error object is kept in
    /// `work().foreign_error`, to be printed as it is.
    ///
    /// # Errors
    /// Code 105, or an error marked [`foreign`](Error::foreign).
    pub fn exec(&mut self, plugin: &str, program: &str, env: &Environment<'_>, stdin: &[u8]) -> Result<usize> {
        let Buffers { foreign_raw, foreign_text, foreign_error, .. } = &mut *self.work;
        let exit = self.backend.exec(program, env, stdin, foreign_raw)?;
        if exit.code == 0 {
            return Ok(exit.stdout);
        }
        let output = foreign_raw.get(..exit.stdout).unwrap_or_default();
        if crate::result::decode::is_error_object(output, foreign_text) {
            let kept = !self.keep_foreign_error && {
                foreign_error.clear();
                foreign_error.extend_from_slice(output).is_ok()
            };
            if kept {
                let mut error = err!(DELEGATE, "delegated plugin failed", plugin);
                error.foreign = true;
                return Err(error);
            }
        }
        let error = err!(DELEGATE, "netplugin failed", plugin);
        if !exit.stderr.is_empty() {
            put!(&mut error.more(), ": \"", exit.stderr.as_str(), "\"");
        } else if output.is_empty() {
            put!(&mut error.more(), " with no error message");
        } else {
            put!(&mut error.more(), " but its diagnostic message is no JSON object");
        }
        if exit.code > 128 {
            put!(&mut error.more(), ": killed by signal ", exit.code.wrapping_sub(128));
        } else {
            put!(&mut error.more(), ": exit status ", exit.code);
        }
        Err(error)
    }
}
