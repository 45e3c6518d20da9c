//! `picocni reconcile [--dry-run] [NETWORK]`: what a flush of the packet filter
//! took from live attachments is put back.

use picocni::program;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::name::is_identifier;
use picocni_core::runtime::{self, Attachment, State};
use picocni_core::session::Session;
use picocni_linux::host::Linux;
use picocni_linux::sys::Environ;

use crate::memory::Memory;
use crate::terminal;
use crate::words::Words;

struct Options {
    network: &'static str,
    act: bool,
}

fn options(arguments: Words) -> Result<Options> {
    let mut options = Options { network: "", act: true };
    for word in arguments.from(2).filter_map(|word| word.to_str().ok()) {
        match word {
            "--dry-run" => options.act = false,
            _ if word.starts_with('-') => {
                return Err(err!(
                    ENVIRONMENT,
                    "unknown option",
                    word,
                    "; usage: picocni reconcile [--dry-run] [NETWORK]"
                ));
            }
            _ if options.network.is_empty() && is_identifier(word) => options.network = word,
            _ => {
                return Err(err!(
                    ENVIRONMENT,
                    "invalid argument",
                    word,
                    "; usage: picocni reconcile [--dry-run] [NETWORK]"
                ));
            }
        }
    }
    Ok(options)
}

/// Goes over the live attachments; exit code 1 if one could not be put right.
///
/// # Errors
/// Code 4: usage. Code 5: the result cache cannot be listed.
#[inline(never)]
pub(crate) fn run(arguments: Words, environ: Environ, memory: &'static mut Memory) -> Result<i32> {
    let options = options(arguments)?;
    let cni_path = environ.get("CNI_PATH");
    let places = Attachment {
        network: options.network,
        cni_path: if cni_path.is_empty() { "/opt/cni/bin" } else { cni_path },
        cache_dir: environ.get("PICOCNI_CACHE_DIR"),
        ..Attachment::default()
    };
    let Memory { plugin: program::Memory { linux, session, .. }, runtime } = memory;
    let mut backend = Linux::new(linux, environ);
    let mut session = Session::new(&mut backend, picocni::REGISTRY, session);
    session.allow_builtin_without_file();
    let [mut right, mut missing, mut failed] = [0u32; 3];
    runtime::reconcile(&mut session, runtime, &places, options.act, &mut |name, state| match state {
        State::Right => right = right.saturating_add(1),
        State::Skipped(why) => terminal::out(&[&name, &": skipped: ", why, &"\n"]),
        State::Missing(repairs) => {
            missing = missing.saturating_add(1);
            for repair in *repairs {
                let verb = if options.act { ": put back: " } else { ": missing: " };
                terminal::out(&[&name, &verb, &repair.what, &" of ", &repair.plugin, &"\n"]);
            }
        }
        State::Failed(error) => {
            failed = failed.saturating_add(1);
            terminal::error(&[&name, &": failed: ", *error, &"\n"]);
        }
    })?;
    let put_back = if options.act { " put back, " } else { " with something missing, " };
    terminal::out(&[&right, &" right, ", &missing, &put_back, &failed, &" failed\n"]);
    Ok(i32::from(failed > 0))
}
