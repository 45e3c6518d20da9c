//! libFuzzer entry point of the target of the same name.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| picocni_fuzz_targets::dbus::run(data));
