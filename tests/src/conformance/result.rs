//! Results of ADD, at every version.

use serde_json::Value;

use super::trial::VERSIONS;
use super::{Finding, Role, Rule, Scope, Trial, applies, ensure};

const SECTION: &str = "5 ADD Success";

pub(super) fn rules() -> Vec<Rule> {
    let shape = |version: &'static str| {
        Rule::new(format!("result.shape-{version}"), SECTION, Scope::Known, move |trial| shape(trial, version))
    };
    let mut rules: Vec<Rule> = VERSIONS.into_iter().map(shape).collect();
    rules.extend([
        Rule::new("result.names-the-interface", SECTION, Scope::Roles(&[Role::Interface, Role::Loopback]), interface),
        Rule::new("result.is-true", SECTION, Scope::Roles(&[Role::Interface]), is_true),
        Rule::new("result.of-ipam", "4 Delegated Plugins (IPAM)", Scope::Roles(&[Role::Ipam]), of_ipam),
    ]);
    rules
}

fn shape(trial: &Trial<'_>, version: &str) -> Finding {
    trial.needs_version(version)?;
    applies!(version >= "0.3.0" || !trial.is(Role::Chained), "chains begin with version 0.3.0");
    let pod = trial.container("c1");
    let result = pod.add_with(&pod.conf_at(version))?;
    ensure!(
        result["cniVersion"] == version,
        "cniVersion is {}, the configuration's is {version}",
        result["cniVersion"]
    );
    if version < "0.3.0" { old_shape(trial, &result) } else { list_shape(trial, &result, version) }
}

/// 0.1.0 and 0.2.0: one address of each family, and no interfaces.
fn old_shape(trial: &Trial<'_>, result: &Value) -> Finding {
    for key in ["ips", "interfaces"] {
        ensure!(result.get(key).is_none(), "there is no {key} before version 0.3.0");
    }
    let addressed = ["ip4", "ip6"].into_iter().filter(|key| result.get(key).is_some()).try_fold(0, |count, key| {
        ensure!(is_cidr(&result[key]["ip"]), "{key}.ip is no address with a prefix");
        Ok(count + 1)
    })?;
    ensure!(addressed > 0 || trial.is(Role::Loopback), "neither ip4 nor ip6");
    Ok(())
}

fn list_shape(trial: &Trial<'_>, result: &Value, version: &str) -> Finding {
    for key in ["ip4", "ip6"] {
        ensure!(result.get(key).is_none(), "there is no {key} since version 0.3.0");
    }
    let interfaces = list(result, "interfaces")?;
    for interface in &interfaces {
        ensure!(interface["name"].as_str().is_some_and(|n| !n.is_empty()), "an interface has no name");
        let mac = &interface["mac"];
        ensure!(mac.is_null() || mac.as_str().is_some_and(is_mac), "{mac} is no hardware address");
    }
    let ips = list(result, "ips")?;
    ensure!(!ips.is_empty() || trial.is(Role::Loopback), "no ips");
    for ip in &ips {
        ensure!(is_cidr(&ip["address"]), "{} is no address with a prefix", ip["address"]);
        let family = if ip["address"].as_str().is_some_and(|a| a.contains(':')) { "6" } else { "4" };
        let wanted = if version < "1.0.0" { Value::from(family) } else { Value::Null };
        ensure!(ip["version"] == wanted, "ips.version is {} at version {version}, not {wanted}", ip["version"]);
        let index = &ip["interface"];
        let valid = index.as_u64().and_then(|i| usize::try_from(i).ok()).is_some_and(|i| i < interfaces.len());
        ensure!(index.is_null() || valid, "interface {index} of an address is not in the list of {}", interfaces.len());
        let gateway = &ip["gateway"];
        ensure!(gateway.is_null() || is_ip(gateway), "gateway {gateway} is no address");
    }
    for route in list(result, "routes")? {
        ensure!(is_cidr(&route["dst"]), "dst {} of a route is no address with a prefix", route["dst"]);
        ensure!(route["gw"].is_null() || is_ip(&route["gw"]), "gw {} of a route is no address", route["gw"]);
    }
    Ok(())
}

fn list(result: &Value, key: &str) -> Finding<Vec<Value>> {
    match result.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) => Ok(list.clone()),
        Some(_) => Err(super::Miss::Fails(format!("{key} is no list"))),
    }
}

fn is_ip(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok())
}

fn is_cidr(value: &Value) -> bool {
    let parts = value.as_str().and_then(|text| text.split_once('/'));
    parts.is_some_and(|(ip, prefix)| ip.parse::<std::net::IpAddr>().is_ok() && prefix.parse::<u8>().is_ok())
}

fn is_mac(text: &str) -> bool {
    text.split(':').count() >= 6 && text.split(':').all(|byte| u8::from_str_radix(byte, 16).is_ok())
}

/// The interface of the container is in the list, with its sandbox; those of the host are there without one.
fn interface(trial: &Trial<'_>) -> Finding {
    trial.needs_version("1.0.0")?;
    let pod = trial.container("c1");
    let result = pod.add_with(&pod.conf_at("1.0.0"))?;
    let path = pod.netns().path().to_string_lossy();
    let interfaces = list(&result, "interfaces")?;
    let own = interfaces.iter().filter(|i| i["sandbox"] == *path).collect::<Vec<_>>();
    ensure!(own.iter().any(|i| i["name"] == pod.ifname()), "no interface {} with sandbox {path}", pod.ifname());
    for other in interfaces.iter().filter(|i| i["sandbox"] != *path) {
        let sandbox = other["sandbox"].as_str().unwrap_or_default();
        ensure!(sandbox.is_empty(), "sandbox {sandbox} is not CNI_NETNS");
    }
    Ok(())
}

/// What the result says is what the sandbox has.
fn is_true(trial: &Trial<'_>) -> Finding {
    trial.needs_version("1.0.0")?;
    let pod = trial.container("c1");
    let result = pod.add_with(&pod.conf_at("1.0.0"))?;
    let inside = pod.inside();
    let Some(link) = inside.find_link(pod.ifname()) else {
        return Err(super::Miss::Fails(format!("there is no {} in the sandbox", pod.ifname())));
    };
    ensure!(link.up, "{} is down", link.name);
    let interfaces = list(&result, "interfaces")?;
    let own = interfaces.iter().find(|i| i["name"] == link.name.as_str() && i["sandbox"].is_string());
    let mac = own.and_then(|i| i["mac"].as_str()).unwrap_or_default();
    ensure!(mac.is_empty() || mac == link.mac, "the result says MAC {mac}, the kernel {}", link.mac);
    let (there, ips) = (inside.addresses_of(&link.name), list(&result, "ips")?);
    for address in ips.iter().filter_map(|ip| ip["address"].as_str()) {
        ensure!(there.iter().any(|a| a == address), "{address} of the result is not on {}: {there:?}", link.name);
    }
    for destination in list(&result, "routes")?.iter().filter_map(|route| route["dst"].as_str()) {
        let there = inside.routes.iter().any(|r| r.destination == destination);
        ensure!(there, "route {destination} of the result is not in the sandbox");
    }
    Ok(())
}

/// It makes no interfaces, so it says nothing of any.
fn of_ipam(trial: &Trial<'_>) -> Finding {
    trial.needs_version("1.0.0")?;
    let pod = trial.container("c1");
    let result = pod.add_with(&pod.conf_at("1.0.0"))?;
    ensure!(list(&result, "interfaces")?.is_empty(), "the result of an IPAM plugin has interfaces");
    for ip in list(&result, "ips")? {
        ensure!(ip["interface"].is_null(), "an address of an IPAM plugin belongs to an interface");
    }
    Ok(())
}
