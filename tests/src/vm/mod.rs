//! The end-to-end tests once more, in a virtual machine: a stock Debian kernel knows link types that the host's kernel
//! may not have, and is older.
//!
//! One emulated machine (software alone, so it works wherever the tests do) has everything in its initramfs: no disk, no
//! network, no shared directory. Two archives one after the other make it up: one of the system, kept below
//! `target/vm/`, and one of the programs under test.
//!
//! | module | what it is |
//! |---|---|
//! | [`programs`] | which test files run in the guest; their executables |
//! | [`image`] | what the guest finds at which path |
//! | [`libraries`] | what programs link to |
//! | [`cpio`] | the archive format |
//! | [`emulator`] | the machine, and what it says on its console |

pub mod cpio;
pub mod emulator;
pub mod image;
pub mod libraries;
pub mod programs;

use std::time::Duration;

use crate::packages::{self, Set};
use crate::runner::Runner;

/// Whether this process runs in the guest. There every link type that a test needs has to be there.
pub fn is_here() -> bool {
    std::env::var_os("VMTEST").is_some()
}

/// A limit for something that takes time on a machine of any speed: ten times as long on the emulated one, which shares
/// the host's processors with whatever else runs there.
pub fn patience(limit: Duration) -> Duration {
    if is_here() { limit * 10 } else { limit }
}

/// What to run in the guest.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The test files; empty for all that belong there.
    pub files: Vec<String>,
    /// Not the tests, but the benchmark's table of plugins.
    pub bench: bool,
    /// Arguments for the test programs: a filter, `--exact`, `--skip`, …
    pub arguments: Vec<String>,
}

/// Boots the guest, runs the end-to-end tests in it and counts what they report.
///
/// # Errors
/// When a test fails, or when the guest does not say at the end how it went.
pub fn run(run: &mut Runner, selection: &Selection) -> Result<(), String> {
    let programs = if selection.bench {
        vec![programs::bench(run.offline())?]
    } else {
        programs::build(run.offline(), &selection.files)?
    };
    if run.offline() && ![Set::Host, Set::Machine].into_iter().all(packages::are_here) {
        let count = programs.iter().map(programs::Program::tests).sum();
        run.skip(count, "the packages of the virtual machine have not been fetched (--offline)");
        return Ok(());
    }
    let limit = Duration::from_secs_f64(run.budgets().get("stages", "vm"));
    let image = image::write(&programs, &selection.arguments, limit).map_err(|e| format!("the initramfs: {e}"))?;
    emulator::run(run, &image, limit)
}
