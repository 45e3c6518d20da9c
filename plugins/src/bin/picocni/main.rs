//! The multi-call program: called by a plugin's name it is that plugin,
//! called `picocni` it is the runtime side (feature `operator`).
#![no_std]
#![no_main]
#![allow(missing_docs, reason = "a program, not a library")]
#![allow(clippy::result_large_err, reason = "an error carries its details inline: there is no heap, and it is cold")]

#[cfg(feature = "operator")]
mod command;
#[cfg(feature = "operator")]
mod demo;
#[cfg(feature = "operator")]
mod exec;
mod help;
mod install;
mod memory;
#[cfg(feature = "operator")]
mod namespace;
mod panic;
#[cfg(feature = "operator")]
mod reconcile;
mod start;
mod terminal;
mod words;

use picocni::program;
use picocni_core::error::Error;
use picocni_core::name::IfName;
use picocni_linux::sys::{self, Environ};
use picocni_linux::tap;
use words::Words;

/// Called by `_start` with the process's arguments and environment.
fn run(arguments: Words, environ: Environ, memory: &'static mut memory::Memory) -> i32 {
    sys::ignore_sigpipe();
    let verb = arguments.get(1);
    let called = program::called_as(picocni::REGISTRY, arguments.get(0))
        // A runtime calls the plugin of the program's own name without a verb, and an operator never without.
        .filter(|plugin| plugin.name() != "picocni" || (verb.is_empty() && !environ.get("CNI_COMMAND").is_empty()));
    if let Some(plugin) = called.or_else(|| picocni::find(verb)) {
        return program::serve(plugin, picocni::REGISTRY, environ, &mut memory.plugin);
    }
    let outcome = match verb {
        #[cfg(feature = "operator")]
        "add" | "check" | "del" | "gc" | "status" => command::run(verb, arguments, environ, memory),
        #[cfg(feature = "operator")]
        "exec" => exec::run(arguments, environ),
        #[cfg(feature = "operator")]
        "demo" => demo::run(arguments, environ, memory),
        #[cfg(feature = "operator")]
        "reconcile" => reconcile::run(arguments, environ, memory),
        "install" => install::run(arguments, environ, memory),
        // Executed by the tap plugin under another SELinux context.
        "tap-device" => return tap_device(arguments),
        "" | "help" | "-h" | "--help" => return help::print(arguments.get(2)),
        "version" | "-V" | "--version" => return help::version(),
        other => return help::unknown(other),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Makes a TAP device in the namespace this program is in: `single|multi NAME
/// OWNER GROUP`, where no number is nobody. The exit code is the error number.
fn tap_device(arguments: Words) -> i32 {
    let number = |at| arguments.get(at).parse().ok();
    let Ok(name) = IfName::new(arguments.get(3)) else { return 22 };
    let device = tap::Device { name, multi_queue: arguments.get(2) == "multi", owner: number(4), group: number(5) };
    device.make_here().map_or_else(|errno| errno.raw_os_error(), |()| 0)
}

/// Tells the operator what went wrong; gives the exit code.
fn fail(error: &Error) -> i32 {
    terminal::error(&[&"picocni: ", error, &"\n"]);
    1
}
