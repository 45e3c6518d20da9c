//! The runtime side of CNI (spec 1.1.0, section 3): networks are loaded from
//! their directory, their plugins run as a chain, results are cached.
//!
//! Behaviour, paths and formats are those of libcni, with these differences:
//! - a failed ADD is followed by DEL of the plugins that were called, in
//!   reverse, so that nothing is left of it (see [`add`]);
//! - a list that begins with a chained plugin is refused before anything is done;
//! - `capabilities` is not handed to the plugins;
//! - keys fold in ASCII case, as everywhere in this program;
//! - GC without a list keeps the cached attachments whose sandbox is there (see
//!   [`gc`]), and goes on to the plugins when there is no cache;
//! - a foreign plugin's result of another family is converted for the next one.
//!
//! A plugin that [`Backend::find`](crate::backend::Backend::find) resolves to this program, or does not find
//! although it is built in, runs in process; all others are executed.

mod arena;
mod base64;
mod cache;
mod chain;
mod conflist;
mod files;
mod outcome;
mod reconcile;
mod search;
mod teardown;
mod validate;
mod words;

#[cfg(test)]
mod tests;

pub use cache::DEFAULT_DIR as DEFAULT_CACHE_DIR;
pub use chain::{Chain, ChainMemory};
pub use conflist::{ListMemory, Network, PluginConf};
pub use reconcile::{Report, State, reconcile};
pub use validate::check_order;

use crate::env::Environment;
use crate::error::Result;
use crate::session::Session;
use crate::version::Command;

/// One attachment of one network, and where its files are.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Attachment<'a> {
    /// Network name.
    pub network: &'a str,
    /// Container ID; "" for GC and STATUS.
    pub container_id: &'a str,
    /// Path of the sandbox; "" for GC and STATUS, and for DEL when it is gone.
    pub netns: &'a str,
    /// Interface name in the sandbox; "" for GC and STATUS.
    pub ifname: &'a str,
    /// CNI_ARGS, `K=V;K=V`.
    pub cni_args: &'a str,
    /// Capability arguments: the text of a JSON object, or "".
    pub capability_args: &'a str,
    /// Directory of the network configurations.
    pub conf_dir: &'a str,
    /// Where plugins are, colon-separated.
    pub cni_path: &'a str,
    /// Directory of the result cache; "" is [`DEFAULT_CACHE_DIR`].
    pub cache_dir: &'a str,
}

impl<'a> Attachment<'a> {
    /// The CNI variables of a call.
    fn environment(&self, command: Command) -> Environment<'a> {
        let bare = Environment { command: command.as_str(), path: self.cni_path, ..Environment::default() };
        if matches!(command, Command::Gc | Command::Status | Command::Version) {
            return bare;
        }
        Environment {
            container_id: self.container_id,
            netns: self.netns,
            ifname: self.ifname,
            args: self.cni_args,
            ..bare
        }
    }
}

/// One call of one plugin, as an observer sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct PluginCall<'a> {
    /// The plugin's `type`.
    pub kind: &'a str,
    /// What it is asked.
    pub command: Command,
    /// Place in the list, from 0.
    pub index: usize,
    /// Plugins in the list.
    pub total: usize,
}

/// What happens while a chain runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Event<'a> {
    /// A plugin is about to be called.
    Began(PluginCall<'a>),
    /// It returned.
    Ended {
        /// The call.
        call: PluginCall<'a>,
        /// Whether it succeeded.
        ok: bool,
    },
}

/// Is told of every plugin call.
pub type Observer<'o> = dyn FnMut(Event<'_>) + 'o;

/// Every buffer of the runtime side, owned by the caller; about 545 KiB, of
/// which a call touches what its texts need.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RuntimeMemory {
    /// The network's text.
    pub list: ListMemory,
    /// Requests, results and the cache file.
    pub chain: ChainMemory,
}

impl RuntimeMemory {
    /// Empty memory; `const`, so that it can be static.
    #[must_use]
    pub const fn new() -> Self {
        RuntimeMemory { list: ListMemory::new(), chain: ChainMemory::new() }
    }
}

impl Default for RuntimeMemory {
    fn default() -> Self {
        Self::new()
    }
}

/// ADD: calls every plugin in order, each with the result of the one before,
/// and caches the last one's result, which is returned as JSON text.
///
/// If a plugin or the cache fails, the plugins that were called get a DEL in
/// reverse and nothing is cached. That is left out when this attachment is in
/// the cache already and its sandbox is there: then the earlier ADD's work
/// would be torn down.
///
/// # Errors
/// Code 7: no such network, or a wrong order of plugins. Code 4: container ID,
/// interface name or arguments. Else the plugin's own code, under the phrase
/// `plugin failed`.
pub fn add<'m>(
    session: &mut Session<'_>,
    memory: &'m mut RuntimeMemory,
    attachment: &Attachment<'_>,
    observe: &mut Observer<'_>,
) -> Result<&'m str> {
    on_network(session, memory, attachment, observe, |mut network, chain| network.add(chain))
}

/// CHECK: calls every plugin in order with the cached result. Success without
/// a call if the list says `disableCheck`.
///
/// # Errors
/// Code 1: the list's version is under 0.4.0. Code 6: the cached result is
/// unreadable. Else as [`add`]; the first failure stops.
pub fn check(
    session: &mut Session<'_>,
    memory: &mut RuntimeMemory,
    attachment: &Attachment<'_>,
    observe: &mut Observer<'_>,
) -> Result<()> {
    on_network(session, memory, attachment, observe, |mut network, chain| network.check(chain))
}

/// DEL: calls every plugin in reverse, with the cached result if the list's
/// version is at least 0.4.0, and removes the cache file at the end.
///
/// # Errors
/// As [`add`]; the first failure stops, and the cache file stays.
pub fn del(
    session: &mut Session<'_>,
    memory: &mut RuntimeMemory,
    attachment: &Attachment<'_>,
    observe: &mut Observer<'_>,
) -> Result<()> {
    on_network(session, memory, attachment, observe, |mut network, chain| network.del(chain))
}

/// GC: cached attachments of the network that are not valid get a DEL; from
/// version 1.1.0 on every plugin gets a GC with the valid ones. Nothing is done
/// if the list says `disableGC`.
///
/// `valid` holds (container ID, interface name). `None`, as the peer's tool
/// sends it, does not mean that nothing is valid: then the cached attachments
/// are valid whose sandbox is still there or was never named. Attachments of
/// this network that another cache holds are not known then. Without a cache
/// directory nothing is known at all, and the plugins get no list, by which they
/// remove nothing.
///
/// Of `attachment` the network and the directories are used.
///
/// # Errors
/// The first failure, with the others in its details: every step is tried.
pub fn gc(
    session: &mut Session<'_>,
    memory: &mut RuntimeMemory,
    attachment: &Attachment<'_>,
    valid: Option<&[(&str, &str)]>,
    observe: &mut Observer<'_>,
) -> Result<()> {
    on_network(session, memory, attachment, observe, |mut network, chain| network.gc(chain, valid))
}

/// STATUS: calls every plugin in order; success without a call if the list's
/// version is under 1.1.0.
///
/// # Errors
/// The first plugin's error as it came: one that is
/// [`foreign`](crate::error::Error::foreign) is in `session.work().foreign_error`.
pub fn status(
    session: &mut Session<'_>,
    memory: &mut RuntimeMemory,
    attachment: &Attachment<'_>,
    observe: &mut Observer<'_>,
) -> Result<()> {
    on_network(session, memory, attachment, observe, |mut network, chain| network.status(chain))
}

/// Checks that every plugin of the network is there and supports its version,
/// and that their order can work. Nothing is changed.
///
/// # Errors
/// Code 7, 1; code 105: a plugin does not answer VERSION.
pub fn validate(
    session: &mut Session<'_>,
    memory: &mut RuntimeMemory,
    attachment: &Attachment<'_>,
    observe: &mut Observer<'_>,
) -> Result<()> {
    on_network(session, memory, attachment, observe, |mut network, chain| network.validate(chain))
}

/// Loads the attachment's network and runs `act` on its chain of plugins.
fn on_network<'m, T>(
    session: &mut Session<'_>,
    memory: &'m mut RuntimeMemory,
    attachment: &Attachment<'_>,
    observe: &mut Observer<'_>,
    act: impl FnOnce(Chain<'_, '_>, &'m mut ChainMemory) -> Result<T>,
) -> Result<T> {
    let RuntimeMemory { list, chain } = memory;
    let network = Network::load(session.backend, attachment.conf_dir, attachment.network, list)?;
    act(Chain::new(session, &network, attachment, observe), chain)
}
