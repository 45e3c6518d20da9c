//! Which backend lets the pods' traffic through.
//!
//! An accept in one table never overrides a drop in another. So who drops
//! decides: where firewalld runs, it is asked; where another chain on the
//! forward hook may drop, the accept has to stand in its table, and that is
//! iptables' (Docker, kube-proxy and ufw all use it); else our own table does.

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::put;
use picocni_core::session::Session;

use super::conf::{Backend, Conf};
use super::iptables;

/// What a host is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// firewalld runs.
    pub(super) firewalld: bool,
    /// Another chain may drop forwarded packets.
    pub(super) drops: bool,
}

/// The automatic choice.
pub(super) const fn decide(facts: Facts) -> Backend {
    match facts {
        Facts { firewalld: true, .. } => Backend::Firewalld,
        Facts { drops: true, .. } => Backend::Iptables,
        Facts { .. } => Backend::Nftables,
    }
}

/// The backend of a call, if it can be used.
///
/// # Errors
/// Code 50: it cannot; what drops is named.
pub(super) fn choose(conf: &Conf<'_>, session: &mut Session<'_>) -> Result<Backend> {
    let mut place = heapless::String::<{ limits::TAG }>::new();
    let backend = match conf.backend {
        Some(backend) => backend,
        None => {
            let firewalld = session.backend.has_firewalld()?;
            let drops = !firewalld && session.backend.forward_drop(&mut place)?;
            decide(Facts { firewalld, drops })
        }
    };
    match backend {
        Backend::Nftables => session.backend.probe_filter()?,
        Backend::Firewalld => {
            if conf.backend.is_some() && !session.backend.has_firewalld()? {
                return Err(err!(
                    NOT_AVAILABLE,
                    "firewalld does not run",
                    "org.fedoraproject.FirewallD1 has no owner on the system message bus"
                ));
            }
        }
        Backend::Iptables => iptables::probe(session).map_err(|error| because(&place, error))?,
    }
    Ok(backend)
}

/// What drops comes first: the end of long details is cut.
fn because(place: &str, error: Error) -> Error {
    if place.is_empty() {
        return error;
    }
    let explained = err!(
        NOT_AVAILABLE,
        "backend is not available",
        place,
        " may drop what pods send, which takes iptables to let through; or let it through there and set ",
        "\"backend\": \"nftables\" (",
        error.msg()
    );
    put!(&mut explained.more(), ")");
    explained
}
