//! The multi-call program: called by a plugin's name it is that plugin,
//! called `picocni` it is the runtime side and the operator's tool.
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::result_large_err, reason = "an error carries its details inline: there is no heap, and it is cold")]

mod memory;
mod panic;
mod plugin;
mod start;
mod words;

use picocni_linux::sys::{self, Environ};
use words::Words;

/// Called by `_start` with the process's arguments and environment.
fn run(arguments: Words, environ: Environ, memory: &'static mut memory::Memory) -> i32 {
    sys::ignore_sigpipe();
    let called = arguments.get(0);
    let name = called.rsplit('/').next().unwrap_or(called);
    if let Some(plugin) = picocni::find(name) {
        return plugin::serve(plugin, environ, memory);
    }
    let first = arguments.get(1);
    if let Some(plugin) = picocni::find(first) {
        return plugin::serve(plugin, environ, memory);
    }
    2
}
