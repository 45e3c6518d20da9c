//! What live attachments should have, and a flush of the packet filter took:
//! each is replayed from the result cache.

use super::cache::{self, Content, Info};
use super::chain::{Chain, ChainMemory, Held};
use super::conflist::Network;
use super::files::{FileName, join, next_name};
use super::{Attachment, RuntimeMemory};
use crate::backend::Sandbox;
use crate::err;
use crate::error::{Error, Result};
use crate::session::{Repair, Session};
use crate::version::Command;

/// How one cached attachment was found.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State<'r> {
    /// Nothing was missing.
    Right,
    /// This was missing, and was put back if that was asked for.
    Missing(&'r [Repair]),
    /// It is none that could be live; why.
    Skipped(&'static str),
    /// It could not be put right.
    Failed(&'r Error),
}

/// Is told of each cached attachment: the name of its cache file, and how it was found.
pub type Report<'r> = dyn FnMut(&str, &State<'_>) + 'r;

/// Goes over the result cache of `places` and lets the plugins of each live
/// attachment put back what is missing; without `act` they only say what. Of
/// `places` the network ("" for all) and the directories are used. Plugins that
/// are not built in are not asked.
///
/// # Errors
/// Code 5, 100: the cache cannot be listed. What goes wrong with one attachment is reported.
pub fn reconcile(
    session: &mut Session<'_>,
    memory: &mut RuntimeMemory,
    places: &Attachment<'_>,
    act: bool,
    report: &mut Report<'_>,
) -> Result<()> {
    session.reconcile(act);
    let dir = cache::dir(places.cache_dir)?;
    let mut last = FileName::new();
    let wanted = |name: &str| places.network.is_empty() || cache::may_belong(name, places.network);
    while next_name(session.backend, &dir, &wanted, &mut last)? {
        let path = join(&dir, &last)?;
        let ChainMemory { calls, cache } = &mut memory.chain;
        let content = cache::read(session.backend, &path, cache, &mut calls.call.text);
        let Content::Info(info) = &content else {
            report(&last, &State::Skipped("no cache file of an attachment"));
            continue;
        };
        if !places.network.is_empty() && info.network != places.network {
            continue;
        }
        if info.netns.is_empty() || !matches!(session.open_sandbox(&info.netns), Ok(Sandbox::Open)) {
            report(&last, &State::Skipped("its sandbox is gone"));
            continue;
        }
        let outcome = Network::from_cache(info.config, &mut memory.list)
            .and_then(|network| replay(session, &network, &info.attachment(places), &content, info, calls));
        let found = session.take_repairs();
        match &outcome {
            Err(error) => report(&last, &State::Failed(error)),
            Ok(()) if found.is_empty() => report(&last, &State::Right),
            Ok(()) => report(&last, &State::Missing(&found)),
        }
    }
    Ok(())
}

/// Every plugin of one attachment, in order, with the cached result.
fn replay(
    session: &mut Session<'_>,
    network: &Network<'_>,
    attachment: &Attachment<'_>,
    content: &Content<'_>,
    info: &Info<'_>,
    calls: &mut super::chain::Calls,
) -> Result<()> {
    if network.name != info.network {
        return Err(err!(CONFIG, "cached list is of another network", network.name));
    }
    if !network.is_at_least((0, 4, 0))? {
        return Err(err!(VERSION, "config version does not allow CHECK", network.version, " (needs at least 0.4.0)"));
    }
    let mut nobody = |_: super::Event<'_>| {};
    let mut chain = Chain::new(session, network, attachment, &mut nobody);
    chain.check_words(Command::Check)?;
    let held = cache::result(content, network, &mut calls.call, &mut calls.held)?.map_or(Held::Nothing, Held::Prev);
    for at in 0..network.plugins().len() {
        chain.call(at, Command::Check, attachment, held, calls)?;
    }
    Ok(())
}
