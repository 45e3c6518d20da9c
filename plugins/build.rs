//! Link arguments of the freestanding binary: no C start-up code, no libc,
//! nothing to load at run time. They apply to `picocni` alone, so that
//! `cargo test` links its harness as usual.

use std::path::PathBuf;

/// Panics abort, so nobody reads the unwind tables: a sixth of the file.
const SCRIPT: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.eh_frame_hdr) *(.gcc_except_table .gcc_except_table.*) *(.comment) } }\nINSERT AFTER .rodata;\n";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let script = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("discard.ld");
    let written = std::fs::write(&script, SCRIPT).is_ok();
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--gc-sections",
        "-Wl,--build-id=none",
        "-Wl,-z,norelro",
        "-Wl,-z,noseparate-code",
        "-Wl,--no-eh-frame-hdr",
    ] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    if written {
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}
