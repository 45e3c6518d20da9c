//! Networks of toy plugins on a host in memory.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::arithmetic_side_effects,
    clippy::unimplemented,
    clippy::std_instead_of_core,
    reason = "tests"
)]

extern crate std;

mod add;
mod cached;
mod failed_add;
mod host;
mod loading;
mod others;

use std::boxed::Box;
use std::string::String;
use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

use super::*;
use crate::conf::{COMMON_LEN, with_common};
use crate::err;
use crate::error::Error;
use crate::json::raw::member;
use crate::json::{Key, Str};
use crate::limits;
use crate::net::Cidr;
use crate::op::{Change, Plan, Removal};
use crate::plugin::{Call, Plugin};
use crate::result::{AddResult, Interface, IpConfig};
use crate::session::Workspace;
use crate::text::fits;
use host::{Called, Host, Script};

/// A plugin that makes a file for an attachment, or (chained) a second one.
#[derive(Debug)]
struct Toy {
    name: &'static str,
    chained: bool,
}

const KEYS: [Key; COMMON_LEN + 1] = with_common([Key::str("failOn")]);

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct ToyConf<'a> {
    #[serde(borrow, rename = "failOn")]
    fail_on: Str<'a>,
}

impl Toy {
    /// Records the call, and fails if the config says so.
    fn enter(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let word = call.env.command.as_str();
        let path = fits::<64>(&[&"/calls/", &self.name, &" ", &word]).unwrap();
        session.backend.write_file(&path, call.raw)?;
        let conf: ToyConf<'_> = call.config()?;
        if conf.fail_on == *word { Err(err!(EXHAUSTED, "toy broke", "as it was told")) } else { Ok(()) }
    }

    fn file(&self, call: &Call<'_>) -> heapless::String<128> {
        fits(&[&"/made/", &self.name, &"/", &call.env.container_id, &"-", &call.env.ifname]).unwrap()
    }
}

impl Plugin for Toy {
    fn name(&self) -> &'static str {
        self.name
    }

    fn keys(&self) -> &'static [Key] {
        const { &KEYS }
    }

    fn is_chained(&self) -> bool {
        self.chained
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let file = self.file(call);
        let mut plan = Plan::new();
        plan.change(Change::WriteFile { path: &file, content: b"" })?;
        session.apply(&plan)?;
        if self.chained {
            result.clone_from(call.required_prev()?);
            result.dns.domain.push_str("chained.test").unwrap();
        } else {
            result.add_interface(Interface { name: fits(&[&call.env.ifname]).unwrap(), ..Interface::default() })?;
            let address = Cidr::parse("10.1.0.2/24").unwrap();
            result.ips.push(IpConfig { interface: Some(0), address, gateway: None }).unwrap();
        }
        self.enter(call, session)
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        self.enter(call, session)
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        self.enter(call, session)?;
        let file = self.file(call);
        let mut plan = Plan::new();
        plan.remove(Removal::RemoveFile { path: &file })?;
        session.remove(&plan)
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        self.enter(call, session)
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        self.enter(call, session)
    }
}

static REGISTRY: &[&dyn Plugin] = &[
    &Toy { name: "main", chained: false },
    &Toy { name: "tail", chained: true },
    &Toy { name: "rear", chained: true },
];

const RESULT: &str =
    r#"{"cniVersion":"1.1.0","interfaces":[{"name":"eth0"}],"ips":[{"address":"10.1.0.2/24","interface":0}]}"#;
const CHAINED: &str = r#"{"cniVersion":"1.1.0","dns":{"domain":"chained.test"},"interfaces":[{"name":"eth0"}],"ips":[{"address":"10.1.0.2/24","interface":0}]}"#;

const ATTACHMENT: Attachment<'static> = Attachment {
    network: "net",
    container_id: "c1",
    netns: "/run/netns/a",
    ifname: "eth0",
    cni_args: "",
    capability_args: "",
    conf_dir: "/etc/cni/net.d",
    cni_path: "/opt/cni/bin",
    cache_dir: "/cache",
};

const CACHE_FILE: &str = "/cache/results/net-c1-eth0";

/// A host with the network `net`, version 1.1.0, of these plugin objects.
fn host(plugins: &str) -> Host {
    host_of(r#""cniVersion":"1.1.0""#, plugins)
}

fn host_of(members: &str, plugins: &str) -> Host {
    let mut host = Host::default();
    host.put("/etc/cni/net.d/10-net.conflist", &std::format!(r#"{{"name":"net",{members},"plugins":[{plugins}]}}"#));
    host.sandboxes.insert("/run/netns/a".into());
    host
}

/// A foreign plugin that succeeds and prints this on ADD.
fn prints(host: &mut Host, kind: &str, stdout: &'static str) {
    runs(
        host,
        kind,
        Box::new(move |call| (0, if call.command == "ADD" { stdout.into() } else { String::new() }, String::new())),
    );
}

fn runs(host: &mut Host, kind: &str, script: Script) {
    host.foreign.insert(kind.into(), script);
}

/// Static as in the binary: a test's stack is too small for it, and what an
/// earlier test left in it must not matter.
static MEMORY: Mutex<(Workspace, RuntimeMemory)> = Mutex::new((Workspace::new(), RuntimeMemory::new()));

/// Runs `what` with a session on `host`.
fn with<T>(host: &mut Host, what: impl FnOnce(&mut Session<'_>, &mut RuntimeMemory) -> T) -> T {
    let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    let (work, runtime) = &mut *memory;
    let mut session = Session::new(host, REGISTRY, work);
    what(&mut session, runtime)
}

fn add_to(host: &mut Host, attachment: &Attachment<'_>) -> Result<String> {
    with(host, |session, memory| add(session, memory, attachment, &mut |_| {}).map(String::from))
}

fn del_from(host: &mut Host, attachment: &Attachment<'_>) -> Result<()> {
    with(host, |session, memory| del(session, memory, attachment, &mut |_| {}))
}

fn check_of(host: &mut Host, attachment: &Attachment<'_>) -> Result<()> {
    with(host, |session, memory| check(session, memory, attachment, &mut |_| {}))
}

fn gc_of(host: &mut Host, valid: Option<&[(&str, &str)]>) -> Result<()> {
    with(host, |session, memory| gc(session, memory, &ATTACHMENT, valid, &mut |_| {}))
}

fn status_of(host: &mut Host) -> Result<()> {
    with(host, |session, memory| status(session, memory, &ATTACHMENT, &mut |_| {}))
}

/// The named member of a call's request.
fn sent<'c>(call: &'c Called, key: &str) -> Option<&'c str> {
    member(&call.request, key)
}

fn details(error: &Error) -> String {
    String::from(error.details().as_str())
}

fn files_below<'h>(host: &'h Host, dir: &str) -> Vec<&'h str> {
    host.files.keys().filter(|file| file.starts_with(dir)).map(String::as_str).collect()
}
