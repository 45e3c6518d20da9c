//! What the binary is: small, static, without libc, without an allocator, and with no way to panic left in it.

use std::fs;
use std::process::Command;

use object::{Object, ObjectSection, ObjectSymbol};
use picocni_tests::budgets::Budgets;
use picocni_tests::paths;

fn bytes(path: &std::path::Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}; `tests/run` builds it", path.display()))
}

#[test]
fn is_within_its_size() {
    let size = bytes(&paths::binary()).len();
    #[expect(clippy::cast_precision_loss, reason = "a file size")]
    let kib = size as f64 / 1024.0;
    assert!(kib <= Budgets::read().get("size", "binary_kib"), "{size} bytes");
}

#[test]
fn is_static_and_needs_no_interpreter() {
    let data = bytes(&paths::binary());
    let file = object::File::parse(&*data).expect("an ELF file");
    assert!(file.section_by_name(".interp").is_none(), "it asks for a dynamic linker");
    let libraries: Vec<_> =
        file.imports().expect("imports").map(|i| format!("{:?}", i.expect("an import").name())).collect();
    assert!(libraries.is_empty(), "it imports {libraries:?}");
}

#[test]
fn the_file_with_symbols_is_the_same_program() {
    let (small, full) = (bytes(&paths::binary()), bytes(&paths::unstripped_binary()));
    let (small, full) = (object::File::parse(&*small).expect("ELF"), object::File::parse(&*full).expect("ELF"));
    // Otherwise the checks of symbols below would be about another program. Cargo hashes the profile into symbol names,
    // which moves functions about, so the code is compared by its size: within one part in 500.
    let code = |file: &object::File| file.section_by_name(".text").expect(".text").size();
    let (small, full) = (code(&small), code(&full));
    assert!(small.abs_diff(full) <= small / 500, "{small} and {full} bytes of code: build both from the same sources");
}

fn symbols() -> Vec<String> {
    let data = bytes(&paths::unstripped_binary());
    let file = object::File::parse(&*data).expect("an ELF file");
    let names: Vec<String> =
        file.symbols().filter_map(|s| s.name().ok().map(str::to_owned)).filter(|n| !n.is_empty()).collect();
    assert!(names.iter().any(|n| n == "_start"), "no symbols: {} of them", names.len());
    names
}

#[test]
fn has_no_panic_in_it() {
    let roots = [
        "panicking",
        "panic_fmt",
        "panic_bounds_check",
        "unwrap_failed",
        "expect_failed",
        "slice_index",
        "slice_error_fail",
        "panic_const",
        "cell5panic",
        "len_mismatch",
        "already_borrowed",
    ];
    let found: Vec<String> = symbols()
        .into_iter()
        // The handler itself must exist; nothing may call it.
        .filter(|n| roots.iter().any(|r| n.contains(r)) && !n.contains("rust_begin_unwind"))
        .collect();
    assert!(found.is_empty(), "ways to panic: {found:#?}");
}

#[test]
fn has_no_allocator_and_no_libc_in_it() {
    let bad =
        ["__rust_alloc", "__rust_realloc", "__rdl_alloc", "malloc", "calloc", "__libc_start_main", "pthread_create"];
    let found: Vec<String> =
        symbols().into_iter().filter(|n| bad.contains(&n.as_str()) || n.starts_with("_ZN5alloc")).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn says_the_same_each_time() {
    let run = || {
        let mut command = Command::new(paths::binary());
        std::os::unix::process::CommandExt::arg0(&mut command, "bridge");
        command.env_clear().env("CNI_COMMAND", "VERSION").output().expect("the binary runs").stdout
    };
    assert_eq!(run(), run());
    assert!(!run().is_empty());
}
