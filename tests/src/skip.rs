//! Skipped tests. libtest cannot skip at run time, so a skipped test passes, prints why, and leaves a line in the
//! file that `tests/run` names in `PICOCNI_SKIPS`; the runner takes these from "passed" and adds them to "skipped".

use std::env;
use std::fs::OpenOptions;
use std::io::Write;

/// Records that the running test is skipped, and why. Call it through [`skip!`](crate::skip!), which also returns.
pub fn record(reason: &str) {
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let line = format!("{test}: {reason}\n");
    eprint!("skipped {line}");
    if let Some(path) = env::var_os("PICOCNI_SKIPS") {
        // One write call of one line: appends from parallel tests do not mix.
        let mut file = OpenOptions::new().append(true).create(true).open(path).expect("PICOCNI_SKIPS can be opened");
        file.write_all(line.as_bytes()).expect("PICOCNI_SKIPS can be written");
    }
}

/// Ends the running test as skipped, with a reason.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::skip::record(&format!($($reason)*));
        return;
    }};
}
