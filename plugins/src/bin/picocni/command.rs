//! `picocni add|check|del|gc|status NETWORK NETNS`: the runtime side, with
//! cnitool's environment.

use picocni::program;
use picocni_core::digest::{CNITOOL_ID_HEX_CHARS, hex_of};
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::name::IfName;
use picocni_core::observe::Ns;
use picocni_core::op::{Change, LinkChange, LinkId, Plan, Undo};
use picocni_core::put;
use picocni_core::runtime::{self, Attachment, RuntimeMemory};
use picocni_core::session::Session;
use picocni_linux::host::Linux;
use picocni_linux::sys::Environ;

use crate::memory::Memory;
use crate::namespace::Namespace;
use crate::terminal;
use crate::words::Words;

/// cnitool's container ID: a digest of the namespace's path.
pub(crate) fn container_id(path: &str) -> heapless::String<40> {
    let mut id = heapless::String::new();
    put!(&mut id, "cnitool-");
    let _ = hex_of(&[path.as_bytes()], &mut id, CNITOOL_ID_HEX_CHARS);
    id
}

struct Options {
    network: &'static str,
    netns: &'static str,
    ifname: &'static str,
}

fn options(arguments: Words, environ: Environ) -> Result<Options> {
    let from_env = environ.get("CNI_IFNAME");
    let mut options = Options { network: "", netns: "", ifname: if from_env.is_empty() { "eth0" } else { from_env } };
    let mut words = arguments.from(2).filter_map(|word| word.to_str().ok());
    while let Some(word) = words.next() {
        if let Some(name) = word.strip_prefix("--ifname=") {
            options.ifname = name;
        } else if word == "-i" || word == "--ifname" {
            options.ifname = words.next().ok_or_else(|| err!(ENVIRONMENT, "missing interface name", "after ", word))?;
        } else if word.starts_with('-') {
            return Err(err!(ENVIRONMENT, "unknown option", word, "; see picocni --help"));
        } else if options.network.is_empty() {
            options.network = word;
        } else if options.netns.is_empty() {
            options.netns = word;
        } else {
            return Err(err!(
                ENVIRONMENT,
                "too many arguments",
                word,
                "; usage: picocni ",
                arguments.get(1),
                " NETWORK NETNS"
            ));
        }
    }
    if options.network.is_empty() || options.netns.is_empty() {
        return Err(err!(
            ENVIRONMENT,
            "missing arguments",
            "usage: picocni ",
            arguments.get(1),
            " NETWORK NETNS [-i IFNAME]"
        ));
    }
    Ok(options)
}

/// Every pair of CNI_ARGS needs a key and a value.
fn check_args(args: &str) -> Result<()> {
    for pair in args.split(';').filter(|_| !args.is_empty()) {
        if !pair.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty()) {
            return Err(err!(ENVIRONMENT, "invalid CNI_ARGS pair", "\"", pair, "\" (K=V;K=V)"));
        }
    }
    Ok(())
}

fn or<'a>(value: &'a str, default: &'a str) -> &'a str {
    if value.is_empty() { default } else { value }
}

/// Runs one command; gives the exit code.
///
/// # Errors
/// Whatever the plugins or the network's configuration said.
#[inline(never)]
pub(crate) fn run(verb: &str, arguments: Words, environ: Environ, memory: &'static mut Memory) -> Result<i32> {
    let options = options(arguments, environ)?;
    let namespace = Namespace::read(options.netns)?;
    check_args(environ.get("CNI_ARGS"))?;
    let id = container_id(&namespace.path);
    let attachment = Attachment {
        network: options.network,
        container_id: &id,
        netns: &namespace.path,
        ifname: options.ifname,
        cni_args: environ.get("CNI_ARGS"),
        capability_args: environ.get("CAP_ARGS"),
        conf_dir: or(environ.get("NETCONFPATH"), "/etc/cni/net.d"),
        cni_path: or(environ.get("CNI_PATH"), "/opt/cni/bin"),
        cache_dir: environ.get("PICOCNI_CACHE_DIR"),
    };
    let Memory { plugin: program::Memory { linux, session, .. }, runtime } = memory;
    let mut backend = Linux::new(linux, environ);
    let mut session = Session::new(&mut backend, picocni::REGISTRY, session);
    session.allow_builtin_without_file();
    let outcome = act(verb, &namespace, &attachment, &mut session, runtime);
    if let Err(error) = &outcome
        && error.foreign
    {
        terminal::error(&[&"picocni: "]);
        picocni::program::print(picocni_linux::sys::stderr(), &session.work().foreign_error);
        terminal::error(&[&"\n"]);
        return Ok(1);
    }
    outcome.map(|()| 0)
}

fn act(
    verb: &str,
    namespace: &Namespace,
    attachment: &Attachment<'_>,
    session: &mut Session<'_>,
    memory: &mut RuntimeMemory,
) -> Result<()> {
    let quiet = &mut |_: runtime::Event<'_>| {};
    match verb {
        "add" => add(namespace, attachment, session, memory),
        "check" => runtime::check(session, memory, attachment, quiet),
        "del" => {
            runtime::del(session, memory, attachment, quiet)?;
            if namespace.is_new { namespace.remove() } else { Ok(()) }
        }
        "gc" => runtime::gc(session, memory, attachment, None, quiet),
        _ => runtime::status(session, memory, attachment, quiet),
    }
}

/// A namespace that add made goes again if add fails.
fn add(
    namespace: &Namespace,
    attachment: &Attachment<'_>,
    session: &mut Session<'_>,
    memory: &mut RuntimeMemory,
) -> Result<()> {
    let existed = rustix::fs::access(namespace.path.as_str(), rustix::fs::Access::EXISTS).is_ok();
    namespace.make()?;
    let outcome = prepare(namespace, existed, session).and_then(|()| {
        runtime::add(session, memory, attachment, &mut |_| {}).map(|result| terminal::out(&[&result, &"\n"]))
    });
    if outcome.is_err() && namespace.is_new && !existed {
        let _ = namespace.remove();
    }
    outcome
}

/// A namespace that was just made has its loopback down; programs expect it up.
fn prepare(namespace: &Namespace, existed: bool, session: &mut Session<'_>) -> Result<()> {
    if existed || !namespace.is_new {
        return Ok(());
    }
    set_loopback_up(session, &namespace.path)
}

/// Sets `lo` of a namespace up.
///
/// # Errors
/// Codes 8 and 101.
pub(crate) fn set_loopback_up(session: &mut Session<'_>, path: &str) -> Result<()> {
    session.open_sandbox(path)?;
    let mut plan = Plan::new();
    let set = LinkChange { up: Some(true), ..LinkChange::NONE };
    plan.change(Change::SetLink { ns: Ns::Sandbox, link: LinkId::Name(IfName::of("lo")), set, undo: Undo::WithLink })?;
    session.apply(&plan)
}

/// Used by callers that hold a path of unknown length.
pub(crate) fn path_limit() -> Error {
    Error::limit("PATH", limits::PATH)
}
