//! What comes after ADD: CHECK, DEL, GC and STATUS of a network.

use super::Attachment;
use super::cache::{self, Content, Info};
use super::chain::{Calls, Chain, ChainMemory, Held};
use super::files::{FileName, Path, in_file, join, next_name};
use crate::backend::Sandbox;
use crate::err;
use crate::error::{Error, Failures, Result};
use crate::json::Writer;
use crate::limits;
use crate::name::{IfName, is_identifier};
use crate::version::Command;

/// Attachments to keep: (container ID, interface name).
type Valid<'a> = Option<&'a [(&'a str, &'a str)]>;

impl Chain<'_, '_> {
    /// Calls every plugin in order with the cached result; see [`check`](super::check).
    ///
    /// # Errors
    /// See [`check`](super::check).
    pub fn check(&mut self, memory: &mut ChainMemory) -> Result<()> {
        self.check_words(Command::Check)?;
        if !self.network.is_at_least((0, 4, 0))? {
            return Err(err!(
                VERSION,
                "config version does not allow CHECK",
                "configuration version \"",
                self.network.version,
                "\" does not support the CHECK command (needs at least 0.4.0)"
            ));
        }
        if self.network.disable_check {
            return Ok(());
        }
        let path = cache::path(self.attachment)?;
        let ChainMemory { calls, cache } = memory;
        let content = cache::read(self.session.backend, &path, cache, &mut calls.call.text);
        let cached = cache::result(&content, self.network, &mut calls.call, &mut calls.held)
            .map_err(|error| in_file(error, &path))?;
        let held = cached.map_or(Held::Nothing, Held::Prev);
        for at in 0..self.network.plugins().len() {
            self.call(at, Command::Check, self.attachment, held, calls)?;
        }
        Ok(())
    }

    /// Calls every plugin in reverse and forgets the result; see [`del`](super::del).
    ///
    /// # Errors
    /// See [`del`](super::del).
    pub fn del(&mut self, memory: &mut ChainMemory) -> Result<()> {
        self.check_words(Command::Del)?;
        let path = cache::path(self.attachment)?;
        let ChainMemory { calls, cache } = memory;
        let content = cache::read(self.session.backend, &path, cache, &mut calls.call.text);
        self.del_cached(self.attachment, &path, &content, calls)
    }

    /// DEL of one attachment whose cache file was read.
    fn del_cached(
        &mut self,
        attachment: &Attachment<'_>,
        path: &str,
        content: &Content<'_>,
        calls: &mut Calls,
    ) -> Result<()> {
        let mut held = Held::Nothing;
        if self.network.is_at_least((0, 4, 0))? {
            match cache::result(content, self.network, &mut calls.call, &mut calls.held) {
                Ok(cached) => held = cached.map_or(Held::Nothing, Held::Prev),
                // A power cut leaves such files. It must not keep anything from being deleted.
                Err(_) => cache::remove(self.session.backend, path)?,
            }
        }
        for at in (0..self.network.plugins().len()).rev() {
            self.call(at, Command::Del, attachment, held, calls)?;
        }
        cache::remove(self.session.backend, path)
    }

    /// Removes what belongs to no valid attachment; see [`gc`](super::gc).
    ///
    /// # Errors
    /// See [`gc`](super::gc).
    pub fn gc(&mut self, memory: &mut ChainMemory, valid: Valid<'_>) -> Result<()> {
        if self.network.disable_gc {
            return Ok(());
        }
        self.attachment.environment(Command::Gc).validate()?;
        let dir = cache::dir(self.attachment.cache_dir)?;
        let ChainMemory { calls, cache } = memory;
        let mut failures = Failures::new();
        let mut last = FileName::new();
        while let Some(path) = self.next_cached(&dir, &mut last)? {
            let content = cache::read(self.session.backend, &path, cache, &mut calls.call.text);
            let Content::Info(info) = &content else {
                continue;
            };
            if !self.is_ours(info) || self.is_valid(info, valid) {
                continue;
            }
            let stale = info.attachment(self.attachment);
            failures.note(self.del_cached(&stale, &path, &content, calls).map_err(|error| {
                let details = error.details();
                error.as_phrase(&"failed to delete stale attachment").with_details(&[
                    &stale.container_id,
                    &" ",
                    &stale.ifname,
                    &": ",
                    &details,
                ])
            }));
        }
        if self.network.is_at_least((1, 1, 0))? {
            let held = self.hold_valid(calls, cache, &dir, valid)?;
            for at in 0..self.network.plugins().len() {
                failures.note(self.call(at, Command::Gc, self.attachment, held, calls).map(|_| ()));
            }
        }
        failures.into_result()
    }

    /// Puts GC's list of valid attachments into `calls.held`.
    fn hold_valid(&mut self, calls: &mut Calls, cache: &mut [u8], dir: &str, valid: Valid<'_>) -> Result<Held> {
        let Calls { held, call, .. } = calls;
        let mut writer = Writer::new(held);
        writer.begin_array();
        if let Some(valid) = valid {
            for (container_id, ifname) in valid {
                write_attachment(&mut writer, container_id, ifname);
            }
        } else {
            if !matches!(self.session.backend.list(dir, &mut |_| {}), Ok(true)) {
                return Ok(Held::Nothing);
            }
            let mut last = FileName::new();
            while let Some(path) = self.next_cached(dir, &mut last)? {
                let content = cache::read(self.session.backend, &path, cache, &mut call.text);
                let Content::Info(info) = &content else {
                    continue;
                };
                if self.is_ours(info) && self.is_valid(info, None) {
                    write_attachment(&mut writer, &info.container_id, &info.ifname);
                }
            }
        }
        writer.end_array();
        let length = writer
            .finish()
            .map_err(|_| Error::limit("REQUEST", limits::REQUEST).with(&" bytes of valid attachments"))?;
        Ok(Held::Valid(length))
    }

    /// Steps to the next cache file whose name may be that of an attachment of
    /// this network. A cache that cannot be listed is empty.
    fn next_cached(&mut self, dir: &str, last: &mut FileName) -> Result<Option<Path>> {
        let network = self.network.name;
        match next_name(self.session.backend, dir, &|name| cache::may_belong(name, network), last) {
            Ok(true) => join(dir, last).map(Some),
            Ok(false) | Err(_) => Ok(None),
        }
    }

    /// Whether a cached attachment is one of this network, with words that can
    /// be handed to plugins.
    fn is_ours(&self, info: &Info<'_>) -> bool {
        info.network == self.network.name && is_identifier(&info.container_id) && IfName::new(&info.ifname).is_ok()
    }

    /// Whether a cached attachment is in the list; without a list, whether its
    /// sandbox is still there. A path that is in doubt is taken to be there.
    fn is_valid(&mut self, info: &Info<'_>, valid: Valid<'_>) -> bool {
        match valid {
            Some(valid) => {
                valid.iter().any(|(container_id, ifname)| info.container_id == *container_id && info.ifname == *ifname)
            }
            None => info.netns.is_empty() || self.session.backend.open_sandbox(&info.netns) != Ok(Sandbox::Missing),
        }
    }

    /// Calls every plugin in order; see [`status`](super::status).
    ///
    /// # Errors
    /// See [`status`](super::status).
    pub fn status(&mut self, memory: &mut ChainMemory) -> Result<()> {
        self.attachment.environment(Command::Status).validate()?;
        if !self.network.is_at_least((1, 1, 0))? {
            return Ok(());
        }
        for at in 0..self.network.plugins().len() {
            self.call_raw(at, Command::Status, self.attachment, Held::Nothing, &mut memory.calls)?;
        }
        Ok(())
    }
}

fn write_attachment(writer: &mut Writer<'_>, container_id: &str, ifname: &str) {
    writer.begin_object().key("containerID").str(container_id).key("ifname").str(ifname).end_object();
}
