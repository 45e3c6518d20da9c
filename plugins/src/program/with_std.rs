//! The main function of an ordinary program, with std. The feature is never on
//! in picocni itself.

extern crate std;

use std::boxed::Box;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::sync::Mutex;

use picocni_core::plugin::Plugin;
use picocni_linux::sys::{Environ, Pointers, ignore_sigpipe};

use super::{Memory, called_as, serve};

/// Variables that a program may have: what is over it is not passed on to the
/// plugins it executes.
const VARIABLES: usize = 4096;

static MEMORY: Mutex<Memory> = Mutex::new(Memory::new());

/// The main function of a program that consists of these plugins: it is the one
/// by whose name it is called, or the only one.
#[must_use]
pub fn main(registry: &'static [&'static dyn Plugin]) -> ExitCode {
    let called = std::env::args().next().unwrap_or_default();
    let only = registry.first().copied().filter(|_| registry.len() == 1);
    let Some(plugin) = called_as(registry, &called).or(only) else {
        std::eprintln!("{called}: call this program by the name of a plugin: {registry:?}");
        return ExitCode::FAILURE;
    };
    // Buffers and variables are lent for as long as the process lives.
    let Ok(memory) = MEMORY.lock() else { return ExitCode::FAILURE };
    ignore_sigpipe();
    let guard = Box::leak(Box::new(memory));
    let code = serve(plugin, registry, environ(), &mut *guard);
    ExitCode::from(u8::from(code != 0))
}

fn environ() -> Environ {
    let block = Box::leak(Box::new(Pointers::<VARIABLES>::new()));
    for (key, value) in std::env::vars_os() {
        if let Ok(entry) = CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()) {
            let _ = block.push(Box::leak(entry.into_boxed_c_str()));
        }
    }
    Environ::of(block)
}
