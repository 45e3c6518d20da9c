//! The proof that a plugin leaves nothing behind: every operation fails once.
//!
//! ```text
//! let case = Case { registry: REGISTRY, build: &|sim| sim.add_sandbox("/run/netns/a"),
//!     before: &[], step: Step { plugin: &Bridge, env, config }, observations: false };
//! let mut bench = Bench { sim: &mut sim, work: &mut work, memory: &mut memory,
//!     out: &mut out, reference: &mut reference, state: &mut state };   // all boxed
//! assert!(rollback(&case, &mut bench).unwrap() > 10);
//! ```
//!
//! These values are large (a workspace has 512 KiB), and an unoptimised build
//! copies them over the stack several times. So run a proof on a thread with a
//! stack of 16 MiB; a test's thread has 2 MiB.

use super::{FaultBackend, Faults, SimBackend, Snapshot};
use crate::backend::Backend;
use crate::dispatch::{self, CallMemory, Reply};
use crate::env::Environment;
use crate::error::Result;
use crate::plugin::Plugin;
use crate::put;
use crate::session::{Session, Workspace};
use crate::text::Sink;
use crate::version::Command;

/// One call of one plugin.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// The plugin.
    pub plugin: &'static dyn Plugin,
    /// Its CNI variables.
    pub env: Environment<'a>,
    /// Its stdin.
    pub config: &'a [u8],
}

impl<'a> Step<'a> {
    /// A call for the interface `eth0` of a container, with CNI_PATH `/opt/cni/bin`.
    #[must_use]
    pub const fn new(
        plugin: &'static dyn Plugin,
        command: &'a str,
        container_id: &'a str,
        netns: &'a str,
        config: &'a str,
    ) -> Self {
        let env = Environment {
            command,
            container_id,
            netns,
            ifname: "eth0",
            args: "",
            path: "/opt/cni/bin",
            netns_override: "",
        };
        Step { plugin, env, config: config.as_bytes() }
    }
}

/// What is proven: one call, on a host that is built anew for every fault.
#[expect(missing_debug_implementations, reason = "holds a closure")]
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// Plugins to delegate to.
    pub registry: &'a [&'static dyn Plugin],
    /// Arranges a freshly booted host. Must do the same every time.
    pub build: &'a dyn Fn(&mut SimBackend) -> Result<()>,
    /// Calls that succeed before the one in question (ADD before DEL).
    pub before: &'a [Step<'a>],
    /// The call in question: ADD, DEL or GC.
    pub step: Step<'a>,
    /// Let observations fail as well.
    pub observations: bool,
}

/// Memory of a proof. Its parts are large; box each.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The host; whatever it held is dropped.
    pub sim: &'a mut SimBackend,
    /// The sessions' buffers.
    pub work: &'a mut Workspace,
    /// The calls' buffers.
    pub memory: &'a mut CallMemory,
    /// Replies; [`limits::REQUEST`](crate::limits::REQUEST) bytes.
    pub out: &'a mut [u8],
    /// The state that is wanted.
    pub reference: &'a mut Snapshot,
    /// The state that is.
    pub state: &'a mut Snapshot,
}

/// What a proof found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The host could not be built, or a call before the one in question failed.
    Arrangement,
    /// The call fails without any fault.
    CleanCall,
    /// ADD succeeded although an operation failed.
    Survived,
    /// The state is not the wanted one.
    State,
    /// DEL or GC failed when called again without a fault.
    SecondCall,
    /// A lock was taken while one was held.
    Lock,
}

/// Why a proof failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Number of the operation that failed, if one did.
    pub at: Option<usize>,
    /// The operation.
    pub operation: &'static str,
    /// What is wrong.
    pub defect: Defect,
    /// The reply, or the lines that differ (`-` missing, `+` too many); cut when long.
    pub details: heapless::String<2048>,
}

impl Broken {
    const fn new(defect: Defect) -> Self {
        Broken { at: None, operation: "", defect, details: heapless::String::new() }
    }
}

type Proof<T> = core::result::Result<T, Broken>;

/// Proves for every operation k of the call that its failure does no lasting harm.
///
/// ADD: the reply is a failure, and the state equals the state before, apart
/// from what is [shared](Snapshot::without_shared). DEL and GC: they go on past
/// the failure, a second call without a fault succeeds, and the state then
/// equals the state after a clean call; one that replies success in spite of
/// the fault must have reached that state at once, since no runtime calls again.
///
/// Gives the number of operations that were tested.
///
/// # Errors
/// [`Broken`]: the first k for which this is not so.
pub fn rollback(case: &Case<'_>, bench: &mut Bench<'_>) -> Proof<usize> {
    arrange(case, bench)?;
    let (clean, count, _) = call(&case.step, case, bench, Faults { observations: case.observations, ..Faults::none() });
    if !matches!(clean, Reply::Success(_)) {
        return Err(failed_reply(Defect::CleanCall, clean, bench));
    }
    check_lock(bench)?;
    let add = Command::parse(case.step.env.command) == Some(Command::Add);
    if !add {
        bench.sim.snapshot_into(bench.reference);
    }
    for at in 0..count {
        let mut operation = "";
        let outcome =
            if add { prove_add(case, bench, at, &mut operation) } else { prove_del(case, bench, at, &mut operation) };
        outcome.map_err(|broken| Broken { at: Some(at), operation, ..broken })?;
    }
    Ok(count)
}

fn prove_add(case: &Case<'_>, bench: &mut Bench<'_>, at: usize, operation: &mut &'static str) -> Proof<()> {
    arrange(case, bench)?;
    bench.sim.snapshot_into(bench.reference);
    bench.reference.drop_shared();
    let (reply, _, hit) = call(&case.step, case, bench, faults(case, at));
    *operation = hit;
    check_lock(bench)?;
    if !matches!(reply, Reply::Failure(_)) {
        return Err(failed_reply(Defect::Survived, reply, bench));
    }
    bench.sim.snapshot_into(bench.state);
    bench.state.drop_shared();
    compare(bench)
}

fn prove_del(case: &Case<'_>, bench: &mut Bench<'_>, at: usize, operation: &mut &'static str) -> Proof<()> {
    arrange(case, bench)?;
    let (reply, _, hit) = call(&case.step, case, bench, faults(case, at));
    *operation = hit;
    check_lock(bench)?;
    if matches!(reply, Reply::Success(_)) {
        bench.sim.snapshot_into(bench.state);
        compare(bench)?;
    }
    let (again, _, _) = call(&case.step, case, bench, Faults::none());
    if !matches!(again, Reply::Success(_)) {
        return Err(failed_reply(Defect::SecondCall, again, bench));
    }
    check_lock(bench)?;
    bench.sim.snapshot_into(bench.state);
    compare(bench)
}

const fn faults(case: &Case<'_>, at: usize) -> Faults {
    Faults { observations: case.observations, ..Faults::at(at) }
}

fn arrange(case: &Case<'_>, bench: &mut Bench<'_>) -> Proof<()> {
    bench.sim.reset();
    if let Err(error) = (case.build)(bench.sim) {
        let mut broken = Broken::new(Defect::Arrangement);
        put!(&mut broken.details, error);
        return Err(broken);
    }
    for step in case.before {
        let (reply, _, _) = call(step, case, bench, Faults::none());
        if !matches!(reply, Reply::Success(_)) {
            return Err(failed_reply(Defect::Arrangement, reply, bench));
        }
    }
    bench.sim.end_process();
    Ok(())
}

/// One process: a fresh session, and what it held is given back at its end.
fn call(step: &Step<'_>, case: &Case<'_>, bench: &mut Bench<'_>, faults: Faults) -> (Reply, usize, &'static str) {
    let mut backend = FaultBackend::new(&mut *bench.sim, faults);
    let reply = serve(step, case.registry, &mut backend, bench.work, bench.memory, bench.out);
    let (count, hit) = (backend.count(), backend.hit().unwrap_or(""));
    bench.sim.end_process();
    (reply, count, hit)
}

/// Serves one call of a plugin through [`dispatch::serve`], as an entry point does.
pub fn serve(
    step: &Step<'_>,
    registry: &[&'static dyn Plugin],
    backend: &mut dyn Backend,
    work: &mut Workspace,
    memory: &mut CallMemory,
    out: &mut [u8],
) -> Reply {
    let mut session = Session::new(backend, registry, work);
    dispatch::serve(step.plugin, &step.env, &mut || Ok(step.config), &mut session, memory, out)
}

fn check_lock(bench: &Bench<'_>) -> Proof<()> {
    if bench.sim.lock_faults() > 0 { Err(Broken::new(Defect::Lock)) } else { Ok(()) }
}

fn failed_reply(defect: Defect, reply: Reply, bench: &Bench<'_>) -> Broken {
    let mut broken = Broken::new(defect);
    let (Reply::Success(length) | Reply::About(length) | Reply::Failure(length)) = reply;
    broken
        .details
        .text(bench.out.get(..length).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or("reply is not text"));
    broken
}

fn compare(bench: &Bench<'_>) -> Proof<()> {
    if bench.reference == bench.state {
        return Ok(());
    }
    let mut broken = Broken::new(Defect::State);
    if bench.reference.is_cut() || bench.state.is_cut() {
        broken.details.text("the state does not fit a snapshot");
    }
    bench.reference.differences(bench.state, &mut |difference| put!(&mut broken.details, difference, "\n"));
    Err(broken)
}
