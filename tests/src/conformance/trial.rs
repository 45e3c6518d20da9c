//! One rule asked of one plugin: the private host, the containers on it, and a record of every call.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Finding, Miss, Profile, Role, applies, ensure};
use crate::kernel::{self, Snapshot};
use crate::netns::Netns;
use crate::plugin::{Call, CniError, Outcome};
use crate::sandbox::Sandbox;

/// The name of the network in every rule.
pub(super) const NETWORK: &str = "conformance";

/// Versions of the specification that are known here, oldest first.
pub(super) const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// One rule asked of one plugin.
pub struct Trial<'a> {
    host: &'a Sandbox,
    plugin: &'a str,
    profile: Option<&'static Profile>,
    versions: OnceCell<Vec<String>>,
    exchanges: &'a Mutex<Vec<String>>,
}

impl<'a> Trial<'a> {
    pub(super) fn new(
        host: &'a Sandbox,
        plugin: &'a str,
        profile: Option<&'static Profile>,
        exchanges: &'a Mutex<Vec<String>>,
    ) -> Self {
        Self { host, plugin, profile, versions: OnceCell::new(), exchanges }
    }

    /// The private host.
    pub fn host(&self) -> &'a Sandbox {
        self.host
    }

    /// The plugin's name.
    pub fn plugin(&self) -> &'a str {
        self.plugin
    }

    /// What is known of the plugin. Rules that are not for every plugin are not asked without.
    ///
    /// # Panics
    /// When nothing is known.
    pub fn profile(&self) -> &'static Profile {
        self.profile.expect("a rule for known plugins")
    }

    /// Whether the plugin is of this role.
    pub fn is(&self, role: Role) -> bool {
        self.profile.is_some_and(|p| p.role == role)
    }

    /// Makes what the plugin needs on the host.
    pub(super) fn prepare(&self) -> Finding {
        let profile = self.profile();
        if let Some(reason) = (profile.lacks)() {
            return Err(Miss::DoesNotApply(reason));
        }
        applies!(!profile.delegates || self.ipam().is_some(), "no host-local or static beside it to give addresses");
        (profile.prepare)();
        Ok(())
    }

    /// The IPAM plugin that gives addresses: what is there, host-local first.
    pub fn ipam(&self) -> Option<&'static str> {
        ["host-local", "static"].into_iter().find(|name| self.host.plugin_dir().join(name).exists())
    }

    /// Makes the call, and keeps it as evidence.
    pub fn run(&self, call: &Call) -> Outcome {
        let outcome = call.run();
        let mut exchanges = self.exchanges.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        exchanges.push(format!("{call}\n  {outcome}"));
        outcome
    }

    /// A call without namespace and configuration.
    pub fn bare(&self, command: &str) -> Call {
        self.host.call(command, self.plugin)
    }

    /// A call with everything that a runtime sends, of no particular meaning: the namespace does not exist.
    pub fn complete(&self, command: &str) -> Call {
        self.bare(command).netns(Path::new("/run/netns/none")).conf(&self.conf())
    }

    /// The versions that the plugin lists.
    pub fn versions(&self) -> &[String] {
        self.versions.get_or_init(|| {
            let outcome = self.bare("VERSION").conf(&json!({"cniVersion": "1.0.0"})).run();
            let answer: Value = serde_json::from_slice(&outcome.stdout).unwrap_or_default();
            let listed = answer["supportedVersions"].as_array().cloned().unwrap_or_default();
            listed.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
        })
    }

    /// The newest version that both the plugin and these rules know.
    pub fn version(&self) -> &'static str {
        let known = VERSIONS.iter().rev().find(|known| self.versions().iter().any(|v| v == *known));
        known.copied().unwrap_or("1.0.0")
    }

    /// Not applicable unless the plugin speaks the version.
    pub fn needs_version(&self, version: &str) -> Finding {
        applies!(self.versions().iter().any(|v| v == version), "the plugin does not list version {version}");
        Ok(())
    }

    /// A valid configuration at the newest version, without `prevResult`.
    pub fn conf(&self) -> Value {
        self.conf_at(self.version())
    }

    /// As [`Trial::conf`], at a version.
    pub fn conf_at(&self, version: &str) -> Value {
        let mut conf = json!({"cniVersion": version, "name": NETWORK, "type": self.plugin});
        if let (Some(profile), Some(keys)) = (self.profile, conf.as_object_mut()) {
            keys.extend((profile.keys)().as_object().cloned().unwrap_or_default());
            if profile.delegates {
                keys.insert("ipam".to_owned(), super::profiles::ipam(self.ipam().unwrap_or("host-local")));
            }
        }
        conf
    }

    /// A container with a sandbox, as the plugin expects to find it.
    pub fn container(&self, id: &str) -> Container<'_> {
        let netns = self.host.pod(id);
        if let Some(profile) = self.profile {
            (profile.furnish)(&netns);
        }
        Container { trial: self, netns, id: id.to_owned() }
    }

    /// Runs a call that has to succeed without a word.
    pub fn quiet(&self, call: &Call) -> Finding {
        let outcome = self.run(call);
        ensure!(outcome.code == Some(0), "{} failed", name(call));
        ensure!(outcome.stdout.trim_ascii().is_empty(), "{} printed something", name(call));
        Ok(())
    }

    /// Runs a call that has to print a result.
    pub fn result(&self, call: &Call) -> Finding<Value> {
        let outcome = self.run(call);
        ensure!(outcome.code == Some(0), "{} failed", name(call));
        serde_json::from_slice(&outcome.stdout).map_err(|e| Miss::Fails(format!("the result is not JSON: {e}")))
    }

    /// Runs a call that has to fail, with one error object on stdout.
    pub fn error(&self, call: &Call) -> Finding<CniError> {
        let outcome = self.run(call);
        ensure!(outcome.code != Some(0), "{} succeeded", name(call));
        ensure!(outcome.code.is_some(), "{} was ended by a signal", name(call));
        error_object(&outcome)
    }

    /// Runs a call that has to fail with a code of the specification.
    pub fn error_code(&self, call: &Call, code: u64) -> Finding {
        let error = self.error(call)?;
        ensure!(error.code == code, "code {}, not {code}", error.code);
        Ok(())
    }

    /// What is different on the host from `before`, without lines that `excused` knows. The kernel takes links of a
    /// namespace that is gone away a little later, so there is some patience.
    pub fn left_on_host(&self, before: &[String], excused: impl Fn(&str) -> bool) -> Vec<String> {
        settled(|| {
            let left = kernel::difference(before, &self.host.state());
            left.into_iter().filter(|line| !excused(line)).collect()
        })
    }
}

/// Asks until nothing is left, for two seconds at most.
fn settled(left: impl Fn() -> Vec<String>) -> Vec<String> {
    let started = Instant::now();
    loop {
        let lines = left();
        if lines.is_empty() || started.elapsed() > Duration::from_secs(2) {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn name(call: &Call) -> String {
    call.variable("CNI_COMMAND").unwrap_or("the call").to_owned()
}

fn error_object(outcome: &Outcome) -> Finding<CniError> {
    let value: Value = serde_json::from_slice(&outcome.stdout)
        .map_err(|e| Miss::Fails(format!("stdout of a failed call is not one JSON object: {e}")))?;
    let code = value["code"].as_u64();
    let Some(code) = code else {
        return Err(Miss::Fails("the error has no numeric code".to_owned()));
    };
    let text = |key: &str| value[key].as_str().map(str::to_owned);
    let msg = text("msg").unwrap_or_default();
    ensure!(!msg.is_empty(), "the error has no msg");
    Ok(CniError { code, msg, details: text("details").unwrap_or_default(), cni_version: text("cniVersion") })
}

/// A container and its sandbox.
pub struct Container<'t> {
    trial: &'t Trial<'t>,
    netns: Netns,
    id: String,
}

impl Container<'_> {
    /// The sandbox.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The interface's name in it.
    pub fn ifname(&self) -> &'static str {
        if self.trial.is(Role::Loopback) { "lo" } else { "eth0" }
    }

    /// A call for this container.
    pub fn call(&self, command: &str, conf: &Value) -> Call {
        self.trial.bare(command).id(&self.id).ifname(self.ifname()).netns(self.netns.path()).conf(conf)
    }

    /// The configuration of its ADD: with the result of an earlier plugin, if there has to be one.
    pub fn conf(&self) -> Value {
        self.conf_at(self.trial.version())
    }

    /// As [`Container::conf`], at a version.
    pub fn conf_at(&self, version: &str) -> Value {
        let mut conf = self.trial.conf_at(version);
        if self.trial.is(Role::Chained) {
            conf["prevResult"] = self.earlier_result(version);
        }
        conf
    }

    /// What an earlier plugin would have printed of this container.
    pub fn earlier_result(&self, version: &str) -> Value {
        if version < "0.3.0" {
            return json!({"cniVersion": version, "ip4": {"ip": "10.88.0.2/24", "gateway": "10.88.0.1"}});
        }
        // The second container's end has another name while the first is there.
        let peer = self.inside().find_link("eth0").and_then(|link| link.peer_index);
        let here = Snapshot::here();
        let end = here.links.iter().find(|link| Some(link.index) == peer).map_or("host0", |link| link.name.as_str());
        let mut result = json!({"cniVersion": version,
            "interfaces": [{"name": end}, {"name": "eth0", "sandbox": self.netns.path()}],
            "ips": [{"address": "10.88.0.2/24", "gateway": "10.88.0.1", "interface": 1}],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "192.0.2.0/24", "gw": "10.88.0.1"}],
            "dns": {"nameservers": ["192.0.2.53"], "domain": "example.org", "search": ["example.org"]}});
        if let Some(link) = self.inside().find_link("eth0") {
            result["interfaces"][1]["mac"] = link.mac.as_str().into();
        }
        if version < "1.0.0" {
            result["ips"][0]["version"] = "4".into();
        }
        result
    }

    /// Runs ADD, which has to succeed.
    pub fn add(&self) -> Finding<Value> {
        self.add_with(&self.conf())
    }

    /// As [`Container::add`], with a configuration.
    pub fn add_with(&self, conf: &Value) -> Finding<Value> {
        self.trial.result(&self.call("ADD", conf))
    }

    /// Runs CHECK or DEL with what ADD printed.
    pub fn call_after(&self, command: &str, result: &Value) -> Call {
        let mut conf = self.conf();
        conf["prevResult"] = result.clone();
        self.call(command, &conf)
    }

    /// What the sandbox holds.
    pub fn inside(&self) -> Snapshot {
        self.netns.run(Snapshot::here)
    }

    /// What is different in the sandbox from `before`.
    pub fn left_inside(&self, before: &Snapshot) -> Vec<String> {
        settled(|| before.difference(&self.inside()))
    }

    /// Ends the sandbox.
    pub fn end(self) {
        self.netns.remove();
    }
}
