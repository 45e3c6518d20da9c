//! `picocni install DIR`: a link to this program for every plugin; with
//! `--uninstall`, the way back to the plugins before it.

use picocni::predecessor::hand_back;
use picocni::program;
use picocni_core::err;
use picocni_core::error::{Error, Phrase, Result};
use picocni_core::limits;
use picocni_core::session::Session;
use picocni_core::text::fits;
use picocni_linux::host::Linux;
use picocni_linux::sys::Environ;
use rustix::fs::{AtFlags, CWD, FileType, Mode, mkdirat, readlinkat_raw, stat, statat, symlinkat, unlinkat};
use rustix::io::Errno;

use crate::memory::Memory;
use crate::terminal;
use crate::words::Words;

/// What is left for the operator.
const REMAINS: &str = "left to do: put the earlier plugins where these were, before the next pod comes or goes
";

type Path = heapless::String<{ limits::PATH }>;

fn failed(what: Phrase, path: &str, errno: Errno) -> Error {
    err!(IO, what, path, ": errno ", errno.raw_os_error())
}

/// What is asked for.
struct Options {
    dir: &'static str,
    uninstall: bool,
    dry_run: bool,
    /// The operator says that the plugins to come use nftables.
    nftables: bool,
}

fn options(arguments: Words) -> Result<Options> {
    let mut options = Options { dir: "", uninstall: false, dry_run: false, nftables: false };
    for at in 2..7 {
        match arguments.get(at) {
            "" => break,
            "--uninstall" => options.uninstall = true,
            "--dry-run" => options.dry_run = true,
            "--backend=nftables" => options.nftables = true,
            word if word.starts_with('-') || !options.dir.is_empty() => {
                return Err(err!(ENVIRONMENT, "unknown word", word, "; see picocni help install"));
            }
            word => options.dir = word.trim_end_matches('/'),
        }
    }
    if options.dir.is_empty() {
        return Err(err!(
            ENVIRONMENT,
            "missing DIR",
            "usage: picocni install [--uninstall] [--dry-run] [--backend=nftables] DIR, for example /opt/cni/bin"
        ));
    }
    Ok(options)
}

/// Makes the links, or hands back and removes them; gives the exit code.
///
/// # Errors
/// Code 4: usage; code 103: another file has a plugin's name, or an attachment
/// cannot be handed back; code 101; code 5.
#[inline(never)]
pub(crate) fn run(arguments: Words, environ: Environ, memory: &'static mut Memory) -> Result<i32> {
    let options = options(arguments)?;
    if options.uninstall {
        return take_away(&options, environ, memory);
    }
    let Options { dir, dry_run, .. } = options;
    let mut bytes = [core::mem::MaybeUninit::<u8>::uninit(); limits::PATH];
    let (own, _) = readlinkat_raw(CWD, "/proc/self/exe", &mut bytes)
        .map_err(|errno| failed(&"failed to find own file", "/proc/self/exe", errno))?;
    let own = core::str::from_utf8(own).map_err(|_| err!(IO, "own path is not UTF-8"))?;
    // A link beside the program survives a move of the directory.
    let target =
        own.strip_prefix(dir).and_then(|rest| rest.strip_prefix('/')).filter(|rest| !rest.contains('/')).unwrap_or(own);
    if !dry_run {
        make_dir(dir)?;
    }
    // Looked at first: either every link is made or none.
    for plugin in picocni::REGISTRY {
        let path = link_path(dir, plugin.name())?;
        if found(&path)? == Found::Other {
            return Err(err!(
                CONFLICT,
                "another file is in the way",
                path,
                " is not a link to picocni; move it away first"
            ));
        }
    }
    for plugin in picocni::REGISTRY {
        let path = link_path(dir, plugin.name())?;
        if dry_run {
            terminal::out(&[&path, &" -> ", &target, &"\n"]);
            continue;
        }
        match symlinkat(target, CWD, path.as_str()) {
            Ok(()) => terminal::out(&[&path, &" -> ", &target, &"\n"]),
            Err(Errno::EXIST) => terminal::out(&[&path, &" is there already\n"]),
            Err(errno) => return Err(failed(&"failed to make link", &path, errno)),
        }
    }
    Ok(0)
}

fn make_dir(dir: &str) -> Result<()> {
    match mkdirat(CWD, dir, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(&"failed to make directory", dir, errno)),
    }
    Ok(())
}

/// Where iptables may be.
const PROGRAMS: [&str; 4] = ["/usr/sbin/iptables", "/sbin/iptables", "/usr/local/sbin/iptables", "/usr/bin/iptables"];

/// The reference plugins use iptables where it is, unless their config says
/// otherwise, and then do not delete what is in nftables' form.
fn check_backend(holds: bool, nftables: bool) -> Result<()> {
    let program = PROGRAMS.into_iter().find(|path| stat(*path).is_ok());
    match program.filter(|_| holds && !nftables) {
        Some(program) => Err(err!(
            CONFLICT,
            "the plugins to come would use iptables",
            program,
            " is there. If their configs say \"backend\" and \"ipMasqBackend\": \"nftables\", add --backend=nftables; \
             else end the pods named above first. Nothing was changed"
        )),
        None => Ok(()),
    }
}

/// Hands back what live attachments hold, then removes the links. With
/// `dry_run` it says what it would do.
fn take_away(options: &Options, environ: Environ, memory: &'static mut Memory) -> Result<i32> {
    let Options { dir, dry_run, nftables, .. } = *options;
    let program::Memory { linux, session, .. } = &mut memory.plugin;
    let mut backend = Linux::new(linux, environ);
    let mut session = Session::new(&mut backend, picocni::REGISTRY, session);
    let mut holds = false;
    hand_back::examine(&mut session, &mut |what, tag, why| match why {
        Some(why) => terminal::error(&[&what, &" of ", tag, &" cannot be handed back: ", &why, &"\n"]),
        None => {
            holds |= what != hand_back::GUARD;
            terminal::out(&[&"hand back ", &what, &" of ", tag, &"\n"]);
        }
    })?;
    check_backend(holds, nftables)?;
    if !dry_run {
        hand_back::run(&mut session)?;
    }
    for plugin in picocni::REGISTRY {
        let path = link_path(dir, plugin.name())?;
        if found(&path)? != Found::Own {
            continue;
        }
        terminal::out(&[&"remove ", &path, &"\n"]);
        if !dry_run {
            unlinkat(CWD, path.as_str(), AtFlags::empty())
                .map_err(|errno| failed(&"failed to remove link", &path, errno))?;
        }
    }
    terminal::out(&[&REMAINS]);
    Ok(0)
}

fn link_path(dir: &str, plugin: &str) -> Result<Path> {
    fits(&[&dir, &"/", &plugin]).ok_or_else(|| Error::limit("PATH", limits::PATH))
}

/// What has a plugin's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A link that leads to this very file.
    Own,
    /// This very file.
    Itself,
    Other,
}

fn found(path: &str) -> Result<Found> {
    let entry = match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(entry) => entry,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Found::Nothing),
        Err(errno) => return Err(failed(&"failed to look at", path, errno)),
    };
    let link = FileType::from_raw_mode(entry.st_mode) == FileType::Symlink;
    match (stat(path), stat("/proc/self/exe")) {
        (Ok(there), Ok(own)) if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino) => {
            Ok(if link { Found::Own } else { Found::Itself })
        }
        _ => Ok(Found::Other),
    }
}
