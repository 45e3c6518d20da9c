//! The backend `iptables`: the peer's chains, comments and rules, so that what
//! either made is the other's to check and to delete.
//!
//! ```text
//! FORWARD      1: comment "CNI firewall plugin rules" → CNI-FORWARD
//! CNI-FORWARD  1: comment "CNI firewall plugin admin overrides" → CNI-ADMIN
//!                 -d POD ctstate RELATED,ESTABLISHED → ACCEPT, -s POD → ACCEPT
//! ```

use core::net::IpAddr;

use picocni_core::err;
use picocni_core::error::{Code, Result};
use picocni_core::iptables::{Comment, Lines, Script, chain, rule};
use picocni_core::limits;
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::put;
use picocni_core::session::Session;
use picocni_core::text::{Put, Sink, fits};

const TABLE: &str = "filter";
const CHAIN: &str = "CNI-FORWARD";
const RULES: Jump<'static> = Jump("CNI firewall plugin rules", CHAIN);
const OVERRIDES: &str = "CNI firewall plugin admin overrides";

/// A rule that jumps to a chain, with its comment.
struct Jump<'a>(&'static str, &'a str);

impl Put for Jump<'_> {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, Comment(self.0), " -j ", self.1);
    }
}

/// The two rules of an address as `iptables-save` prints them, without their chain.
fn rules_of(ip: IpAddr) -> [heapless::String<128>; 2] {
    let prefix: u8 = if ip.is_ipv4() { 32 } else { 128 };
    let answers = fits(&[&"-d ", &ip, &"/", &prefix, &" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"]);
    // The longest has 106 bytes.
    [answers.unwrap_or_default(), fits(&[&"-s ", &ip, &"/", &prefix, &" -j ACCEPT"]).unwrap_or_default()]
}

/// Those of [`rules_of`] that `wanted` wants, with their chain.
fn lines_of(ip: IpAddr, wanted: [bool; 2]) -> Lines {
    let mut lines = Lines::new();
    for (rule, _) in rules_of(ip).iter().zip(wanted).filter(|(_, wanted)| *wanted) {
        put!(&mut lines, CHAIN, " ", *rule, "\n");
    }
    lines
}

/// What of the shared chains is there, and which rules of each pod.
#[derive(Debug, Default)]
struct Found {
    chain: bool,
    admin_chain: bool,
    jump: bool,
    admin_jump: bool,
    pods: heapless::Vec<(IpAddr, [bool; 2]), { limits::IPS }>,
}

impl Found {
    /// How much of what pods share is there: never more than four, so that it
    /// cannot grow for ever.
    fn made(&self) -> u8 {
        [self.chain, self.admin_chain, self.jump, self.admin_jump]
            .iter()
            .fold(0, |sum, there| sum.saturating_add(u8::from(*there)))
    }
}

fn is_of(v6: bool) -> impl Fn(&&IpAddr) -> bool {
    move |ip| ip.is_ipv6() == v6
}

/// # Errors
/// Code 50: iptables cannot be used.
fn look(session: &mut Session<'_>, v6: bool, admin: &str, pods: &[IpAddr]) -> Result<Found> {
    let mut found = Found::default();
    for ip in pods.iter().filter(is_of(v6)) {
        let _ = found.pods.push((*ip, [false; 2]));
    }
    let jump: heapless::String<128> = fits(&[&RULES]).unwrap_or_default();
    let admin_jump: heapless::String<128> = fits(&[&Jump(OVERRIDES, admin)]).unwrap_or_default();
    session.backend.iptables_rules(v6, TABLE, &mut |line| {
        found.chain |= chain(line) == Some(CHAIN);
        found.admin_chain |= chain(line) == Some(admin);
        match rule(line) {
            Some(("FORWARD", rule)) => found.jump |= rule == jump,
            Some((CHAIN, rule)) => {
                found.admin_jump |= rule == admin_jump;
                for (ip, there) in &mut found.pods {
                    for (there, wanted) in there.iter_mut().zip(rules_of(*ip)) {
                        *there |= rule == wanted;
                    }
                }
            }
            _ => {}
        }
    })?;
    Ok(found)
}

/// Whether iptables can be used for these families.
///
/// # Errors
/// Code 50.
pub(super) fn probe(session: &mut Session<'_>) -> Result<()> {
    session.backend.iptables_rules(false, TABLE, &mut |_| {})
}

/// The shared chains and the rules of the pods, those that are missing.
///
/// # Errors
/// Code 101; code 50.
pub(super) fn add(session: &mut Session<'_>, admin: &str, pods: &[IpAddr]) -> Result<()> {
    for v6 in [false, true] {
        if !pods.iter().any(|ip| ip.is_ipv6() == v6) {
            continue;
        }
        let found = ensure(session, v6, admin, pods)?;
        let mut lines: heapless::Vec<Lines, { limits::IPS }> = heapless::Vec::new();
        for (ip, there) in &found.pods {
            let _ = lines.push(lines_of(*ip, there.map(|there| !there)));
        }
        let mut plan = Plan::new();
        for rules in lines.iter().filter(|rules| !rules.is_empty()) {
            plan.change(Change::IptablesRules { v6, table: TABLE, rules })?;
        }
        session.apply(&plan)?;
    }
    Ok(())
}

/// Makes what pods share. What was refused is tried again only if somebody else
/// has made some of it meanwhile.
fn ensure(session: &mut Session<'_>, v6: bool, admin: &str, pods: &[IpAddr]) -> Result<Found> {
    let mut found = look(session, v6, admin, pods)?;
    loop {
        let mut script = Script::new(TABLE);
        if !found.chain {
            script.shared_chain(CHAIN);
        }
        if !found.admin_chain {
            script.shared_chain(admin);
        }
        if !found.jump {
            script.insert("FORWARD", &RULES);
        }
        if !found.admin_jump {
            script.insert(CHAIN, &Jump(OVERRIDES, admin));
        }
        if script.is_empty() {
            return Ok(found);
        }
        let Err(refusal) = session.change(Change::EnsureIptables { v6, text: script.finish()? }) else {
            return Ok(found);
        };
        let now = look(session, v6, admin, pods)?;
        if now.made() <= found.made() {
            return Err(refusal);
        }
        found = now;
    }
}

/// Everything that ADD made is there.
///
/// # Errors
/// Code 104.
pub(super) fn check(session: &mut Session<'_>, admin: &str, pods: &[IpAddr]) -> Result<()> {
    for v6 in [false, true] {
        if !pods.iter().any(|ip| ip.is_ipv6() == v6) {
            continue;
        }
        let found = look(session, v6, admin, pods)?;
        if !found.jump || !found.admin_jump {
            return Err(err!(CHANGED, "iptables chain is not in use", CHAIN, " or ", admin, " has no jump to it"));
        }
        if let Some((ip, _)) = found.pods.iter().find(|(_, there)| *there != [true; 2]) {
            return Err(err!(CHANGED, "address is not let through", *ip, " is missing in iptables"));
        }
    }
    Ok(())
}

/// Which of these addresses have rules; without iptables none.
///
/// # Errors
/// Code 101.
pub(super) fn find(session: &mut Session<'_>, pods: &[IpAddr]) -> Result<heapless::Vec<IpAddr, { limits::IPS }>> {
    let mut there = heapless::Vec::new();
    for v6 in [false, true] {
        if !pods.iter().any(|ip| ip.is_ipv6() == v6) {
            continue;
        }
        let found = match look(session, v6, "", pods) {
            Err(error) if error.code() == Code::NOT_AVAILABLE => continue,
            found => found?,
        };
        for (ip, _) in found.pods.iter().filter(|(_, rules)| rules.contains(&true)) {
            let _ = there.push(*ip);
        }
    }
    Ok(there)
}

/// Deletes the rules of the pods; the chains stay, as the peer's do.
///
/// # Errors
/// Code 101; code 50.
pub(super) fn remove(session: &mut Session<'_>, pods: &[IpAddr]) -> Result<()> {
    for v6 in [false, true] {
        let mut rules = heapless::String::<{ limits::IPS * 256 }>::new();
        for ip in pods.iter().filter(is_of(v6)) {
            put!(&mut rules, lines_of(*ip, [true; 2]));
        }
        if !rules.is_empty() {
            session.removal(Removal::IptablesRules { v6, table: TABLE, rules: &rules })?;
        }
    }
    Ok(())
}
