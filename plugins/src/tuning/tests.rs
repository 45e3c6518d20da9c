//! `tuning` on a model of a host.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic,
    clippy::expect_used,
    reason = "tests"
)]

extern crate std;

use std::boxed::Box;
use std::format;
use std::string::{String, ToString};

use picocni_core::backend::Backend;
use picocni_core::dispatch::{self, CallMemory, Reply};
use picocni_core::env::Environment;
use picocni_core::json::Str;
use picocni_core::name::{IfName, Mac};
use picocni_core::observe::{Link, LinkKind, Ns};
use picocni_core::op::{Change, LinkChange, LinkId, Undo};
use picocni_core::session::{Session, Workspace};
use picocni_core::sim::SimBackend;

use super::sysctl::{self, ALLOWLIST};
use super::{Tuning, backup};
use crate::proof::on_large_stack;

mod links;
mod rollback;
mod sysctls;

const NETNS: &str = "/run/netns/c1";
const BACKUP: &str = "/run/cni/tuning/c1_eth0.json";
const OLD_MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

const PREV: &str = r#""prevResult":{"cniVersion":"1.1.0","interfaces":[
    {"name":"eth0","mac":"02:00:00:00:00:01","mtu":1500},
    {"name":"br0","mac":"02:00:00:00:00:09"},
    {"name":"eth0","mac":"02:00:00:00:00:01","mtu":1500,"sandbox":"/run/netns/c1"}],
    "ips":[{"address":"10.1.0.5/24","interface":2}]}"#;

/// A host with a sandbox that holds `eth0`, and the memory of its calls.
struct Host {
    sim: Box<SimBackend>,
    work: Box<Workspace>,
    memory: Box<CallMemory>,
    args: &'static str,
}

/// What a call printed.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Ok(String),
    Error(String),
}

impl Answer {
    fn ok(self) -> String {
        match self {
            Answer::Ok(text) => text,
            Answer::Error(text) => panic!("failed: {text}"),
        }
    }

    /// The error, which must have this code.
    fn error(self, code: u32) -> String {
        let Answer::Error(text) = self else { panic!("succeeded: {self:?}") };
        assert!(text.contains(&format!("\"code\":{code},")), "{text}");
        text
    }
}

/// A config with these keys (each ends with a comma) and prevResult.
fn config(keys: &str) -> String {
    format!(r#"{{"cniVersion":"1.1.0","name":"net1","type":"tuning",{keys}{PREV}}}"#)
}

/// The sandbox as an earlier plugin left it.
fn arrange(sim: &mut SimBackend) {
    sim.add_sandbox(NETNS).unwrap();
    sim.open_sandbox(NETNS).unwrap();
    sim.add_link(Ns::Sandbox, "eth0", LinkKind::Veth, OLD_MAC).unwrap();
    let set = LinkChange { mtu: Some(1500), txqlen: Some(1000), up: Some(true), ..LinkChange::NONE };
    let link = LinkId::Name(IfName::of("eth0"));
    sim.arrange(&[Change::SetLink { ns: Ns::Sandbox, link, set, undo: Undo::WithLink }]).unwrap();
    sim.end_process();
}

fn boxed<T: Send + 'static>(make: fn() -> T) -> Box<T> {
    on_large_stack(move || Box::new(make()))
}

impl Host {
    fn new() -> Self {
        let mut sim = boxed(SimBackend::new);
        arrange(&mut sim);
        Host { sim, work: boxed(Workspace::new), memory: boxed(CallMemory::new), args: "" }
    }

    /// One process of the plugin.
    fn call(&mut self, command: &str, conf: &str) -> Answer {
        self.call_on(command, NETNS, conf)
    }

    fn call_on(&mut self, command: &str, netns: &str, conf: &str) -> Answer {
        let env = Environment {
            command,
            container_id: "c1",
            netns,
            ifname: "eth0",
            args: self.args,
            path: "/opt/cni/bin",
            netns_override: "",
        };
        self.work = boxed(Workspace::new);
        let mut out = [0u8; 8192];
        let mut session = Session::new(&mut *self.sim, crate::REGISTRY, &mut self.work);
        let reply =
            dispatch::serve(&Tuning, &env, &mut || Ok(conf.as_bytes()), &mut session, &mut self.memory, &mut out);
        self.sim.end_process();
        let text = |length: usize| String::from_utf8(out[..length].to_vec()).unwrap();
        match reply {
            Reply::Success(length) => Answer::Ok(text(length)),
            Reply::Failure(length) => Answer::Error(text(length)),
            Reply::About(_) => panic!("no command"),
        }
    }

    fn add(&mut self, keys: &str) -> Answer {
        self.call("ADD", &config(keys))
    }

    fn link(&mut self) -> Link {
        self.sim.open_sandbox(NETNS).unwrap();
        self.sim.link(Ns::Sandbox, &IfName::of("eth0")).unwrap().unwrap()
    }

    fn set(&mut self, set: LinkChange<'static>) {
        self.sim.open_sandbox(NETNS).unwrap();
        let link = LinkId::Name(IfName::of("eth0"));
        self.sim.arrange(&[Change::SetLink { ns: Ns::Sandbox, link, set, undo: Undo::WithLink }]).unwrap();
    }

    fn sysctl(&mut self, key: &str) -> Option<String> {
        self.sim.open_sandbox(NETNS).unwrap();
        let mut value = heapless::String::new();
        self.sim.sysctl(Ns::Sandbox, key, &mut value).unwrap().then(|| value.as_str().to_string())
    }

    fn file(&self, path: &str) -> Option<String> {
        self.sim.file(path).map(|content| String::from_utf8(content.to_vec()).unwrap())
    }
}

#[test]
fn nothing_to_tune_hands_prev_result_on() {
    let mut host = Host::new();
    host.sim.set_file(ALLOWLIST, b"(?i)never read without sysctls\n").unwrap();
    let printed = host.add(r#""sysctl":{},"mtu":0,"promisc":false,"#).ok();
    assert!(printed.contains(r#""address":"10.1.0.5/24""#), "{printed}");
    assert!(printed.contains(r#""mac":"02:00:00:00:00:01""#), "{printed}");
    assert_eq!(host.file(BACKUP), None);
    assert_eq!(host.link().mtu, 1500);
    host.call("CHECK", &config("")).ok();
    assert_eq!(host.call("DEL", &config("")).ok(), "");
}

#[test]
fn prev_result_is_required_by_add_and_check_only() {
    let mut host = Host::new();
    let bare = r#"{"cniVersion":"1.1.0","name":"net1","type":"tuning","mtu":1400}"#;
    for command in ["ADD", "CHECK"] {
        assert!(host.call(command, bare).error(7).contains("Required prevResult missing"));
    }
    assert_eq!(host.link().mtu, 1500);
    host.call("DEL", bare).ok();
    host.call("STATUS", bare).ok();
}

#[test]
fn status_reads_the_config() {
    let mut host = Host::new();
    host.call("STATUS", &config(r#""mtu":1400,"#)).ok();
    host.call("STATUS", &config(r#""mtu":-1,"#)).error(7);
    host.call("STATUS", &config(r#""mac":"nonsense","#)).error(7);
}

#[test]
fn gc_removes_backups_of_this_network_that_belong_to_nobody() {
    on_large_stack(remove_stale_backups);
}

fn remove_stale_backups() {
    let mut host = Host::new();
    let tagged = |tag: &str| format!(r#"{{"mtu":1500,"picocni":"{tag}"}}"#);
    // More than one slice of stale ones, between others that stay.
    for at in 0..40 {
        let path = format!("/run/cni/tuning/dead{at}_eth0.json");
        host.sim.set_file(&path, tagged(&format!("picocni:net1:dead{at}:eth0")).as_bytes()).unwrap();
        let path = format!("/run/cni/tuning/dead{at}_net.json");
        host.sim.set_file(&path, tagged(&format!("picocni:net2:dead{at}:net")).as_bytes()).unwrap();
    }
    host.sim.set_file("/run/cni/tuning/live_eth0.json", tagged("picocni:net1:live:eth0").as_bytes()).unwrap();
    host.sim.set_file("/run/cni/tuning/peer_eth0.json", br#"{"mtu":1500}"#).unwrap();
    host.sim.set_file("/run/cni/tuning/torn_eth0.json", b"").unwrap();
    host.sim.set_file("/run/cni/tuning/note.txt", tagged("picocni:net1:dead:eth0").as_bytes()).unwrap();
    let names = |host: &mut Host| {
        let mut count = 0;
        host.sim.list("/run/cni/tuning", &mut |_| count += 1).unwrap();
        count
    };
    assert_eq!(names(&mut host), 84);
    host.call_on("GC", "", r#"{"cniVersion":"1.1.0","name":"net1","type":"tuning"}"#).ok();
    assert_eq!(names(&mut host), 84, "an absent list is not an empty one");
    let valid = r#""cni.dev/valid-attachments":[{"containerID":"live","ifname":"eth0"}]"#;
    host.call_on("GC", "", &format!(r#"{{"cniVersion":"1.1.0","name":"net1","type":"tuning",{valid}}}"#)).ok();
    assert_eq!(names(&mut host), 44);
    assert!(host.file("/run/cni/tuning/live_eth0.json").is_some());
    assert!(host.file("/run/cni/tuning/dead7_net.json").is_some());
    assert!(host.file("/run/cni/tuning/dead7_eth0.json").is_none());
    host.call_on("GC", "", r#"{"cniVersion":"1.1.0","name":"net1","type":"tuning","cni.dev/attachments":[]}"#).ok();
    assert_eq!(host.file("/run/cni/tuning/live_eth0.json"), None);
    let nowhere =
        r#"{"cniVersion":"1.1.0","name":"net1","type":"tuning","cni.dev/attachments":[],"dataDir":"/no/such"}"#;
    host.call_on("GC", "", nowhere).ok();
}
