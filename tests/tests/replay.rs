//! What podman 4.3.1 and containerd 1.6.20 really sent, call by call in the recorded order on one fresh host. Every call
//! gives the recorded exit code, and ADD an equivalent result: names and MACs are free, all else is not. Differences
//! are listed, each with its reason, in `captures/differences.toml`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::IpAddr;

use picocni_tests::kernel::{LinkType, edit};
use picocni_tests::netns::Netns;
use picocni_tests::peer::PLUGINS;
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::{kernel, paths};
use serde_json::Value;

struct Recorded {
    number: usize,
    scenario: String,
    command: String,
    plugin: String,
    env: BTreeMap<String, String>,
    stdin: String,
    exit_code: i64,
    stdout: Value,
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string in the capture").to_owned()
}

fn read(file: &str) -> Vec<Recorded> {
    let path = paths::root().join("tests/captures").join(file);
    let content = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let calls: Vec<Recorded> = content
        .lines()
        .enumerate()
        .map(|(index, line)| {
            let call: Value = serde_json::from_str(line).expect("a line of JSON");
            let env = call["env"].as_object().expect("an environment");
            Recorded {
                number: index + 1,
                scenario: text(&call["scenario"]),
                command: text(&call["command"]),
                plugin: text(&call["plugin"]),
                env: env.iter().map(|(k, v)| (k.clone(), text(v))).collect(),
                stdin: text(&call["stdin_raw"]),
                exit_code: call["exit_code"].as_i64().expect("an exit code"),
                stdout: call["stdout"].clone(),
            }
        })
        .collect();
    assert!(!calls.is_empty(), "{file} is empty");
    calls
}

#[test]
fn podman() {
    replay("podman-4.3.1.jsonl");
}

#[test]
fn containerd() {
    replay("containerd-1.6.20.jsonl");
}

fn replay(file: &str) {
    let calls = read(file);
    sandbox::run(|host| {
        seed_marks(&calls);
        // The master of the recorded macvlan network.
        edit::veth("vethp0", "vethp1");
        edit::up("vethp0");
        edit::up("vethp1");
        let (mut sandboxes, mut names) = (HashMap::new(), HashMap::new());
        let filters_vlans = LinkType::VlanFiltering.try_out().is_ok();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        // The round robin starts from the same mark as in the recording, so the addresses are the same and the recorded
        // configurations, whose prevResult names them, can be sent as they are.
        let mut wrong = Vec::new();
        for call in &calls {
            let count =
                |counts: &mut BTreeMap<String, usize>, what: &str| *counts.entry(what.to_owned()).or_default() += 1;
            if call.plugin == "host-local" {
                // bridge makes these calls itself, here as in the recording; their addresses are in its result.
                count(&mut counts, "delegated by bridge");
                continue;
            }
            if !PLUGINS.contains(&call.plugin.as_str()) {
                count(&mut counts, &format!("skipped {}", call.plugin));
                continue;
            }
            // The kernel of the recording had bridges without VLANs.
            if call.exit_code != 0 && call.stdin.contains("\"vlan\":") && filters_vlans {
                count(&mut counts, "refused by that kernel");
                continue;
            }
            count(&mut counts, "replayed");
            if let Err(problem) = replay_one(host, file, call, &mut sandboxes, &mut names) {
                wrong.push(problem);
            }
        }
        println!("{file}: {counts:?}");
        assert!(wrong.is_empty(), "{} of the calls differ:\n{}", wrong.len(), wrong.join("\n"));
    });
}

/// The recordings begin on a host that had given addresses before. The round robin goes on from there: the mark is set
/// to the address before the first one recorded for each network.
fn seed_marks(calls: &[Recorded]) {
    let mut seen = std::collections::HashSet::new();
    for call in calls.iter().filter(|c| c.plugin == "host-local" && c.command == "ADD" && c.exit_code == 0) {
        let conf: Value = serde_json::from_str(&call.stdin).expect("a recorded configuration");
        let network = text(&conf["name"]);
        if !seen.insert(network.clone()) || call.env.get("CNI_ARGS").is_some_and(|a| a.contains(";IP=")) {
            continue;
        }
        for (set, ip) in addresses(&call.stdout).iter().enumerate() {
            let (ip, _) = ip.split_once('/').expect("a prefix");
            let before: IpAddr = match ip.parse().expect("an address") {
                IpAddr::V4(ip) => std::net::Ipv4Addr::from(u32::from(ip) - 1).into(),
                IpAddr::V6(ip) => std::net::Ipv6Addr::from(u128::from(ip) - 1).into(),
            };
            let dir = format!("/var/lib/cni/networks/{network}");
            fs::create_dir_all(&dir).expect("the store");
            fs::write(format!("{dir}/last_reserved_ip.{set}"), before.to_string()).expect("the mark");
        }
    }
}

fn replay_one(
    host: &Sandbox,
    file: &str,
    call: &Recorded,
    sandboxes: &mut HashMap<String, Netns>,
    names: &mut HashMap<String, String>,
) -> Result<(), String> {
    catch_up(file, call);
    let netns = call.env.get("CNI_NETNS").map_or("", String::as_str);
    let mapped = map_netns(host, netns, &call.command, sandboxes);
    let mut stdin = call.stdin.clone();
    for (recorded, here) in sandboxes.iter() {
        stdin = stdin.replace(recorded.as_str(), here.path().to_str().expect("UTF-8"));
    }
    for (recorded, here) in names.iter() {
        stdin = stdin.replace(&format!("\"{recorded}\""), &format!("\"{here}\""));
    }
    let mut run = host.call(&call.command, &call.plugin).stdin(stdin);
    for (key, value) in &call.env {
        run = match key.as_str() {
            "CNI_NETNS" => run.env(key, &mapped),
            "CNI_PATH" => run,
            _ => run.env(key, value),
        };
    }
    let outcome = run.run();
    let title = format!("{file}:{} {} {} {}", call.number, call.scenario, call.command, call.plugin);
    let expected = difference(file, call);
    let code = outcome.code.map(i64::from);
    if code != Some(expected.exit_code) {
        return Err(format!("{title}: expected exit code {}\n{outcome}", expected.exit_code));
    }
    if call.command == "ADD" && code == Some(0) && call.exit_code == 0 {
        let result: Value = serde_json::from_slice(&outcome.stdout).map_err(|e| format!("{title}: {e}\n{outcome}"))?;
        learn_names(&call.stdout, &result, names);
        let (recorded, here) = (equivalent(&call.stdout, &expected.free), equivalent(&result, &expected.free));
        let changed = kernel::difference(&recorded, &here);
        if !changed.is_empty() {
            return Err(format!("{title}: the result differs:\n  {}", changed.join("\n  ")));
        }
    }
    Ok(())
}

/// Links of the host have names of chance in the recording; a later plugin is told of them in prevResult.
fn learn_names(recorded: &Value, here: &Value, names: &mut HashMap<String, String>) {
    let interfaces = |result: &Value| result["interfaces"].as_array().cloned().unwrap_or_default();
    for (recorded, here) in interfaces(recorded).iter().zip(&interfaces(here)) {
        if recorded.get("sandbox").is_none_or(|s| s == "") {
            names.insert(text(&recorded["name"]), text(&here["name"]));
        }
    }
}

/// The namespace of this run for a recorded path; made at the first ADD that names it. Namespaces of the recording are
/// gone at DEL only where the runtime sent an empty path.
fn map_netns(host: &Sandbox, recorded: &str, command: &str, sandboxes: &mut HashMap<String, Netns>) -> String {
    if recorded.is_empty() || command == "VERSION" {
        return recorded.to_owned();
    }
    let next = sandboxes.len();
    let netns = sandboxes.entry(recorded.to_owned()).or_insert_with(|| host.pod(&format!("recorded-{next}")));
    netns.path().to_str().expect("UTF-8").to_owned()
}

/// The entries of a list in `differences.toml` that are about this file.
fn entries(list: &str, file: &str) -> Vec<toml::Table> {
    let text =
        fs::read_to_string(paths::root().join("tests/captures/differences.toml")).expect("the table of differences");
    let table: toml::Table = text.parse().expect("TOML");
    let entries = table.get(list).and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let tables = entries.into_iter().map(|e| e.as_table().expect("a table").clone());
    let about: Vec<toml::Table> =
        tables.filter(|t| t.get("file").and_then(toml::Value::as_str).is_none_or(|f| f == file)).collect();
    for entry in &about {
        let reason = entry.get("reason").and_then(toml::Value::as_str).unwrap_or_default();
        assert!(reason.len() > 20, "an entry without a reason: {entry}");
    }
    about
}

/// What `differences.toml` asks of a call in place of the recording.
struct Difference {
    exit_code: i64,
    /// Keys of addresses that may differ.
    free: Vec<String>,
}

fn difference(file: &str, call: &Recorded) -> Difference {
    let mut expected = Difference { exit_code: call.exit_code, free: Vec::new() };
    for entry in entries("difference", file) {
        let same = |key: &str, value: &str| entry.get(key).is_none_or(|v| v.as_str() == Some(value));
        if same("scenario", &call.scenario) && same("command", &call.command) && same("plugin", &call.plugin) {
            println!("{file}:{} {} {} {}: {}", call.number, call.scenario, call.command, call.plugin, entry["reason"]);
            if let Some(code) = entry.get("exit_code").and_then(toml::Value::as_integer) {
                expected.exit_code = code;
            }
            let free = entry.get("free").and_then(toml::Value::as_array).into_iter().flatten();
            expected.free.extend(free.filter_map(|key| key.as_str().map(str::to_owned)));
        }
    }
    expected
}

/// Sets the round robin's mark where the recording has a gap before this call.
fn catch_up(file: &str, call: &Recorded) {
    for gap in entries("unrecorded", file) {
        if gap.get("line").and_then(toml::Value::as_integer) == i64::try_from(call.number).ok() {
            let value = |key: &str| gap[key].as_str().expect("a string").to_owned();
            let mark = format!("/var/lib/cni/networks/{}/last_reserved_ip.0", value("network"));
            fs::write(mark, value("last_reserved")).expect("the mark");
        }
    }
}

fn addresses(result: &Value) -> Vec<String> {
    result["ips"].as_array().map(|ips| ips.iter().map(|ip| text(&ip["address"])).collect()).unwrap_or_default()
}

/// A result as lines, without what is free: names of host links, MACs, sandbox paths, and these keys of addresses.
fn equivalent(result: &Value, free: &[String]) -> Vec<String> {
    let list = |key: &str| result[key].as_array().cloned().unwrap_or_default();
    let mut lines = vec![format!("cniVersion {}", result["cniVersion"])];
    for (index, interface) in list("interfaces").iter().enumerate() {
        let inside = interface.get("sandbox").is_some_and(|s| s != "");
        let name = if inside { text(&interface["name"]) } else { "*".to_owned() };
        lines.push(format!("interface {index} {name} in a sandbox: {inside}"));
    }
    for mut ip in list("ips") {
        if let Some(object) = ip.as_object_mut() {
            object.retain(|key, _| !free.contains(key));
        }
        lines.push(format!("ip {ip}"));
    }
    lines.extend(list("routes").iter().map(|route| format!("route {route}")));
    let dns = result.get("dns").filter(|dns| dns.as_object().is_some_and(|d| !d.is_empty()));
    lines.extend(dns.map(|dns| format!("dns {dns}")));
    lines
}
