//! Network policies in the kernel's packet filter.

use core::net::IpAddr;

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::name::IfIndex;
use picocni_core::op::{Direction, Policy};

use crate::errno;
use crate::host::{Memory, over_send};
use crate::socket::Socket;
use crate::transaction::{self, EBUSY, EEXIST, ENOENT, TRIES};
use crate::wire::netfilter::policy::{self as layout, BASE_CHAINS, Key, Place, chain_name};
use crate::wire::netfilter::{guard, layout as tables};
use crate::wire::nftables::{
    self, Chain, ChainView, Comment, Ct, Expr, Reg, RuleView, Table, Transaction, get_chain, get_table,
};
use crate::wire::nlmsg::Batch;

const EPERM: i32 = 1;
/// Elements that lead to an owner's chains.
type Deletions = heapless::Vec<(Key, Direction), { (limits::POLICY_ADDRESSES + 1) * 2 }>;

/// The socket and the buffers.
struct Kernel<'k> {
    socket: &'k mut Socket,
    memory: &'k mut Memory,
}

impl Kernel<'_> {
    fn has(&mut self, emit: &mut dyn FnMut(&mut Batch<'_>, u32)) -> Result<bool> {
        transaction::has(self.socket, self.memory, emit)
    }

    fn has_chain(&mut self, table: Table<'_>, name: &str) -> Result<bool> {
        self.has(&mut |batch, seq| get_chain(batch, seq, table, name))
    }

    fn transact(&mut self, write: &mut dyn FnMut(&mut Transaction<'_, '_>)) -> Result<Option<i32>> {
        transaction::transact(self.socket, self.memory, write)
    }

    /// Hands over the chain that a key's packets are led to and its owner.
    fn led(&mut self, key: Key, direction: Direction, each: &mut dyn FnMut(&str, &str)) -> Result<()> {
        let seq = self.socket.take_seq(1);
        let mut batch = Batch::new(&mut self.memory.send);
        layout::get(&mut batch, seq, key, direction);
        let request = batch.finish().map_err(|_| over_send())?;
        self.socket
            .get(request, seq, &[ENOENT], &mut self.memory.receive, &mut |message| {
                let elements = nftables::parse_elements(message).into_iter().flatten();
                for element in elements {
                    let (chain, owner) = layout::decode(&element).unwrap_or_default();
                    each(chain, owner);
                }
            })
            .map(|_| ())
            .map_err(|refusal| errno::kernel("look up", &"nftables element", refusal.errno, &refusal.words))
    }

    /// The elements of an owner among those of some keys.
    ///
    /// # Errors
    /// Code 103: another attachment has one, if `exclusive`.
    fn own(&mut self, tag: &str, keys: &mut dyn Iterator<Item = Key>, exclusive: bool) -> Result<Deletions> {
        let mut own = Deletions::new();
        for key in keys {
            for direction in Direction::ALL {
                let name = chain_name(tag, direction);
                let mut outcome = Ok(());
                self.led(key, direction, &mut |chain, owner| {
                    if chain == name {
                        let _ = own.push((key, direction));
                    } else if exclusive {
                        outcome = Err(taken(key, owner));
                    }
                })?;
                outcome?;
            }
        }
        Ok(own)
    }
}

fn taken(key: Key, owner: &str) -> Error {
    match key {
        Key::Address(ip) => err!(
            CONFLICT,
            "address has a policy of another attachment",
            ip,
            ": held by ",
            owner,
            "; networks with policies need addresses of their own"
        ),
        Key::Port(index) => {
            err!(CONFLICT, "bridge port has a policy of another attachment", "link ", index, ": held by ", owner)
        }
    }
}

fn keys<'a>(addresses: &'a [IpAddr], port: Option<IfIndex>) -> impl Iterator<Item = Key> + 'a {
    addresses.iter().map(|ip| Key::Address(*ip)).chain(port.map(|port| Key::Port(port.0)))
}

fn places(port: Option<IfIndex>) -> impl Iterator<Item = Place> {
    Place::ALL.into_iter().filter(move |place| *place == Place::Routed || port.is_some())
}

/// What one place lacks.
#[derive(Debug, Clone, Copy)]
struct Needs {
    place: Place,
    table: bool,
    base: bool,
    /// Chains of the owner that are there, as [`Direction::ALL`].
    chains: [bool; 2],
}

impl Needs {
    fn look(kernel: &mut Kernel<'_>, place: Place, tag: &str) -> Result<Self> {
        let table = place.table();
        let mut needs = Needs { place, table: false, base: true, chains: [false; 2] };
        needs.table = !kernel.has(&mut |batch, seq| get_table(batch, seq, table))?;
        if needs.table {
            return Ok(needs);
        }
        needs.base = false;
        for name in BASE_CHAINS {
            needs.base |= !kernel.has_chain(table, name)?;
        }
        for (there, direction) in needs.chains.iter_mut().zip(Direction::ALL) {
            *there = kernel.has_chain(table, &chain_name(tag, direction))?;
        }
        Ok(needs)
    }

    fn write(&self, tx: &mut Transaction<'_, '_>) {
        match (self.table, self.place) {
            (true, Place::Routed) => {
                tables::ensure_table(tx);
            }
            (true, Place::Bridged) => guard::ensure_table(tx),
            (false, _) => {}
        }
        if self.base {
            layout::ensure(tx, self.place);
        }
    }
}

/// Enforces a policy in the place of an earlier one of the same owner, in one
/// transaction.
#[inline(never)]
pub(crate) fn enforce(socket: &mut Socket, memory: &mut Memory, policy: &Policy<'_>) -> Result<()> {
    // An element is also the last of a transaction, which must be acknowledged.
    if keys(policy.addresses, policy.port).next().is_none() || !(policy.ingress || policy.egress) {
        return Err(err!(INTERNAL, "a policy for nobody", policy.tag));
    }
    let kernel = &mut Kernel { socket, memory };
    let owner = Comment::new(policy.tag).map_err(|_| Error::limit("TAG", limits::TAG))?;
    let text = layout::digest_text(policy);
    let digest = Comment::new(&text).map_err(|_| Error::limit("TAG", limits::TAG))?;
    let mut refused = None;
    for _ in 0..TRIES {
        let mut needs: heapless::Vec<Needs, 2> = heapless::Vec::new();
        for place in places(policy.port) {
            let _ = needs.push(Needs::look(kernel, place, policy.tag)?);
        }
        let own = kernel.own(policy.tag, &mut keys(policy.addresses, policy.port), true)?;
        refused = kernel.transact(&mut |tx| {
            needs.iter().for_each(|needs| needs.write(tx));
            own.iter().for_each(|(key, direction)| layout::del(tx, *key, *direction));
            for needs in &needs {
                for (direction, there) in Direction::ALL.into_iter().zip(needs.chains) {
                    if policy.isolates(direction) {
                        layout::write(tx, needs.place, policy, direction, owner, digest);
                    } else if there {
                        nftables::del_chain(tx, needs.place.table(), &chain_name(policy.tag, direction));
                    }
                }
            }
            for direction in Direction::ALL.into_iter().filter(|direction| policy.isolates(*direction)) {
                let chain = chain_name(policy.tag, direction);
                for key in keys(policy.addresses, policy.port) {
                    layout::add(tx, key, direction, &chain, owner);
                }
            }
        })?;
        match refused {
            None => return Ok(()),
            // Somebody else made or removed a thing between look and act.
            Some(ENOENT | EEXIST | EBUSY) => {}
            Some(_) => break,
        }
    }
    Err(errno::kernel("enforce", &"network policy", refused.unwrap_or(0), ""))
}

/// Stops enforcing what is an owner's; what is not there is success.
#[inline(never)]
pub(crate) fn lift(
    socket: &mut Socket,
    memory: &mut Memory,
    tag: &str,
    addresses: &[IpAddr],
    port: Option<IfIndex>,
) -> Result<()> {
    let kernel = &mut Kernel { socket, memory };
    let mut refused = None;
    for _ in 0..TRIES {
        let own = kernel.own(tag, &mut keys(addresses, port), false)?;
        let mut chains: heapless::Vec<(Place, Direction), 4> = heapless::Vec::new();
        for place in places(port) {
            for direction in Direction::ALL {
                if kernel.has_chain(place.table(), &chain_name(tag, direction))? {
                    let _ = chains.push((place, direction));
                }
            }
        }
        if own.is_empty() && chains.is_empty() {
            return Ok(());
        }
        refused = kernel.transact(&mut |tx| {
            own.iter().for_each(|(key, direction)| layout::del(tx, *key, *direction));
            for (place, direction) in &chains {
                nftables::del_chain(tx, place.table(), &chain_name(tag, *direction));
            }
        })?;
        match refused {
            None => return Ok(()),
            Some(ENOENT) => {}
            Some(_) => break,
        }
    }
    Err(errno::kernel("lift", &"network policy", refused.unwrap_or(0), ""))
}

/// What of a policy is not as it was set.
#[inline(never)]
pub(crate) fn lacks(socket: &mut Socket, memory: &mut Memory, policy: &Policy<'_>) -> Result<Option<&'static str>> {
    let kernel = &mut Kernel { socket, memory };
    let digest = layout::digest_text(policy);
    for place in places(policy.port) {
        for name in BASE_CHAINS {
            if !kernel.has_base(place, name)? {
                return Ok(Some("a chain that all policies share"));
            }
        }
        for direction in Direction::ALL.into_iter().filter(|direction| policy.isolates(*direction)) {
            let (mut count, mut others) = (0usize, false);
            kernel.rules(place.table(), &chain_name(policy.tag, direction), &mut |rule| match rule {
                None => (count, others) = (0, false),
                Some(rule) => {
                    count = count.saturating_add(1);
                    others |= rule.comment != Some(digest.as_str());
                }
            })?;
            if others || count != layout::rules(policy, direction) {
                return Ok(Some("its rules"));
            }
        }
    }
    for key in keys(policy.addresses, policy.port) {
        for direction in Direction::ALL.into_iter().filter(|direction| policy.isolates(*direction)) {
            let name = chain_name(policy.tag, direction);
            let mut led = false;
            kernel.led(key, direction, &mut |chain, owner| led = chain == name && owner == policy.tag)?;
            if !led {
                return Ok(Some(match key {
                    Key::Address(_) => "an address",
                    Key::Port(_) => "the bridge port",
                }));
            }
        }
    }
    Ok(None)
}

impl Kernel<'_> {
    /// Whether a base chain is there with as many rules as we give it.
    fn has_base(&mut self, place: Place, name: &str) -> Result<bool> {
        let seq = self.socket.take_seq(1);
        let mut batch = Batch::new(&mut self.memory.send);
        get_chain(&mut batch, seq, place.table(), name);
        let request = batch.finish().map_err(|_| over_send())?;
        let mut whole = false;
        self.socket
            .get(request, seq, &[ENOENT], &mut self.memory.receive, &mut |message| {
                let wanted = u32::try_from(layout::base_rules(place)).ok();
                whole =
                    ChainView::parse(message).is_some_and(|chain| chain.hook.is_some() && Some(chain.used) == wanted);
            })
            .map_err(|refusal| errno::kernel("look up", &"nftables chain", refusal.errno, &refusal.words))?;
        Ok(whole)
    }

    /// The rules of a chain; `None` before they are told again.
    fn rules(&mut self, table: Table<'_>, chain: &str, each: &mut dyn FnMut(Option<RuleView<'_>>)) -> Result<()> {
        let Memory { send, receive } = &mut *self.memory;
        let outcome = self.socket.dump(
            &mut |seq, buffer| {
                let mut batch = Batch::new(buffer);
                nftables::dump_rules(&mut batch, seq, table, chain);
                batch.finish().map_or(0, <[u8]>::len)
            },
            send,
            receive,
            &mut |message| match message {
                None => each(None),
                Some(message) => {
                    if let Some(rule) = RuleView::parse(message).filter(|rule| rule.chain == chain) {
                        each(Some(rule));
                    }
                }
            },
        );
        match outcome {
            Err(refusal) if refusal.errno != ENOENT => {
                Err(errno::kernel("list", &"nftables rules", refusal.errno, &refusal.words))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a rule of the bridge family may ask for the state of a connection. If
/// our chain that does is not there yet, it is tried in a transaction that leaves
/// nothing; the kernel loads the module that it needs.
pub(crate) fn tracks_bridges(socket: &mut Socket, memory: &mut Memory) -> Result<bool> {
    let kernel = &mut Kernel { socket, memory };
    let [chain, _] = BASE_CHAINS;
    if kernel.has_chain(Place::Bridged.table(), chain)? {
        return Ok(true);
    }
    const TRIAL: Table<'static> = Table { family: nftables::Family::Bridge, name: "picocni-trial" };
    let refused = kernel.transact(&mut |tx| {
        nftables::new_table(tx, TRIAL, None, 0);
        nftables::new_chain(tx, &Chain { table: TRIAL, name: "trial", base: None, comment: None }, 0);
        nftables::new_rule(tx, TRIAL, "trial", &[Expr::Ct(Ct::State, Reg::R1)], None);
        nftables::del_table(tx, TRIAL);
    })?;
    match refused {
        Some(EPERM) => Err(errno::kernel("try", &"connection tracking on bridges", EPERM, "")),
        refused => Ok(refused.is_none()),
    }
}
