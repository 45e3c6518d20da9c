//! Runs files through a target, without cargo-fuzz: `replay TARGET FILE|DIR...`.
//! A finding panics, after its file was named.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let name = args.next().unwrap_or_default();
    let Some(run) = name.to_str().and_then(picocni_fuzz_targets::find) else {
        eprintln!("usage: replay TARGET FILE|DIR...\ntargets:");
        for (name, _) in picocni_fuzz_targets::TARGETS {
            eprintln!("  {name}");
        }
        return ExitCode::from(2);
    };
    let mut count = 0_usize;
    for path in args {
        for file in files(Path::new(&path)) {
            match std::fs::read(&file) {
                Ok(data) => {
                    eprintln!("{}", file.display());
                    run(&data);
                    count += 1;
                }
                Err(error) => {
                    eprintln!("{}: {error}", file.display());
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    println!("{count} inputs, no finding");
    ExitCode::SUCCESS
}

/// The file itself, or every file of a directory, sorted.
fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(path) else {
        return vec![path.to_path_buf()];
    };
    let mut files: Vec<_> =
        entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).filter(|path| path.is_file()).collect();
    files.sort();
    files
}
