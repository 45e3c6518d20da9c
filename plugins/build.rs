//! Link arguments of the freestanding binary: no C start-up code, no libc,
//! nothing to load at run time. They apply to `picocni` alone, so that
//! `cargo test` links its harness as usual.

fn main() {
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,-z,norelro", "-Wl,-z,noseparate-code"] {
        println!("cargo:rustc-link-arg-bins={argument}");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
