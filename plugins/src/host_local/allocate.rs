//! One address out of each range set.

use core::net::IpAddr;

use picocni_core::err;
use picocni_core::error::{Code, Error, Phrase, Result};
use picocni_core::ipam::{AllocationError, Candidate, RangeSet, Search};
use picocni_core::limits::{self, BITMAP_WORDS, RANGE_SETS};
use picocni_core::net::{Cidr, parse_ip};
use picocni_core::op::{Change, Plan};
use picocni_core::plugin::Call;
use picocni_core::put;
use picocni_core::result::{AddResult, IpConfig};
use picocni_core::session::Session;

use super::conf::Conf;
use super::lease::{Holder, Store};

type Searches<'r, 'm> = heapless::Vec<Search<'r, 'm>, RANGE_SETS>;
type Requested = heapless::Vec<IpAddr, { limits::REQUESTED_IPS }>;

/// Reserves one address per set. A failure in a later set leaves nothing: the
/// journal gives back what earlier sets reserved.
// Apart from its caller, so that the bitmap and the config are not in one frame.
#[inline(never)]
pub(super) fn allocate(
    conf: &Conf<'_>,
    call: &Call<'_>,
    store: &Store,
    session: &mut Session<'_>,
    result: &mut AddResult,
) -> Result<()> {
    let mut words = [0u64; BITMAP_WORDS];
    // Every set searches through its own part of the bitmap.
    let share = BITMAP_WORDS.checked_div(conf.sets.len()).unwrap_or(BITMAP_WORDS).max(1);
    let mut searches = Searches::new();
    for (at, (set, window)) in conf.sets.iter().zip(words.chunks_mut(share)).enumerate() {
        let set = RangeSet::new(set).map_err(|error| err!(CONFIG, "invalid range set", error))?;
        let last = store.last(session, at)?;
        let search = Search::new(set, last, window).ok_or_else(|| Error::limit("BITMAP_WORDS", BITMAP_WORDS))?;
        let _ = searches.push(search);
    }
    let held = mark_leases(call, store, session, &mut searches)?;
    let mut requested = conf.requested.clone();
    for (at, (set, search)) in conf.sets.iter().zip(searches.iter_mut()).enumerate() {
        let set = RangeSet::new(set).map_err(|error| err!(CONFIG, "invalid range set", error))?;
        let found = match take_request(&set, &mut requested) {
            Some(ip) => request(&set, ip, store, session),
            None => next(&set, search, &held, call, store, session),
        };
        let candidate = found.map_err(|error| in_range(at, error))?;
        reserve(at, &candidate, call, store, session)?;
        let address = Cidr::new(candidate.address, candidate.prefix)
            .ok_or_else(|| err!(INTERNAL, "a range gave a prefix that does not fit"))?;
        let ip = IpConfig { interface: None, address, gateway: Some(candidate.gateway) };
        result.ips.push(ip).map_err(|_| Error::limit("IPS", limits::IPS))?;
    }
    if requested.is_empty() {
        return Ok(());
    }
    let error = err!(CONFIG, "failed to allocate all requested IPs");
    for (at, ip) in requested.iter().enumerate() {
        put!(&mut error.more(), if at > 0 { "," } else { "" }, *ip);
    }
    Err(error.with(&" in none of the ranges"))
}

/// Marks every lease; gives those that this attachment holds already.
fn mark_leases(
    call: &Call<'_>,
    store: &Store,
    session: &mut Session<'_>,
    searches: &mut Searches<'_, '_>,
) -> Result<super::lease::Held> {
    let mut held = super::lease::Held::new();
    let owner = call.owner();
    session.backend.leases(&store.dir, &mut |ip, content| {
        for search in searches.iter_mut() {
            search.mark(ip);
        }
        if Holder::read(content).is_some_and(|holder| holder.is(&owner)) {
            let _ = held.push(ip);
        }
    })?;
    Ok(held)
}

/// The first request that lies in the set, taken out of the list.
fn take_request(set: &RangeSet<'_>, requested: &mut Requested) -> Option<IpAddr> {
    let at = requested.iter().position(|ip| set.position(*ip).is_some())?;
    let ip = requested.get(at).copied()?;
    requested.retain(|other| *other != ip);
    Some(ip)
}

fn request(set: &RangeSet<'_>, ip: IpAddr, store: &Store, session: &mut Session<'_>) -> Result<Candidate> {
    let candidate = set.request(ip).map_err(|error| refused(&error))?;
    let mut path = heapless::String::<{ limits::PATH }>::new();
    put!(&mut path, store.dir, "/", candidate.address);
    if session.backend.read_file(&path, &mut [])?.is_some() {
        return Err(refused(&AllocationError::NotAvailable(ip, *set)).with(&": lease ").with(&path));
    }
    Ok(candidate)
}

fn next(
    set: &RangeSet<'_>,
    search: &mut Search<'_, '_>,
    held: &[IpAddr],
    call: &Call<'_>,
    store: &Store,
    session: &mut Session<'_>,
) -> Result<Candidate> {
    if let Some(own) = held.iter().find(|ip| set.position(**ip).is_some()) {
        return Err(err!(
            CONFLICT,
            "duplicate allocation is not allowed",
            *own,
            " has been allocated to ",
            call.env.container_id,
            ", duplicate allocation is not allowed"
        ));
    }
    loop {
        if let Some(candidate) = search.next_free() {
            return Ok(candidate);
        }
        if !search.advance() {
            return Err(refused(&AllocationError::Exhausted(*set)));
        }
        session.backend.list(&store.dir, &mut |name| {
            if let Some(ip) = parse_ip(name) {
                search.mark(ip);
            }
        })?;
    }
}

fn refused(error: &AllocationError<'_>) -> Error {
    let (code, msg): (Code, Phrase) = match error {
        AllocationError::NotInSet(..) => (Code::CONFIG, &"requested address is in no range"),
        AllocationError::IsGateway(_) => (Code::CONFIG, &"requested address is the gateway"),
        AllocationError::NotAvailable(..) => (Code::CONFLICT, &"requested address is not available"),
        AllocationError::Exhausted(_) => (Code::EXHAUSTED, &"no IP addresses available in range set"),
    };
    Error::of(code, msg, "", &[]).with(error)
}

/// Puts the range's number before an error's details.
fn in_range(at: usize, error: Error) -> Error {
    let details = error.details();
    error.with_details(&[&"failed to allocate for range ", &at, &": ", &details])
}

// A plan is too large to lie beside the bitmap.
#[inline(never)]
fn reserve(at: usize, candidate: &Candidate, call: &Call<'_>, store: &Store, session: &mut Session<'_>) -> Result<()> {
    let mut plan = Plan::new();
    let (dir, ip) = (store.dir.as_str(), candidate.address);
    plan.change(Change::ReserveLease { dir, ip, container: call.env.container_id, ifname: call.env.ifname })?;
    plan.change(Change::NoteLastLease { dir, set: u32::try_from(at).unwrap_or(0), ip })?;
    session.apply(&plan)
}
