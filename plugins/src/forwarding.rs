//! The host passes packets on for its pods.

use picocni_core::error::Result;
use picocni_core::observe::Ns;
use picocni_core::op::{Change, OnFailure, Plan};
use picocni_core::session::Session;

/// Plans to turn forwarding of a family on, unless it is.
///
/// # Errors
/// Code 5: the sysctl cannot be read.
pub fn plan(v6: bool, session: &mut Session<'_>, plan: &mut Plan<'_>) -> Result<()> {
    let key = if v6 { "net/ipv6/conf/all/forwarding" } else { "net/ipv4/ip_forward" };
    let mut value = heapless::String::new();
    if session.backend.sysctl(Ns::Host, key, &mut value)? && value == "1" {
        return Ok(());
    }
    plan.change(Change::EnsureSysctl { key, value: "1", on_failure: OnFailure::Fail })
}
