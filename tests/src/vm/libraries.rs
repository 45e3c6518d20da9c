//! The shared libraries of a program, as its loader finds them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::paths;

/// The loader that programs built here name.
pub const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

const DIRECTORIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];

/// What a program built here links to.
///
/// # Errors
/// When the loader cannot be run or does not find one.
pub fn of_the_host(program: &Path) -> io::Result<Vec<PathBuf>> {
    list(Command::new(LOADER).arg("--list").arg(program))
}

/// What a program of the packages links to, all of it in the packages.
///
/// # Errors
/// When the loader cannot be run or does not find one.
pub fn of_the_packages(program: &Path) -> io::Result<Vec<PathBuf>> {
    list(loader().arg("--list").arg(program))
}

/// The packages' own loader and libraries: their programs depend on nothing of the host.
pub fn loader() -> Command {
    let roots = [paths::packages(paths::MACHINE), paths::packages("bookworm")];
    let directories: Vec<String> = roots
        .iter()
        .flat_map(|root| DIRECTORIES.map(|directory| root.join(directory).to_string_lossy().into_owned()))
        .collect();
    let mut command = Command::new(roots[0].join("lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(directories.join(":"));
    command
}

fn list(command: &mut Command) -> io::Result<Vec<PathBuf>> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() || text.contains("not found") {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(io::Error::other(format!("{command:?}: {text}{said}")));
    }
    Ok(found(&text))
}

/// `NAME => PATH (ADDRESS)`, and without an arrow what is no file or the loader.
fn found(text: &str) -> Vec<PathBuf> {
    let paths = text.lines().filter_map(|line| line.split_once(" => ")?.1.split(" (").next());
    paths.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loader_lists_libraries() {
        let text =
            "\tlinux-vdso.so.1 (0x00007fe8)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007fe8)\n\t/lib64/ld.so (0x7f)\n";
        assert_eq!(found(text), [PathBuf::from("/lib/libc.so.6")]);
    }
}
