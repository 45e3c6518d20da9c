//! What each fuzz target does. The libFuzzer entry points, the replay program
//! and the replay test all call these functions.
//!
//! A new target is a module with `pub fn run(data: &[u8])`, one line in
//! [`TARGETS`], an entry point in `fuzz_targets/` and a `[[bin]]`.

pub mod json_scan;

/// A target takes any bytes and panics on a finding.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus directory.
pub const TARGETS: &[(&str, Target)] = &[("json_scan", json_scan::run)];

/// The target with this name.
#[must_use]
pub fn find(name: &str) -> Option<Target> {
    TARGETS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, run)| *run)
}
