//! Everything a plugin's test needs, in one value that can be static.

use super::rollback::{Bench, Broken, Case, Step, rollback, serve};
use super::{SimBackend, Snapshot};
use crate::backend::Backend;
use crate::dispatch::{CallMemory, Reply};
use crate::error::Result;
use crate::limits;
use crate::observe::Ns;
use crate::plugin::Plugin;
use crate::session::Workspace;

/// A modelled host with the memory of calls and proofs on it: about 1.3 MiB.
///
/// ```text
/// static BED: Mutex<TestBed> = Mutex::new(TestBed::new());      // no stack holds it
///
/// let mut bed = BED.lock().unwrap();
/// bed.boot().add_sandbox("/run/netns/a").unwrap();
/// let add = Step::new(&MyPlugin, "ADD", "c1", "/run/netns/a", r#"{"cniVersion": ...}"#);
/// assert!(bed.call(REGISTRY, &add).unwrap().contains("eth0"));
/// ```
#[derive(Debug)]
pub struct TestBed {
    sim: SimBackend,
    work: Workspace,
    memory: CallMemory,
    out: [u8; limits::REQUEST],
    reference: Snapshot,
    state: Snapshot,
}

impl TestBed {
    /// Memory only; [`boot`](TestBed::boot) makes it a host.
    #[must_use]
    pub const fn new() -> Self {
        TestBed {
            sim: SimBackend::blank(),
            work: Workspace::new(),
            memory: CallMemory::new(),
            out: [0; limits::REQUEST],
            reference: Snapshot::new(),
            state: Snapshot::new(),
        }
    }

    /// The host, freshly booted.
    pub fn boot(&mut self) -> &mut SimBackend {
        self.sim.reset();
        &mut self.sim
    }

    /// The host as it is, to look at and to change.
    pub fn host(&mut self) -> &mut SimBackend {
        &mut self.sim
    }

    /// One call of one plugin, a process of its own: what it prints.
    ///
    /// # Errors
    /// The error object that it prints.
    pub fn call(&mut self, registry: &[&'static dyn Plugin], step: &Step<'_>) -> core::result::Result<&str, &str> {
        let reply = serve(step, registry, &mut self.sim, &mut self.work, &mut self.memory, &mut self.out);
        self.sim.end_process();
        let text = |length| self.out.get(..length).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or("");
        match reply {
            Reply::Success(length) | Reply::About(length) => Ok(text(length)),
            Reply::Failure(length) => Err(text(length)),
        }
    }

    /// Fails every operation of `step` in turn, each time on a host that `build`
    /// arranges anew and on which the calls of `before` succeeded:
    /// [`rollback`](super::rollback()). Gives how many operations there were.
    ///
    /// # Errors
    /// The first operation whose failure leaves something behind.
    pub fn prove(
        &mut self,
        registry: &[&'static dyn Plugin],
        build: &dyn Fn(&mut SimBackend) -> Result<()>,
        before: &[Step<'_>],
        step: Step<'_>,
    ) -> core::result::Result<usize, Broken> {
        let case = Case { registry, build, before, step, observations: false };
        let TestBed { sim, work, memory, out, reference, state } = self;
        rollback(&case, &mut Bench { sim, work, memory, out, reference, state })
    }

    /// A sysctl of a sandbox; "" if there is no such key or sandbox.
    pub fn sysctl(&mut self, netns: &str, key: &str) -> heapless::String<{ limits::SYSCTL_VALUE }> {
        let mut value = heapless::String::new();
        if self.sim.open_sandbox(netns).is_ok() {
            let _ = self.sim.sysctl(Ns::Sandbox, key, &mut value);
        }
        self.sim.end_process();
        value
    }
}

impl Default for TestBed {
    fn default() -> Self {
        Self::new()
    }
}
