#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

extern crate std;

mod faults;
mod filter;
mod iptables;
mod links;
mod proof;
mod routing;
mod shared;
mod stored;

use core::net::IpAddr;
use std::boxed::Box;
use std::vec::Vec;

use super::{SimBackend, Snapshot};
use crate::backend::{Backend, Sandbox};
use crate::error::{Error, Result};
use crate::journal::{Journal, Step};
use crate::name::{IfIndex, IfName, Mac};
use crate::net::{Cidr, parse_ip};
use crate::observe::{Address, Link, Ns};
use crate::op::{Change, LinkChange, LinkId, Removal, Undo};

const A: &str = "/run/netns/a";

/// Builds a large value in a frame of its own, so that its copies on the stack
/// of an unoptimised build are gone before the next is built.
#[inline(never)]
fn boxed<T>(make: fn() -> T) -> Box<T> {
    Box::new(make())
}

/// A host with sandbox `a` open.
fn host() -> Box<SimBackend> {
    let mut sim = boxed(SimBackend::new);
    sim.add_sandbox(A).unwrap();
    assert_eq!(sim.open_sandbox(A).unwrap(), Sandbox::Open);
    sim
}

/// What the host holds, boxed at once: an unoptimised build keeps every
/// temporary of a test in its frame.
#[inline(never)]
fn state(sim: &SimBackend) -> Box<Snapshot> {
    let mut state = boxed(Snapshot::new);
    sim.snapshot_into(&mut state);
    state
}

/// The same without what is shared.
#[inline(never)]
fn unshared(sim: &SimBackend) -> Box<Snapshot> {
    let mut state = state(sim);
    state.drop_shared();
    state
}

fn ip(text: &str) -> IpAddr {
    parse_ip(text).unwrap()
}

fn cidr(text: &str) -> Cidr {
    Cidr::parse(text).unwrap()
}

fn veth() -> Change<'static> {
    Change::CreateVeth {
        host: IfName::of("veth1"),
        host_mac: Mac([2, 0, 0, 0, 0, 1]),
        peer: IfName::of("eth0"),
        peer_mac: Mac([2, 0, 0, 0, 0, 2]),
        mtu: 1400,
        master: None,
    }
}

fn set(ns: Ns, name: &str, set: LinkChange<'static>) -> Change<'static> {
    Change::SetLink { ns, link: LinkId::Name(IfName::of(name)), set, undo: Undo::Restore }
}

fn up() -> LinkChange<'static> {
    LinkChange { up: Some(true), ..LinkChange::NONE }
}

/// Applies and gives each report: whether there was an inverse, or the error.
fn reports(backend: &mut dyn Backend, changes: &[Change<'_>]) -> Vec<Result<bool>> {
    let mut all = Vec::new();
    backend.apply(changes, &mut |at, outcome| {
        assert_eq!(at, all.len(), "reported in order, each once");
        all.push(outcome.map(|inverse| inverse.is_some()));
    });
    assert_eq!(all.len(), changes.len());
    all
}

/// Applies one change, then its inverse as the journal keeps it. The state must
/// be another in between and the same in the end.
fn there_and_back(sim: &mut SimBackend, change: Change<'_>) {
    let before = state(sim);
    let mut journal = boxed(Journal::new);
    sim.apply(&[change], &mut |_, outcome| journal.record(&outcome.unwrap().unwrap()).unwrap());
    assert_ne!(before, state(sim), "nothing was changed");
    while let Some(entry) = journal.take_above(0) {
        match entry.step() {
            Step::Remove(removal) => remove(sim, removal).unwrap(),
            Step::Delegate(..) => panic!("no delegate here"),
        }
    }
    assert_eq!(before, state(sim));
}

fn remove(backend: &mut dyn Backend, removal: Removal<'_>) -> Result<()> {
    let mut outcome = Ok(());
    backend.remove(&[removal], &mut |_, result| outcome = result);
    outcome
}

fn index(sim: &mut SimBackend, ns: Ns, name: &str) -> IfIndex {
    link(sim, ns, name).unwrap().index
}

fn link(sim: &mut SimBackend, ns: Ns, name: &str) -> Option<Link> {
    sim.link(ns, &IfName::of(name)).unwrap()
}

fn addresses(sim: &mut SimBackend, ns: Ns, index: IfIndex) -> Vec<Address> {
    let mut all = Vec::new();
    sim.addresses(ns, index, None, &mut |address| all.push(*address)).unwrap();
    all
}

fn code(error: &Error) -> (u32, i32) {
    (error.code().0, error.errno())
}
