//! What the binary is: small, static, without libc and without an allocator; and what a call of it takes.

use std::fs;
use std::process::Command;

use object::{Object, ObjectSection, ObjectSymbol};
use picocni_tests::budgets::Budgets;
use picocni_tests::paths;
use picocni_tests::process::Prepared;
use picocni_tests::sandbox;

fn bytes(path: &std::path::Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}; `tests/run` builds it", path.display()))
}

#[test]
fn is_within_its_size() {
    let size = bytes(&paths::binary()).len();
    #[expect(clippy::cast_precision_loss, reason = "a file size")]
    let kib = size as f64 / 1024.0;
    let budget = Budgets::read().budget("size", "binary_kib");
    assert!(budget.allows(kib), "{kib:.1} KiB, {}", budget.tell(kib));
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

/// What needs the file that still has its symbols; `tests/run quick` leaves these out.
mod with_symbols {
    use super::*;

    #[test]
    fn the_file_with_symbols_is_the_same_program() {
        let (small, full) = (bytes(&paths::binary()), bytes(&paths::unstripped_binary()));
        let (small, full) = (object::File::parse(&*small).expect("ELF"), object::File::parse(&*full).expect("ELF"));
        // Otherwise the checks of symbols would be about another program. Cargo hashes the profile into symbol names,
        // which moves functions about, so the code is compared by its size: within one part in 500.
        let code = |file: &object::File| file.section_by_name(".text").expect(".text").size();
        let (small, full) = (code(&small), code(&full));
        assert!(
            small.abs_diff(full) <= small / 500,
            "{small} and {full} bytes of code: build both from the same sources"
        );
    }

    #[test]
    fn has_no_allocator_and_no_libc_in_it() {
        let data = bytes(&paths::unstripped_binary());
        let file = object::File::parse(&*data).expect("an ELF file");
        let names: Vec<&str> = file.symbols().filter_map(|s| s.name().ok()).collect();
        assert!(names.contains(&"_start"), "no symbols: {} of them", names.len());
        let bad = [
            "__rust_alloc",
            "__rust_realloc",
            "__rdl_alloc",
            "malloc",
            "calloc",
            "__libc_start_main",
            "pthread_create",
        ];
        let found: Vec<&&str> = names.iter().filter(|n| bad.contains(n) || n.starts_with("_ZN5alloc")).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

/// bridge with host-local, one IPv4 address, a gateway and a default route; the bridge is there already.
#[test]
fn an_add_needs_no_more_than_its_budget() {
    let budgets = Budgets::read();
    let conf = serde_json::json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "isGateway": true,
        "ipam": {"type": "host-local", "subnet": "10.97.0.0/16", "routes": [{"dst": "0.0.0.0/0"}]}});
    let seen = sandbox::run(|host| {
        let dir = host.plugin_dir().display().to_string();
        let add = |id: &str| {
            let pod = host.pod(id);
            let netns = pod.path().display().to_string();
            let environment = [
                ("CNI_COMMAND", "ADD"),
                ("CNI_CONTAINERID", id),
                ("CNI_NETNS", &netns),
                ("CNI_IFNAME", "eth0"),
                ("CNI_PATH", &dir),
            ];
            let program = host.plugin_dir().join("bridge");
            let mut call = Prepared::new(&program, &["bridge"], &environment, conf.to_string().as_bytes());
            let seen = call.inspect();
            assert_eq!(seen.code, 0, "{}", String::from_utf8_lossy(&seen.stdout));
            seen
        };
        add("first");
        add("second")
    });
    let mut over = Vec::new();
    let mut hold = |table: &str, key: &str, value: u64| {
        #[expect(clippy::cast_precision_loss, reason = "a small figure")]
        let value = value as f64;
        match budgets.find(table, key) {
            Some(budget) if budget.allows(value) => println!("{key}: {value}, {}", budget.tell(value)),
            Some(budget) => over.push(format!("{key}: {value}, {}", budget.tell(value))),
            None => over.push(format!("{key}: {value}, and budgets.toml has no {table}.{key}")),
        }
    };
    hold("memory", "add_rss_kib", seen.rss_kib);
    hold("memory", "add_stack_kib", seen.stack_kib);
    for (name, count) in &seen.calls {
        hold("syscalls_of_an_add", name, u64::try_from(*count).expect("a count"));
    }
    hold("syscalls_of_an_add", "all", u64::try_from(seen.call_count()).expect("a count"));
    assert!(over.is_empty(), "over budget:\n{}", over.join("\n"));
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
