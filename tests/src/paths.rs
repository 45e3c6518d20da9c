//! Where things are: all paths follow from this package's place in the repository and from the environment.

use std::env;
use std::path::{Path, PathBuf};

/// The repository's root directory.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_path_buf()
}

/// The root workspace's target directory: `PICOCNI_TARGET` (which `tests/run` sets), `CARGO_TARGET_DIR`, or `target/`.
pub fn target() -> PathBuf {
    let named = env::var_os("PICOCNI_TARGET").or_else(|| env::var_os("CARGO_TARGET_DIR"));
    named.map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The target directory of the workspaces `tests` and `fuzz`: inside the root's, so that one `rm -r` cleans all.
pub fn target_of(workspace: &str) -> PathBuf {
    target().join(workspace)
}

/// The binary under test: `PICOCNI_BIN`, else the root workspace's release build.
pub fn binary() -> PathBuf {
    env::var_os("PICOCNI_BIN").map_or_else(|| target().join("release/picocni"), PathBuf::from)
}

/// The same program with its symbols, built by `tests/run` for the checks that read them.
pub fn unstripped_binary() -> PathBuf {
    target_of("unstripped").join("release/picocni")
}

/// The name among [`packages`] of what the virtual machine is made of.
pub const MACHINE: &str = "machine";

/// The name among [`packages`] of firewalld.
pub const FIREWALLD: &str = "firewalld";

/// Where Debian packages are unpacked: one directory per suite, [`MACHINE`] and [`FIREWALLD`], each a file system root.
pub fn packages(suite: &str) -> PathBuf {
    target().join("packages").join(suite)
}

/// Says which packages of the machine are unpacked.
pub fn packages_stamp() -> PathBuf {
    target().join("packages/unpacked-machine")
}
