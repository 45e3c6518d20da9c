//! A plugin's whole call on any bytes: ADD and then DEL, on a model of a host.
//!
//! The laws: nothing panics; what is printed is JSON, a result or an error
//! object with a code and a phrase, within the buffer; a text that serde_json
//! refuses is refused; DEL succeeds after ADD; and the same call on the same
//! host is answered with the same bytes.

use std::cell::RefCell;

use picocni_core::dispatch::{CallMemory, Reply, serve};
use picocni_core::env::Environment;
use picocni_core::json::raw::rewrite_object;
use picocni_core::json::validate;
use picocni_core::limits;
use picocni_core::plugin::Plugin;
use picocni_core::session::{Session, Workspace};
use picocni_core::sim::SimBackend;

const NETNS: &str = "/run/netns/pod";

/// What calls need, made once for each thread: it is large.
struct Host {
    sim: Box<SimBackend>,
    session: Box<Workspace>,
    call: Box<CallMemory>,
    out: Vec<u8>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::new(crate::on_large_stack(|| Host {
        sim: Box::new(SimBackend::new()),
        session: Box::new(Workspace::new()),
        call: Box::new(CallMemory::new()),
        out: vec![0; limits::REQUEST],
    }));
}

/// Every plugin with `data` as its config, and with a config near its keys made from `data`.
pub fn run(data: &[u8]) {
    HOST.with_borrow_mut(|host| {
        for plugin in picocni::REGISTRY {
            host.check(*plugin, data);
            host.check(*plugin, &near(*plugin, data));
        }
    });
}

/// A config by the plugin's keys that gets past its network name and version.
fn near(plugin: &dyn Plugin, choices: &[u8]) -> Vec<u8> {
    let text = crate::json_scan::near(plugin.keys(), choices);
    let Ok(source) = validate(&text) else { return text };
    if !source.trim_start().starts_with('{') {
        return text;
    }
    let mut out = vec![0; text.len() + 64];
    let forced = [("cniVersion", "\"1.1.0\""), ("name", "\"net\"")];
    let length = rewrite_object(source, &forced, &[], &mut out).expect("it has room");
    out.truncate(length);
    out
}

impl Host {
    fn check(&mut self, plugin: &'static dyn Plugin, config: &[u8]) {
        self.boot();
        let first = self.call(plugin, "ADD", config);
        let valid = serde_json::from_slice::<serde::de::IgnoredAny>(config);
        assert!(first.is_err() || valid.is_ok(), "taken, but it is no JSON");
        let second = self.call(plugin, "DEL", config);
        assert!(first.is_err() || second.is_ok(), "{}: DEL of what ADD made: {second:?}", plugin.name());
        self.boot();
        assert_eq!(self.call(plugin, "ADD", config), first, "{}: the same call, another answer", plugin.name());
    }

    fn boot(&mut self) {
        self.sim.reset();
        self.sim.add_sandbox(NETNS).expect("an empty host has room");
    }

    /// One call; what it printed, by success.
    fn call(&mut self, plugin: &'static dyn Plugin, command: &str, config: &[u8]) -> Result<String, String> {
        let env = Environment {
            command,
            container_id: "pod",
            netns: NETNS,
            ifname: "eth0",
            args: "",
            path: "/opt/cni/bin",
            netns_override: "",
        };
        let mut session = Session::new(&mut *self.sim, picocni::REGISTRY, &mut self.session);
        session.allow_builtin_without_file();
        let reply = serve(plugin, &env, &mut || Ok(config), &mut session, &mut self.call, &mut self.out);
        let text = |length: usize| str::from_utf8(&self.out[..length]).expect("UTF-8 is printed").to_owned();
        match reply {
            Reply::Success(0) => Ok(String::new()),
            Reply::Success(length) | Reply::About(length) => {
                let text = text(length);
                let value: serde_json::Value = serde_json::from_str(&text).expect("a result is JSON");
                assert!(value["cniVersion"].is_string(), "{text}");
                Ok(text)
            }
            Reply::Failure(length) => {
                let text = text(length);
                let value: serde_json::Value = serde_json::from_str(&text).expect("an error is JSON");
                assert!(value["code"].is_u64() && value["msg"].as_str().is_some_and(|msg| !msg.is_empty()), "{text}");
                Err(text)
            }
        }
    }
}
