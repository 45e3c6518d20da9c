//! Ways to panic that are left in the program, each with the crate whose source asks for it.
//!
//! Every reference to a function of the panic machinery is a site: a call or jump, the address taken in code, the
//! address in data. After inlining the function that holds a site says little: a plugin holds the bounds check of the
//! JSON crate it called. The debug information knows which source line each instruction came from, through all levels
//! of inlining; a site belongs to the innermost of them that lies outside the standard library.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use addr2line::Loader;
use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind, SymbolKind};
use rustc_demangle::demangle;

use crate::budgets::Budgets;
use crate::paths;

/// One reference to the panic machinery.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// The crate that asks for it; `data` for an address in data.
    pub owner: String,
    /// Source file and line.
    pub place: String,
    /// The function it lies in after inlining.
    pub function: String,
    /// What it refers to.
    pub root: String,
}

/// A function by where it lies.
struct Function {
    start: u64,
    end: u64,
    name: String,
}

impl Function {
    fn is_root(&self) -> bool {
        is_root(&self.name)
    }
}

/// Whether a function does nothing but panic. The handler (`rust_begin_unwind`) has to exist and is none.
fn is_root(name: &str) -> bool {
    let words = ["::panicking::", "unwrap_failed", "expect_failed", "slice_error_fail", "panic_already", "panic_const"];
    let core = name.starts_with("core::") || name.starts_with("<core::") || name.starts_with("alloc::");
    // slice_index_fail, len_mismatch_fail, split_at_fail, …: core ends the names of such functions with `fail`.
    let last = name.rsplit("::").next().unwrap_or_default();
    core && (words.iter().any(|w| name.contains(w)) || last.ends_with("_fail") || name.contains("_fail::"))
}

/// Every site of an ELF program for x86_64 that has symbols and line tables.
///
/// # Panics
/// When it has none, or is no such program.
pub fn sites(program: &Path) -> Vec<Site> {
    let data = fs::read(program).unwrap_or_else(|e| panic!("{}: {e}; `tests/run` builds it", program.display()));
    let file = object::File::parse(&*data).expect("an ELF program");
    let functions = functions(&file);
    assert!(functions.len() > 10, "{} has no symbols", program.display());
    let roots: BTreeMap<u64, &str> =
        functions.iter().filter(|f| f.is_root()).map(|f| (f.start, f.name.as_str())).collect();
    let lines = Loader::new(program).expect("debug information");
    let mut sites = Vec::new();
    for section in file.sections() {
        let bytes = section.data().unwrap_or_default();
        match section.kind() {
            SectionKind::Text => {
                for (at, target) in references(bytes, section.address()) {
                    let Some(root) = roots.get(&target) else { continue };
                    let Some(holder) = functions.iter().find(|f| (f.start..f.end).contains(&at)) else { continue };
                    if !holder.is_root() {
                        sites.push(site(&lines, at, holder, root));
                    }
                }
            }
            SectionKind::ReadOnlyData | SectionKind::Data => {
                for word in bytes.chunks_exact(8) {
                    let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
                    let Some(root) = roots.get(&word) else { continue };
                    sites.push(Site {
                        owner: "data".to_owned(),
                        place: section.name().unwrap_or_default().to_owned(),
                        function: String::new(),
                        root: (*root).to_owned(),
                    });
                }
            }
            _ => {}
        }
    }
    sites.sort();
    sites
}

fn functions(file: &object::File) -> Vec<Function> {
    let text = |s: &object::Symbol| s.kind() == SymbolKind::Text && s.is_definition();
    let name = |s: &object::Symbol| s.name().map(|n| format!("{:#}", demangle(n))).unwrap_or_default();
    let mut functions: Vec<Function> = file
        .symbols()
        .filter(text)
        .map(|s| Function { start: s.address(), end: s.address() + s.size(), name: name(&s) })
        .collect();
    functions.sort_by_key(|f| f.start);
    functions
}

/// Every address that the code mentions, with the address of the instruction that does.
fn references(code: &[u8], start: u64) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        let at = instruction.ip();
        for operand in 0..instruction.op_count() {
            let target = match instruction.op_kind(operand) {
                OpKind::NearBranch64 => instruction.near_branch64(),
                OpKind::Memory if instruction.is_ip_rel_memory_operand() => instruction.ip_rel_memory_address(),
                OpKind::Memory => instruction.memory_displacement64(),
                OpKind::Immediate32 | OpKind::Immediate64 | OpKind::Immediate32to64 => instruction.immediate(operand),
                _ => continue,
            };
            found.push((at, target));
        }
    }
    found
}

fn site(lines: &Loader, at: u64, holder: &Function, root: &str) -> Site {
    let mut owner = None;
    let mut frames = lines.find_frames(at).expect("line tables");
    while let Some(frame) = frames.next().expect("line tables") {
        let Some(location) = frame.location else { continue };
        let path = location.file.unwrap_or_default();
        let seen = (crate_of(path), format!("{}:{}", short(path), location.line.unwrap_or(0)));
        let own = seen.0 != "core";
        // The innermost frame stands in until one outside the standard library is found.
        if own || owner.is_none() {
            owner = Some(seen);
        }
        if own {
            break;
        }
    }
    let (owner, place) = owner.unwrap_or_else(|| ("unknown".to_owned(), String::new()));
    Site { owner, place, function: holder.name.clone(), root: root.to_owned() }
}

/// The crate a source file belongs to, in the spelling of Rust paths.
fn crate_of(path: &str) -> String {
    let own = [("core/src/", "picocni_core"), ("linux-backend/src/", "picocni_linux"), ("plugins/src/", "picocni")];
    let inside = path.strip_prefix(&*paths::root().to_string_lossy()).unwrap_or(path).trim_start_matches('/');
    if path.contains("/library/") {
        return "core".to_owned();
    }
    if let Some((_, name)) = own.iter().find(|(prefix, _)| inside.starts_with(prefix)) {
        return (*name).to_owned();
    }
    // …/registry/src/<index>/<crate>-<version>/src/…
    let package = path.split("/registry/src/").nth(1).and_then(|rest| rest.split('/').nth(1)).unwrap_or("unknown");
    let end =
        package.char_indices().find(|(at, c)| *c == '-' && package[at + 1..].starts_with(|d: char| d.is_numeric()));
    package[..end.map_or(package.len(), |(at, _)| at)].replace('-', "_")
}

/// A path without what differs between machines.
fn short(path: &str) -> Cow<'_, str> {
    let registry = path.split("/registry/src/").nth(1).and_then(|rest| rest.split_once('/'));
    let library = path.split("/library/").nth(1);
    match (registry, library) {
        (Some((_, rest)), _) => Cow::Borrowed(rest),
        (_, Some(rest)) => Cow::Owned(format!("library/{rest}")),
        _ => {
            Cow::Borrowed(path.strip_prefix(&*paths::root().to_string_lossy()).unwrap_or(path).trim_start_matches('/'))
        }
    }
}

/// Sites for each crate.
pub fn by_crate(sites: &[Site]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for site in sites {
        *counts.entry(site.owner.as_str()).or_default() += 1;
    }
    counts
}

/// Prints each crate's number of sites beside its budget, and the sites of those that are over it.
///
/// # Errors
/// Names the crates over budget, and those that have none.
pub fn check(sites: &[Site], budgets: &Budgets) -> Result<(), String> {
    let counts = by_crate(sites);
    let mut over = Vec::new();
    println!("{:<18} {:>5}", "ways to panic", "sites");
    // A crate that is listed is shown with its 0.
    let listed = budgets.keys("panics").into_iter().filter(|name| !counts.contains_key(name)).map(|name| (name, 0));
    for (name, count) in counts.iter().map(|(name, count)| (*name, *count)).chain(listed) {
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let value = count as f64;
        match budgets.find("panics", name) {
            Some(budget) => println!("{name:<18} {count:>5}  {}", budget.tell(value)),
            None => println!("{name:<18} {count:>5}  not in budgets.toml: none allowed"),
        }
        if !budgets.find("panics", name).is_some_and(|budget| budget.allows(value)) && count > 0 {
            over.push(name);
        }
    }
    println!("{:<18} {:>5}", "all", sites.len());
    for Site { owner, place, function, root } in sites.iter().filter(|s| over.contains(&s.owner.as_str())) {
        println!("{owner}: {place} → {root}, in {function}");
    }
    if over.is_empty() { Ok(()) } else { Err(format!("more ways to panic than budgeted in {}", over.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_only_panics() {
        for root in [
            "core::panicking::panic_bounds_check",
            "core::slice::index::slice_index_fail",
            "core::option::unwrap_failed",
            "core::slice::copy_from_slice_impl::len_mismatch_fail",
            "core::str::slice_error_fail",
        ] {
            assert!(is_root(root), "{root}");
        }
        for other in ["rust_begin_unwind", "picocni_core::error::Error::of", "core::fmt::write", "picocni::has_failed"]
        {
            assert!(!is_root(other), "{other}");
        }
    }

    #[test]
    fn knows_whose_a_file_is() {
        assert_eq!(crate_of("/x/registry/src/index-1/serde-json-core-0.7.0/src/de/mod.rs"), "serde_json_core");
        assert_eq!(crate_of("/rustc/0123/library/core/src/slice/index.rs"), "core");
        assert_eq!(crate_of(&format!("{}/core/src/lib.rs", paths::root().display())), "picocni_core");
        assert_eq!(crate_of("plugins/src/bridge/add.rs"), "picocni");
    }

    #[test]
    fn finds_calls_jumps_and_addresses() {
        // call 0x1010; jmp 0x1010; lea rax, [rip+0x1010-next]; mov edi, 0x1010
        let code: &[u8] = &[
            0xe8, 0x0b, 0, 0, 0, 0xe9, 0x06, 0, 0, 0, 0x48, 0x8d, 0x05, 0xff, 0xff, 0xff, 0xff, 0xbf, 0x10, 0x10, 0, 0,
        ];
        let found: Vec<u64> = references(code, 0x1000).into_iter().filter(|r| r.1 == 0x1010).map(|r| r.0).collect();
        assert_eq!(found, [0x1000, 0x1005, 0x100a, 0x1011]);
    }
}
