//! Every corpus file through its target, on stable Rust.

#[test]
fn corpora_have_no_finding() {
    let fuzz = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (name, run) in picocni_fuzz_targets::TARGETS {
        let mut count = 0;
        for entry in std::fs::read_dir(fuzz.join("corpus").join(name)).expect("a corpus") {
            let path = entry.expect("an entry").path();
            println!("{}", path.display());
            run(&std::fs::read(path).expect("a file"));
            count += 1;
        }
        assert!(count > 0, "{name} has an empty corpus");
    }
}
