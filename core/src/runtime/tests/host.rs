//! A host in memory: files, sandboxes, scripted foreign plugins, and a record
//! of every plugin call.

extern crate std;

use std::borrow::ToOwned;
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::string::{String, ToString};
use std::vec::Vec;

use core::net::IpAddr;

use crate::backend::{Applied, Backend, Exit, Found, Removed, Sandbox};
use crate::env::Environment;
use crate::err;
use crate::error::Result;
use crate::limits;
use crate::name::{IfIndex, IfName, Mac};
use crate::net::Family;
use crate::observe::{Address, FirewallEntry, Link, Ns, PublishedPort, Route, Rule};
use crate::op::{Change, Removal};
use crate::packet_filter::{Chain, RuleView};

/// One plugin call as the plugin saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Called {
    pub(super) kind: String,
    pub(super) command: String,
    pub(super) request: String,
    /// Of foreign plugins: container ID, netns, ifname, args.
    pub(super) env: [String; 4],
}

/// What a foreign plugin does: exit code, stdout, stderr.
pub(super) type Script = Box<dyn Fn(&Called) -> (u32, String, String)>;

#[derive(Default)]
pub(super) struct Host {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) sandboxes: BTreeSet<String>,
    pub(super) foreign: BTreeMap<String, Script>,
    pub(super) calls: Vec<Called>,
    /// Writing below this directory fails.
    pub(super) read_only: String,
    /// Listing this directory fails.
    pub(super) unreadable: String,
}

impl Host {
    pub(super) fn put(&mut self, path: &str, content: &str) {
        self.files.insert(path.to_owned(), content.as_bytes().to_vec());
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(|content| core::str::from_utf8(content).unwrap())
    }

    /// `KIND COMMAND` of every call so far, which are then forgotten.
    pub(super) fn take_calls(&mut self) -> Vec<String> {
        self.calls.drain(..).map(|call| call.kind + " " + &call.command).collect()
    }

    fn is_dir(&self, path: &str) -> bool {
        let prefix = path.trim_end_matches('/').to_owned() + "/";
        self.files.keys().any(|file| file.starts_with(&prefix))
    }
}

impl Backend for Host {
    fn open_sandbox(&mut self, path: &str) -> Result<Sandbox> {
        Ok(if self.sandboxes.contains(path) { Sandbox::Open } else { Sandbox::Missing })
    }

    fn sandbox_is_own(&mut self) -> Result<bool> {
        Ok(false)
    }

    fn sandbox_identity(&mut self, _: &mut heapless::String<64>) {}

    fn sandbox_lives(&mut self, _: &str, _: &str) -> bool {
        unimplemented!()
    }

    fn link(&mut self, _: Ns, _: &IfName) -> Result<Option<Link>> {
        unimplemented!()
    }

    fn link_at(&mut self, _: Ns, _: IfIndex) -> Result<Option<Link>> {
        unimplemented!()
    }

    fn links(&mut self, _: Ns, _: &mut dyn FnMut(&Link)) -> Result<()> {
        unimplemented!()
    }

    fn addresses(&mut self, _: Ns, _: IfIndex, _: Option<Family>, _: &mut dyn FnMut(&Address)) -> Result<()> {
        unimplemented!()
    }

    fn routes(&mut self, _: Ns, _: IfIndex, _: &mut dyn FnMut(&Route)) -> Result<()> {
        unimplemented!()
    }

    fn route_tables(&mut self, _: Ns, _: &mut dyn FnMut(u32)) -> Result<()> {
        unimplemented!()
    }

    fn rules(&mut self, _: Ns, _: &mut dyn FnMut(&Rule)) -> Result<()> {
        unimplemented!()
    }

    fn probe_vrf(&mut self) -> Result<()> {
        unimplemented!()
    }

    fn lock_sandbox(&mut self) -> Result<()> {
        unimplemented!()
    }

    fn default_route_link(&mut self, _: Ns) -> Result<Option<Link>> {
        Ok(None)
    }

    fn route_link(&mut self, _: IpAddr) -> Result<Option<Link>> {
        unimplemented!()
    }

    fn sysctl(&mut self, _: Ns, _: &str, _: &mut heapless::String<{ limits::SYSCTL_VALUE }>) -> Result<bool> {
        unimplemented!()
    }

    fn machine(&mut self) -> u64 {
        0
    }

    fn now_us(&mut self) -> u64 {
        0
    }

    fn apply(&mut self, changes: &[Change<'_>], report: &mut Applied<'_>) {
        for (at, change) in changes.iter().enumerate() {
            let Change::WriteFile { path, content } = change else { unimplemented!() };
            if self.files.contains_key(*path) {
                report(at, Err(err!(CONFLICT, "file exists", path)));
                continue;
            }
            self.files.insert((*path).to_owned(), content.to_vec());
            report(at, Ok(Some(Removal::RemoveFile { path })));
        }
    }

    fn remove(&mut self, removals: &[Removal<'_>], report: &mut Removed<'_>) {
        for (at, removal) in removals.iter().enumerate() {
            let Removal::RemoveFile { path } = removal else { unimplemented!() };
            self.files.remove(*path);
            report(at, Ok(()));
        }
    }

    fn read_link(&mut self, _: &str, _: &str, _: &mut heapless::String<{ limits::TAG }>) -> Result<bool> {
        unimplemented!()
    }

    fn is_published(&mut self, _: &PublishedPort, _: &str) -> Result<bool> {
        unimplemented!()
    }

    fn is_guarded(&mut self, _: IfIndex, _: Mac) -> Result<bool> {
        unimplemented!()
    }

    fn is_masqueraded(&mut self, _: IpAddr, _: &str) -> Result<bool> {
        unimplemented!()
    }

    fn find_chains(&mut self, _: &[Chain<'_>]) -> Result<u32> {
        unimplemented!()
    }

    fn chain_rules(&mut self, _: &Chain<'_>, _: &mut dyn FnMut(&RuleView<'_>)) -> Result<()> {
        unimplemented!()
    }

    fn lacks_policy(&mut self, _: &crate::op::Policy<'_>) -> Result<Option<&'static str>> {
        unimplemented!()
    }

    fn tracks_bridges(&mut self) -> Result<bool> {
        unimplemented!()
    }

    fn probe_filter(&mut self) -> Result<()> {
        unimplemented!()
    }

    fn shaping(&mut self, _: IfIndex) -> Result<crate::shaping::Shaping> {
        unimplemented!()
    }

    fn probe_shaping(&mut self, _: bool) -> Result<()> {
        unimplemented!()
    }

    fn is_entered(&mut self, _: &FirewallEntry, _: &str) -> Result<bool> {
        unimplemented!()
    }

    fn filters_frames(&mut self) -> Result<bool> {
        unimplemented!()
    }

    fn has_firewalld(&mut self) -> Result<bool> {
        unimplemented!()
    }

    fn is_bound(&mut self, _: &str, _: IpAddr) -> Result<bool> {
        unimplemented!()
    }

    fn forward_drop(&mut self, _: &mut heapless::String<{ limits::TAG }>) -> Result<bool> {
        unimplemented!()
    }

    fn iptables_rules(&mut self, _: bool, _: &str, _: &mut dyn FnMut(&str)) -> Result<()> {
        unimplemented!()
    }

    fn read_file(&mut self, path: &str, out: &mut [u8]) -> Result<Option<usize>> {
        if self.is_dir(path) {
            return Err(err!(IO, "reading failed", "is a directory"));
        }
        let Some(content) = self.files.get(path) else {
            return Ok(None);
        };
        for (slot, byte) in out.iter_mut().zip(content) {
            *slot = *byte;
        }
        Ok(Some(content.len()))
    }

    fn write_file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        if !self.read_only.is_empty() && path.starts_with(&self.read_only) {
            return Err(err!(IO, "writing failed", "read-only file system"));
        }
        if let Some(call) = path.strip_prefix("/calls/") {
            let (kind, command) = call.split_once(' ').unwrap();
            self.calls.push(Called {
                kind: kind.to_owned(),
                command: command.to_owned(),
                request: core::str::from_utf8(content).unwrap().to_owned(),
                env: Default::default(),
            });
            return Ok(());
        }
        self.files.insert(path.to_owned(), content.to_vec());
        Ok(())
    }

    fn list(&mut self, dir: &str, each: &mut dyn FnMut(&str)) -> Result<bool> {
        if self.unreadable == dir {
            return Err(err!(IO, "listing failed", dir));
        }
        let prefix = dir.trim_end_matches('/').to_owned() + "/";
        let names: BTreeSet<&str> = self
            .files
            .keys()
            .filter_map(|file| file.strip_prefix(&prefix))
            .map(|rest| rest.split('/').next().unwrap())
            .collect();
        // Not in order, as the kernel gives them.
        names.iter().rev().for_each(|name| each(name));
        Ok(!names.is_empty())
    }

    fn leases(&mut self, _: &str, _: &mut dyn FnMut(IpAddr, &[u8])) -> Result<bool> {
        unimplemented!()
    }

    fn lock(&mut self, _: &str) -> Result<()> {
        Ok(())
    }

    fn unlock(&mut self) {}

    fn find(&mut self, plugin: &str, path: &str) -> Result<Found> {
        assert_eq!(path, "/opt/cni/bin");
        let mut program = heapless::String::new();
        program.push_str("/opt/cni/bin/").unwrap();
        program.push_str(plugin).unwrap();
        Ok(match plugin {
            "own-stranger" => Found::Own,
            _ if self.foreign.contains_key(plugin) => Found::Foreign(program),
            _ => Found::Missing,
        })
    }

    fn exec(&mut self, program: &str, env: &Environment<'_>, stdin: &[u8], out: &mut [u8]) -> Result<Exit> {
        let kind = program.rsplit('/').next().unwrap().to_owned();
        let call = Called {
            command: env.command.to_owned(),
            request: core::str::from_utf8(stdin).unwrap().to_owned(),
            env: [env.container_id, env.netns, env.ifname, env.args].map(|word| word.to_string()),
            kind,
        };
        let (code, stdout, stderr) = self.foreign[&call.kind](&call);
        self.calls.push(call);
        out[..stdout.len()].copy_from_slice(stdout.as_bytes());
        let mut kept = heapless::String::new();
        kept.push_str(&stderr).unwrap();
        Ok(Exit { code, stdout: stdout.len(), stderr: kept })
    }
}
