//! Plugins that call an IPAM plugin.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{Container, Finding, Role, Rule, Scope, Trial, applies, ensure};

const SECTION: &str = "4 Delegated plugin execution procedure";
const LOG: &str = "/run/delegate.log";

pub(super) fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = ["ADD", "CHECK", "DEL", "STATUS", "GC"]
        .into_iter()
        .map(|command| {
            let name = format!("delegation.{}", command.to_lowercase());
            Rule::new(name, SECTION, Scope::Roles(&[Role::Interface]), move |trial| reaches(trial, command))
        })
        .collect();
    rules.push(Rule::new("delegation.missing", SECTION, Scope::Roles(&[Role::Interface]), missing));
    rules
}

/// Puts an IPAM plugin beside the others: a shell script.
pub(super) fn script(trial: &Trial<'_>, name: &str, body: &str) {
    let path = trial.host().plugin_dir().join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a script in the plugin directory");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("an executable script");
}

/// The delegate gets the command with the attachment's variables and the whole configuration.
fn reaches(trial: &Trial<'_>, command: &str) -> Finding {
    applies!(trial.profile().delegates, "it has no IPAM plugin");
    trial.needs_version("1.1.0")?;
    script(
        trial,
        "recorder",
        &format!(
            r#"
        read -r stdin
        echo "$CNI_COMMAND $CNI_CONTAINERID $CNI_IFNAME $stdin" >> {LOG}
        [ "$CNI_COMMAND" != ADD ] || echo '{{"cniVersion":"1.1.0","ips":[{{"address":"10.88.0.2/24","gateway":"10.88.0.1"}}]}}'
        [ "$CNI_COMMAND" != VERSION ] || echo '{{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}}'"#
        ),
    );
    let pod = trial.container("c1");
    let mut conf = pod.conf_at("1.1.0");
    conf["ipam"] = json!({"type": "recorder", "note": "for-the-delegate"});
    let attached = matches!(command, "ADD" | "CHECK" | "DEL");
    if attached {
        let result = pod.add_with(&conf)?;
        conf["prevResult"] = result;
    } else if command == "GC" {
        conf["cni.dev/valid-attachments"] = json!([]);
    }
    if command != "ADD" {
        trial.quiet(&call(&pod, command, &conf))?;
    }
    let log = fs::read_to_string(LOG).unwrap_or_default();
    let wanted = if attached { format!("{command} c1 eth0 {{") } else { format!("{command} ") };
    let Some(line) = log.lines().find(|line| line.starts_with(&wanted)) else {
        return Err(super::Miss::Fails(format!("the IPAM plugin was not called with {command}; it was with:\n{log}")));
    };
    ensure!(line.contains("for-the-delegate"), "the IPAM plugin did not get the configuration: {line}");
    Ok(())
}

fn call(pod: &Container<'_>, command: &str, conf: &serde_json::Value) -> crate::plugin::Call {
    let call = pod.call(command, conf);
    if matches!(command, "GC" | "STATUS") {
        return call.without("CNI_CONTAINERID").without("CNI_IFNAME").without("CNI_NETNS");
    }
    call
}

/// ADD cannot work without its IPAM plugin.
fn missing(trial: &Trial<'_>) -> Finding {
    applies!(trial.profile().delegates, "it has no IPAM plugin");
    let pod = trial.container("c1");
    let mut conf = pod.conf();
    conf["ipam"] = json!({"type": "there-is-no-such-plugin"});
    trial.error(&pod.call("ADD", &conf))?;
    Ok(())
}
