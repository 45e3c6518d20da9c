//! Several links deleted at once: the kernel waits for a grace period once for a
//! whole group (IFLA_GROUP), not once for each link.
//!
//! The links are put into a group that nobody else uses, and that group is
//! deleted. Its number begins with `7069` ("pi"), a hundred thousand times the
//! largest that iproute2 has names for, and before it is used the kernel is asked
//! whether any link has it. So a stranger's link is not hit; and if two calls
//! came upon the same number at the same time, they would delete what both were
//! about to delete.

use picocni_core::backend::Removed;
use picocni_core::digest::hash64;
use picocni_core::limits;
use picocni_core::name::IfName;
use picocni_core::observe::Ns;
use picocni_core::op::Removal;

use crate::apply::request;
use crate::host::Linux;
use crate::wire::link::{DelLink, SetLink, Target};

const ENODEV: i32 = 19;

/// Where our groups begin: there are 65536.
const GROUPS: u32 = 0x7069_0000;
/// No link can be given this: the kernel takes it for -1.
const NO_MTU: u32 = u32::MAX;

/// What became of each link of a batch.
type Marked = [bool; limits::PLAN];

/// How many of the next removals are links that can go together: 0 for less than two.
pub(crate) fn length(removals: &[Removal<'_>]) -> usize {
    let Some(Removal::DeleteLink { ns, .. }) = removals.first() else { return 0 };
    let alike = |removal: &&Removal<'_>| matches!(removal, Removal::DeleteLink { ns: other, .. } if other == ns);
    let count = removals.iter().take_while(alike).count().min(limits::PLAN);
    if count > 1 { count } else { 0 }
}

/// Deletes the links of [`length`], and reports those that are dealt with. The
/// others have to be deleted one by one: those whose place in `left` is set.
pub(crate) fn delete(linux: &mut Linux<'_>, batch: &[Removal<'_>], report: &mut Removed<'_>) -> Marked {
    let mut left = [false; limits::PLAN];
    let Some(Removal::DeleteLink { ns, .. }) = batch.first() else { return left };
    let ns = *ns;
    let group = number(batch);
    if !is_empty(linux, ns, group) {
        left.iter_mut().for_each(|left| *left = true);
        return left;
    }
    let mut joined = [false; limits::PLAN];
    for (at, (removal, (left, joined))) in batch.iter().zip(left.iter_mut().zip(&mut joined)).enumerate() {
        let Removal::DeleteLink { name, .. } = removal else { continue };
        match join(linux, ns, name, group) {
            Ok(()) => *joined = true,
            Err(ENODEV) => report(at, Ok(())),
            Err(_) => *left = true,
        }
    }
    if !joined.contains(&true) {
        return left;
    }
    let outcome = request(linux, ns, &|batch, seq| DelLink::Group(group).emit(batch, seq));
    for (at, (removal, (left, joined))) in batch.iter().zip(left.iter_mut().zip(joined)).enumerate() {
        let Removal::DeleteLink { name, .. } = removal else { continue };
        match &outcome {
            _ if !joined => {}
            Ok(()) => report(at, Ok(())),
            Err(_) => {
                // One that cannot be deleted keeps the others: back to where links are by default.
                let _ = join(linux, ns, name, 0);
                *left = true;
            }
        }
    }
    left
}

/// A number of ours that depends on the first link's name.
fn number(batch: &[Removal<'_>]) -> u32 {
    let hash = match batch.first() {
        Some(Removal::DeleteLink { name, .. }) => hash64(&[name.as_str().as_bytes()]),
        _ => 0,
    };
    let [low, high, ..] = hash.to_le_bytes();
    GROUPS | u32::from(u16::from_le_bytes([low, high]))
}

fn join(linux: &mut Linux<'_>, ns: Ns, name: &IfName, group: u32) -> Result<(), i32> {
    let set = SetLink { group: Some(group), ..SetLink::new(Target::Name(name.as_str())) };
    request(linux, ns, &|batch, seq| set.emit(batch, seq)).map_err(|refusal| refusal.errno)
}

/// Whether a group has no link: a change of all links of a group succeeds for an
/// empty one even if it is impossible, and otherwise fails before anything is set.
fn is_empty(linux: &mut Linux<'_>, ns: Ns, group: u32) -> bool {
    let set = SetLink { group: Some(group), mtu: Some(NO_MTU), ..SetLink::new(Target::Index(0)) };
    request(linux, ns, &|batch, seq| set.emit(batch, seq)).is_ok()
}
