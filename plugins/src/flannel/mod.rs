//! `flannel`: makes a delegate's config out of its own and of what flanneld
//! wrote for this node, and lets the delegate do the work.

mod conf;
mod gc;
mod saved;
mod subnet;
#[cfg(test)]
mod tests;

use picocni_core::err;
use picocni_core::error::{Code, Error, Result};
use picocni_core::json::{Key, Writer};
use picocni_core::limits;
use picocni_core::op::{Change, Plan};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::AddResult;
use picocni_core::session::Session;
use picocni_core::version::Command;

use saved::{Path, Saved};
use subnet::Subnet;

/// The plugin.
#[derive(Debug)]
pub struct Flannel;

impl Plugin for Flannel {
    fn name(&self) -> &'static str {
        "flannel"
    }

    fn keys(&self) -> &'static [Key] {
        conf::KEYS
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        run(call, session, Command::Add, Some(result))
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        run(call, session, Command::Check, None)
    }

    fn reconcile(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        // The delegate is asked to, by the session.
        self.check(call, session)
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        run(call, session, Command::Del, None)
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        run(call, session, Command::Gc, None)
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        run(call, session, Command::Status, None)
    }
}

/// Where things are.
#[derive(Debug)]
struct Paths<'a> {
    /// The file of flanneld.
    subnet_file: &'a str,
    /// Directory of the saved configs.
    data_dir: &'a str,
}

/// Every command needs the paths and the buffer of composed configs.
fn run(call: &Call<'_>, session: &mut Session<'_>, command: Command, result: Option<&mut AddResult>) -> Result<()> {
    let paths = Paths {
        subnet_file: conf::path(call, "subnetFile", "/run/flannel/subnet.env")?,
        data_dir: conf::path(call, "dataDir", "/var/lib/cni/flannel")?.trim_end_matches(|c| c == '/'),
    };
    session.compose(|session, buffer| match command {
        Command::Add => add(call, session, &paths, buffer, result),
        Command::Check | Command::Del => check_or_del(call, session, &paths, buffer, command),
        Command::Gc => gc::gc(call, session, &paths, buffer),
        Command::Status | Command::Version => {
            let length = compose(call, session, &paths, buffer).map_err(|error| error.as_code(Code::NOT_AVAILABLE))?;
            ask(call, session, buffer, length, command)
        }
    })
}

fn add(
    call: &Call<'_>,
    session: &mut Session<'_>,
    paths: &Paths<'_>,
    buffer: &mut [u8],
    result: Option<&mut AddResult>,
) -> Result<()> {
    let mut path = Path::new();
    if !saved::place(call, paths.data_dir, &mut path) {
        return Err(Error::limit("FILE_NAME", limits::FILE_NAME));
    }
    let length = compose(call, session, paths, buffer)?;
    let content = buffer.get(..length).unwrap_or_default();
    let earlier = session.backend.read_file(&path, &mut [])?.is_some();
    // Before the delegate runs, so that DEL finds it whatever happens.
    if !earlier {
        let mut plan = Plan::new();
        plan.change(Change::WriteFile { path: &path, content })?;
        session.apply(&plan)?;
    }
    delegate(call, session, content, Command::Add, result)?;
    // That of an earlier ADD is what DEL needs until this one has succeeded.
    if earlier { session.backend.write_file(&path, content) } else { Ok(()) }
}

fn check_or_del(
    call: &Call<'_>,
    session: &mut Session<'_>,
    paths: &Paths<'_>,
    buffer: &mut [u8],
    command: Command,
) -> Result<()> {
    let del = command == Command::Del;
    let mut path = Path::new();
    let Some(mut length) = saved::find(call, session, paths.data_dir, &mut path, halves(buffer).0)? else {
        let (container, dir) = (call.env.container_id, paths.data_dir);
        let missing = || Err(err!(CHANGED, "saved config of the delegate is missing", container, " in ", dir));
        return if del { Ok(()) } else { missing() };
    };
    if del && buffer.get(..length).and_then(Saved::parse).is_none() {
        // Torn by a power cut: what would be written now is the best guess.
        length = compose_without(call, session, paths, buffer)?;
    }
    ask(call, session, buffer, length, command)?;
    // Only now: a delegate that failed needs it again.
    if del { saved::forget(session, &path) } else { Ok(()) }
}

/// Room for a config, and for a request made of it.
fn halves(buffer: &mut [u8]) -> (&mut [u8], &mut [u8]) {
    buffer.split_at_mut_checked(limits::STATE_FILE).unwrap_or_default()
}

/// Writes the delegate's config to the start of the buffer.
fn compose(call: &Call<'_>, session: &mut Session<'_>, paths: &Paths<'_>, buffer: &mut [u8]) -> Result<usize> {
    let (text, file) = halves(buffer);
    conf::compose(call, Subnet::load(session, paths.subnet_file, file)?, text)
}

/// As [`compose`], without the node's subnets if there are none: teardown does not need them.
fn compose_without(call: &Call<'_>, session: &mut Session<'_>, paths: &Paths<'_>, buffer: &mut [u8]) -> Result<usize> {
    compose(call, session, paths, buffer).or_else(|_| conf::compose(call, Subnet::default(), halves(buffer).0))
}

/// Asks the delegate of the config in the first `length` bytes of the buffer,
/// with what this call has of prevResult and of GC's lists.
fn ask(call: &Call<'_>, session: &mut Session<'_>, buffer: &mut [u8], length: usize, command: Command) -> Result<()> {
    let (text, request) = halves(buffer);
    let text = text.get(..length).and_then(|text| core::str::from_utf8(text).ok()).unwrap_or_default();
    let mut writer = Writer::new(request);
    writer.begin_object();
    conf::copy(&mut writer, text, "");
    let keys: &[&str] = match command {
        Command::Check => &["prevResult"],
        Command::Gc => &["cni.dev/valid-attachments", "cni.dev/attachments"],
        _ => &[],
    };
    for key in keys {
        let value = call.at(&[key]);
        if !value.is_empty() {
            writer.key(key).raw(value);
        }
    }
    writer.end_object();
    let length = writer.finish().map_err(|_| Error::limit("REQUEST", limits::REQUEST))?;
    delegate(call, session, request.get(..length).unwrap_or_default(), command, None)
}

/// Runs the delegate that a config names.
#[inline(never)]
fn delegate(
    call: &Call<'_>,
    session: &mut Session<'_>,
    raw: &[u8],
    command: Command,
    result: Option<&mut AddResult>,
) -> Result<()> {
    let kind = Saved::parse(raw).map_or("", |config| config.kind);
    if kind == "flannel" {
        return Err(err!(CONFIG, "flannel cannot be its own delegate"));
    }
    let prev = call.prev.filter(|_| command == Command::Check);
    session.delegate_composed(kind, &Call { raw, prev, ..*call }, command, result)
}
