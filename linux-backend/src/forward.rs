//! Who else may drop what this host forwards: the base chains on the forward
//! hook, and what their rules lead to, in memory of a fixed size.

use picocni_core::error::Result;
use picocni_core::limits;
use picocni_core::put;
use picocni_core::text::fits;

use crate::errno;
use crate::host::Memory;
use crate::socket::{Refusal, Socket};
use crate::wire::netfilter::layout;
use crate::wire::nftables::{ChainView, Effect, Family, Hook, Table, dump_chains, dump_rules, effects};
use crate::wire::nlmsg::{Batch, Message};

const EPERM: i32 = 1;

/// Chains that are looked into. Docker's forward chain leads to seven, kube-proxy's to as many.
const CHAINS: usize = 64;
/// Bytes of a table's or a chain's name. iptables allows 28; nobody's on the
/// forward hook come near the kernel's 255 and 127.
const NAME: usize = 64;

type Name = heapless::String<NAME>;
/// Where packets may be dropped, in words.
pub(crate) type Place = heapless::String<{ limits::TAG }>;

#[derive(Clone, PartialEq, Eq)]
struct Chain {
    family: Family,
    table: Name,
    name: Name,
}

/// Chains that packets come through, each once, and whether one of them may drop.
struct Walk<'p> {
    chains: heapless::Vec<Chain, CHAINS>,
    place: &'p mut Place,
    drops: bool,
}

impl Walk<'_> {
    /// The first place that is found stays.
    fn found(&mut self, family: Family, table: &str, chain: &str, why: &str) {
        if !self.drops {
            self.drops = true;
            self.place.clear();
            put!(self.place, "table ", family.as_str(), " ", table);
            if !chain.is_empty() {
                put!(self.place, ", chain ", chain, why);
            }
        }
    }

    /// What cannot be looked into may drop.
    fn visit(&mut self, family: Family, table: &str, name: &str) {
        let (own_table, own_name): (Option<Name>, Option<Name>) = (fits(&[&table]), fits(&[&name]));
        let (Some(own_table), Some(own_name)) = (own_table, own_name) else {
            return self.found(family, "with a long name", "", "");
        };
        let chain = Chain { family, table: own_table, name: own_name };
        if !self.chains.contains(&chain) && self.chains.push(chain).is_err() {
            self.found(family, table, name, " and many more");
        }
    }

    /// A base chain on the forward hook that is not ours.
    fn base(&mut self, message: &Message<'_>) {
        let Some(chain) = ChainView::parse(message) else { return };
        let Some(family) = Family::forwarding(chain.family) else { return };
        let hooked = chain.hook.is_some_and(|(hook, _)| hook == u32::from(Hook::Forward as u8));
        if !hooked || (Table { family, name: chain.table } == layout::TABLE) {
            return;
        }
        if chain.drops_by_default {
            self.found(family, chain.table, chain.name, " (policy drop)");
        }
        self.visit(family, chain.table, chain.name);
    }

    fn rule(&mut self, chain: &Chain, message: &Message<'_>) {
        effects(message, &mut |effect| match effect {
            Effect::Drop => self.found(chain.family, &chain.table, &chain.name, ""),
            Effect::To(name) => self.visit(chain.family, &chain.table, name),
        });
    }
}

/// Whether anything but this program may drop forwarded packets.
pub(crate) fn may_drop(socket: &mut Socket, memory: &mut Memory, place: &mut Place) -> Result<bool> {
    let Memory { send, receive } = memory;
    let mut walk = Walk { chains: heapless::Vec::new(), place, drops: false };
    let outcome = socket.dump(
        &mut |seq, buffer| {
            let mut batch = Batch::new(buffer);
            dump_chains(&mut batch, seq);
            batch.finish().map_or(0, <[u8]>::len)
        },
        send,
        receive,
        &mut |message| {
            if let Some(message) = message {
                walk.base(message);
            }
        },
    );
    if let Err(refusal) = outcome {
        return unknown(&refusal, &mut walk).map(|()| walk.drops);
    }
    let mut at = 0usize;
    while let Some(chain) = walk.chains.get(at).filter(|_| !walk.drops).cloned() {
        at = at.saturating_add(1);
        let outcome = socket.dump(
            &mut |seq, buffer| {
                let mut batch = Batch::new(buffer);
                let table = Table { family: chain.family, name: &chain.table };
                dump_rules(&mut batch, seq, table, &chain.name);
                batch.finish().map_or(0, <[u8]>::len)
            },
            send,
            receive,
            &mut |message| {
                if let Some(message) = message {
                    walk.rule(&chain, message);
                }
            },
        );
        if let Err(refusal) = outcome {
            unknown(&refusal, &mut walk)?;
        }
    }
    Ok(walk.drops)
}

/// Rules that change all the time may drop; a kernel without nftables has none.
fn unknown(refusal: &Refusal, walk: &mut Walk<'_>) -> Result<()> {
    const EAGAIN: i32 = 11;
    match refusal.errno {
        EPERM => Err(errno::kernel("list", &"nftables chains", refusal.errno, &refusal.words)),
        EAGAIN => {
            walk.found(Family::Unspec, "that keeps changing", "", "");
            Ok(())
        }
        // Also a chain that is gone meanwhile.
        _ => Ok(()),
    }
}

/// Whether iptables-legacy has a filter table in this namespace.
pub(crate) fn legacy(place: &mut Place) -> bool {
    for (v6, who) in [(false, "iptables-legacy"), (true, "ip6tables-legacy")] {
        if crate::iptables::has_legacy_table(v6, "filter") {
            place.clear();
            put!(place, "table filter of ", who);
            return true;
        }
    }
    false
}
