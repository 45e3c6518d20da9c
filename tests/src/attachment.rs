//! A pod that a test attaches to a network.

use std::path::PathBuf;

use serde_json::Value;

use crate::kernel::{Link, Snapshot};
use crate::netns::Netns;
use crate::plugin::{Call, Outcome};
use crate::sandbox::Sandbox;

/// A container ID and its network namespace, to be attached as `eth0`.
#[derive(Debug)]
pub struct Pod<'a> {
    host: &'a Sandbox,
    netns: Netns,
    id: String,
}

impl<'a> Pod<'a> {
    /// A pod with a namespace of its own; its container ID and the namespace have the same name.
    pub fn new(host: &'a Sandbox, id: &str) -> Self {
        Self { host, netns: host.pod(id), id: id.to_owned() }
    }

    /// A call for this pod, of the plugin that `type` in the configuration names.
    ///
    /// # Panics
    /// When the configuration has no type.
    #[track_caller]
    pub fn call(&self, command: &str, conf: &Value) -> Call {
        let plugin = conf["type"].as_str().expect("a configuration has a type");
        let call = self.host.call(command, plugin);
        call.id(&self.id).netns(self.netns.path()).conf(conf)
    }

    /// Runs ADD.
    #[track_caller]
    pub fn add(&self, conf: &Value) -> Outcome {
        self.call("ADD", conf).run()
    }

    /// Its network namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// What its network namespace holds.
    pub fn inside(&self) -> Snapshot {
        self.netns.run(Snapshot::here)
    }

    /// The host's end of the pod's `eth0`, as the kernel knows it: not by the name that the plugin reports.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn host_end(&self) -> Link {
        let index = self.inside().link("eth0").peer_index.expect("eth0 has another end");
        let host = Snapshot::here();
        host.links.iter().find(|l| l.index == index).expect("the other end is on the host").clone()
    }

    /// Ends the sandbox, as a runtime does, and returns the path that is gone now.
    pub fn remove(self) -> PathBuf {
        let path = self.netns.path().to_owned();
        self.netns.remove();
        path
    }
}
