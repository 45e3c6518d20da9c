//! The proof itself: it passes a good plugin, and finds each kind of defect.

use super::*;
use crate::conf::{COMMON_LEN, with_common};
use crate::dispatch::CallMemory;
use crate::env::Environment;
use crate::json::Key;
use crate::observe::Route;
use crate::op::{OnFailure, Plan};
use crate::plugin::{Call, Plugin};
use crate::result::AddResult;
use crate::session::{Session, Workspace};
use crate::sim::rollback::Defect;
use crate::sim::{Bench, Broken, Case, Snapshot, Step, rollback};

const KEYS: [Key; COMMON_LEN] = with_common([]);
const DIR: &str = "/var/lib/cni/networks/net";

/// How a plugin is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// It is right.
    Not,
    /// Its ADD acts past the session, so that the journal does not know.
    Bypasses,
    /// Its ADD takes a failed plan for success.
    Swallows,
    /// Its DEL stops at the first failure and replies success.
    StopsQuietly,
    /// Its DEL cannot be called twice.
    OnlyOnce,
    /// It takes a second lock.
    LocksTwice,
    /// Its ADD never succeeds.
    Fails,
}

/// A point-to-point plugin: a veth pair, an address, a default route, a lease,
/// masquerade, and what all pods share.
#[derive(Debug)]
struct Pair(Wrong);

impl Pair {
    fn links(&self, session: &mut Session<'_>) -> Result<()> {
        let mut plan = Plan::new();
        plan.change(Change::EnsureSysctl { key: "net/ipv4/ip_forward", value: "1", on_failure: OnFailure::Fail })?;
        plan.change(Change::EnsureBridge {
            name: IfName::of("br0"),
            mac: Mac([2; 6]),
            mtu: 0,
            promisc: false,
            vlan_filtering: false,
        })?;
        plan.change(Change::ReserveLease {
            dir: DIR,
            ip: ip("10.0.0.2"),
            container: "c1",
            ifname: IfName::of("eth0"),
        })?;
        plan.change(Change::NoteLastLease { dir: DIR, set: 0, ip: ip("10.0.0.2") })?;
        plan.change(Change::SetLink {
            ns: Ns::Sandbox,
            link: LinkId::Name(IfName::of("lo")),
            set: up(),
            undo: Undo::Restore,
        })?;
        session.apply(&plan)?;
        let mut plan = Plan::new();
        plan.change(veth())?;
        plan.change(Change::SetLink {
            ns: Ns::Host,
            link: LinkId::Name(IfName::of("veth1")),
            set: up(),
            undo: Undo::WithLink,
        })?;
        session.apply(&plan)
    }

    fn addresses(&self, session: &mut Session<'_>) -> Result<()> {
        let inner = session.backend.link(Ns::Sandbox, &IfName::of("eth0"))?.map(|link| link.index).unwrap_or_default();
        let route = Route { gw: Some(ip("10.0.0.1")), ..Route::to(cidr("0.0.0.0/0")) };
        let mut plan = Plan::new();
        plan.change(Change::SetLink { ns: Ns::Sandbox, link: LinkId::Index(inner), set: up(), undo: Undo::WithLink })?;
        plan.change(Change::AddAddress {
            ns: Ns::Sandbox,
            index: inner,
            cidr: cidr("10.0.0.2/24"),
            dad: false,
            prefix_route: true,
        })?;
        plan.change(Change::AddRoute { ns: Ns::Sandbox, index: inner, route })?;
        plan.change(Change::Masquerade { ip: ip("10.0.0.2"), net: cidr("10.0.0.0/24"), tag: "t" })?;
        plan.change(Change::Announce { index: inner, mac: Mac([2, 0, 0, 0, 0, 2]) })?;
        session.apply(&plan)
    }
}

const REMOVALS: [Removal<'static>; 3] = [
    Removal::ReleaseLease { dir: DIR, ip: IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2)) },
    Removal::Unmasquerade { ip: IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2)) },
    Removal::RemoveFile { path: "/never/there" },
];

impl Plugin for Pair {
    fn name(&self) -> &'static str {
        "pair"
    }

    fn keys(&self) -> &'static [Key] {
        &KEYS
    }

    fn add(&self, _call: &Call<'_>, session: &mut Session<'_>, _result: &mut AddResult) -> Result<()> {
        session.backend.lock("/l")?;
        if self.0 == Wrong::LocksTwice {
            let _ = session.backend.lock("/l");
        }
        if self.0 == Wrong::Bypasses {
            let claim = Change::Claim { dir: "/run/cni/ports", key: "tcp-80", holder: "t" };
            session.backend.apply(&[claim], &mut |_, _| {});
        }
        if self.0 == Wrong::Fails {
            return Err(crate::err!(CONFIG, "never"));
        }
        self.links(session)?;
        let rest = self.addresses(session);
        if self.0 == Wrong::Swallows { Ok(()) } else { rest }
    }

    fn check(&self, _call: &Call<'_>, _session: &mut Session<'_>) -> Result<()> {
        Ok(())
    }

    fn del(&self, _call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let veth = Removal::DeleteLink { ns: Ns::Host, name: IfName::of("veth1") };
        if self.0 == Wrong::OnlyOnce && session.backend.link(Ns::Host, &IfName::of("veth1"))?.is_none() {
            return Err(crate::err!(CONFIG, "no such pod"));
        }
        if self.0 == Wrong::StopsQuietly {
            for removal in [veth].iter().chain(&REMOVALS) {
                let mut good = true;
                session.backend.remove(&[*removal], &mut |_, outcome| good = outcome.is_ok());
                if !good {
                    return Ok(());
                }
            }
            return Ok(());
        }
        let mut plan = Plan::new();
        plan.remove(veth)?;
        for removal in REMOVALS {
            plan.remove(removal)?;
        }
        session.apply(&plan)
    }
}

fn env(command: &'static str) -> Environment<'static> {
    Environment {
        command,
        container_id: "c1",
        netns: A,
        ifname: "eth0",
        path: "/opt/cni/bin",
        ..Environment::default()
    }
}

const CONFIG: &[u8] = br#"{"cniVersion":"1.1.0","name":"net","type":"pair"}"#;

fn step(plugin: &'static Pair, command: &'static str) -> Step<'static> {
    Step { plugin, env: env(command), config: CONFIG }
}

fn prove(before: &[Step<'_>], step: Step<'_>, observations: bool) -> core::result::Result<usize, Broken> {
    let build = |sim: &mut SimBackend| sim.add_sandbox(A);
    // An unoptimised build copies the journal over the stack several times;
    // the 2 MiB of a test's thread are too few.
    std::thread::scope(|scope| {
        let run = || {
            let mut bench = Bench {
                sim: &mut boxed(SimBackend::new),
                work: &mut boxed(Workspace::new),
                memory: &mut boxed(CallMemory::new),
                out: &mut std::vec![0; crate::limits::REQUEST],
                reference: &mut boxed(Snapshot::new),
                state: &mut boxed(Snapshot::new),
            };
            rollback(&Case { registry: &[], build: &build, before, step, observations }, &mut bench)
        };
        std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, run).unwrap().join().unwrap()
    })
}

static GOOD: Pair = Pair(Wrong::Not);

#[test]
fn a_good_plugin_passes() {
    // 5 + 2 + 5 changes; with observations the lock and one link as well.
    assert_eq!(prove(&[], step(&GOOD, "ADD"), false).unwrap(), 12);
    assert_eq!(prove(&[], step(&GOOD, "ADD"), true).unwrap(), 14);
    assert_eq!(prove(&[step(&GOOD, "ADD")], step(&GOOD, "DEL"), false).unwrap(), 4);
    assert_eq!(prove(&[], step(&GOOD, "DEL"), false).unwrap(), 4);
}

#[test]
fn what_the_journal_does_not_know_is_found() {
    static PAIR: Pair = Pair(Wrong::Bypasses);
    let broken = prove(&[], step(&PAIR, "ADD"), false).unwrap_err();
    // Operation 0 is the bypass itself, whose failure the plugin ignores.
    assert_eq!((broken.at, broken.defect), (Some(0), Defect::Survived));
    let broken = prove(&[step(&GOOD, "ADD")], step(&PAIR, "ADD"), false).unwrap_err();
    assert_eq!(broken.defect, Defect::CleanCall);
}

#[test]
fn leftovers_are_named() {
    // It replies success after a failure, so no runtime would call it again.
    static PAIR: Pair = Pair(Wrong::StopsQuietly);
    let broken = prove(&[step(&GOOD, "ADD")], step(&PAIR, "DEL"), false).unwrap_err();
    assert_eq!((broken.at, broken.operation, broken.defect), (Some(0), "delete link", Defect::State));
    assert!(broken.details.contains("+ file /var/lib/cni/networks/net/10.0.0.2 = c1"), "{broken:?}");
    assert!(broken.details.contains("+ link host veth1 02:00:00:00:00:01"), "{broken:?}");
}

#[test]
fn a_swallowed_failure_is_found() {
    static PAIR: Pair = Pair(Wrong::Swallows);
    let broken = prove(&[], step(&PAIR, "ADD"), false).unwrap_err();
    assert_eq!((broken.at, broken.operation, broken.defect), (Some(7), "set link", Defect::Survived));
}

#[test]
fn del_must_work_twice() {
    static PAIR: Pair = Pair(Wrong::OnlyOnce);
    let broken = prove(&[step(&GOOD, "ADD")], step(&PAIR, "DEL"), false).unwrap_err();
    assert_eq!((broken.at, broken.defect), (Some(1), Defect::SecondCall));
    assert!(broken.details.contains("no such pod"));
}

#[test]
fn a_second_lock_and_a_plugin_that_never_works_are_found() {
    static LOCKS: Pair = Pair(Wrong::LocksTwice);
    assert_eq!(prove(&[], step(&LOCKS, "ADD"), false).unwrap_err().defect, Defect::Lock);
    static FAILS: Pair = Pair(Wrong::Fails);
    assert_eq!(prove(&[], step(&FAILS, "ADD"), false).unwrap_err().defect, Defect::CleanCall);
    assert_eq!(prove(&[step(&FAILS, "ADD")], step(&GOOD, "DEL"), false).unwrap_err().defect, Defect::Arrangement);
}
