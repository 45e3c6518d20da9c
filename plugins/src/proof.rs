//! Shared by the plugins' tests: the rollback proof of
//! [`picocni_core::sim::rollback`] with its memory, and calls on a modelled host.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

extern crate std;

use std::boxed::Box;
use std::string::String;
use std::thread;
use std::vec;

use picocni_core::dispatch::{CallMemory, Reply, serve};
use picocni_core::limits;
use picocni_core::plugin::Plugin;
use picocni_core::session::{Session, Workspace};
use picocni_core::sim::{Bench, Case, SimBackend, Snapshot, Step, rollback};

/// Runs on a stack that holds a workspace several times over, as an
/// unoptimised build puts it there before it is boxed.
pub(crate) fn on_large_stack<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, act).unwrap();
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A call of `plugin` on an attachment `eth0`.
pub(crate) const fn step<'a>(
    plugin: &'static dyn Plugin,
    command: &'a str,
    container: &'a str,
    netns: &'a str,
    config: &'a str,
) -> Step<'a> {
    Step::new(plugin, command, container, netns, config)
}

/// Fails every operation of `step` in turn; gives how many there were.
pub(crate) fn prove(
    build: &(dyn Fn(&mut SimBackend) + Sync),
    before: &[Step<'_>],
    step: Step<'_>,
    observations: bool,
) -> usize {
    on_large_stack(|| {
        let mut sim = Box::new(SimBackend::new());
        let (mut work, mut memory) = (Box::new(Workspace::new()), Box::new(CallMemory::new()));
        let (mut reference, mut state) = (Box::new(Snapshot::new()), Box::new(Snapshot::new()));
        let mut out = vec![0u8; limits::REQUEST];
        let build = |sim: &mut SimBackend| {
            build(sim);
            Ok(())
        };
        let case = Case { registry: crate::REGISTRY, build: &build, before, step, observations };
        let mut bench = Bench {
            sim: &mut sim,
            work: &mut work,
            memory: &mut memory,
            out: &mut out,
            reference: &mut reference,
            state: &mut state,
        };
        rollback(&case, &mut bench).unwrap_or_else(|broken| panic!("{broken:#?}"))
    })
}

/// Makes one call on a modelled host; stdout as text, or the error object.
pub(crate) fn call(sim: &mut SimBackend, step: &Step<'_>) -> Result<String, String> {
    on_large_stack(|| {
        let (mut work, mut memory) = (Box::new(Workspace::new()), Box::new(CallMemory::new()));
        let mut out = vec![0u8; limits::REQUEST];
        let mut session = Session::new(sim, crate::REGISTRY, &mut work);
        let reply = serve(step.plugin, &step.env, &mut || Ok(step.config), &mut session, &mut memory, &mut out);
        let text = |length| String::from_utf8(out.get(..length).unwrap().to_vec()).unwrap();
        match reply {
            Reply::Success(length) | Reply::About(length) => Ok(text(length)),
            Reply::Failure(length) => Err(text(length)),
        }
    })
}
