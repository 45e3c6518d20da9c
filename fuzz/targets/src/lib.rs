//! What each fuzz target does. The libFuzzer entry points, the replay program
//! and the replay test all call these functions.
//!
//! A new target is a module with `pub fn run(data: &[u8])`, one line in
//! [`TARGETS`], an entry point in `fuzz_targets/` and a `[[bin]]`.

pub mod dbus;
pub mod json_scan;
pub mod net_conf;
pub mod nlmsg;
pub mod prev_result;

/// A target takes any bytes and panics on a finding.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also the name of its corpus directory.
pub const TARGETS: &[(&str, Target)] = &[
    ("dbus", dbus::run),
    ("json_scan", json_scan::run),
    ("net_conf", net_conf::run),
    ("nlmsg", nlmsg::run),
    ("prev_result", prev_result::run),
];

/// The target with this name.
#[must_use]
pub fn find(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, run)| *run)
}

/// Makes what is large: an unoptimised build puts it on the stack before it is boxed.
fn on_large_stack<T: Send>(make: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(64 << 20).spawn_scoped(scope, make);
        thread.expect("a thread").join().expect("memory")
    })
}
