//! ADD.

use std::path::Path;

use super::{Finding, Role, Rule, Scope, Trial, ensure};
use crate::kernel::{self, edit};

const SECTION: &str = "2 ADD";

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::new("add.interface-name-taken", SECTION, Scope::Roles(&[Role::Interface]), name_taken),
        Rule::new("add.twice", SECTION, Scope::Known, twice),
        Rule::new("add.no-such-netns", SECTION, Scope::Roles(&[Role::Interface, Role::Loopback]), no_such_netns),
        Rule::new("add.other-interface", SECTION, Scope::Roles(&[Role::Ipam]), other_interface),
    ]
}

/// "If an interface of the requested name already exists in the container, the plugin MUST return with an error."
fn name_taken(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    pod.netns().run(|| edit::veth("eth0", "eth1"));
    trial.error(&pod.call("ADD", &pod.conf()))?;
    ensure!(pod.inside().find_link("eth0").is_some(), "the interface that was there is gone");
    Ok(())
}

/// A runtime does not do that; if it does, the container stays attached as it was.
fn twice(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let first = pod.add()?;
    let (host, inside) = (trial.host().state(), pod.inside());
    let again = trial.run(&pod.call("ADD", &pod.conf()));
    if again.code == Some(0) {
        ensure!(!trial.is(Role::Interface), "the second ADD of an attachment succeeded");
        let same = serde_json::from_slice::<serde_json::Value>(&again.stdout).is_ok_and(|second| second == first);
        ensure!(same, "the second ADD succeeded with another result");
    }
    let left = trial.left_on_host(&host, |line| line.contains("/last_reserved_ip"));
    ensure!(left.is_empty(), "the second ADD changed the host:\n{}", left.join("\n"));
    let left = pod.left_inside(&inside);
    ensure!(left.is_empty(), "the second ADD changed the sandbox:\n{}", left.join("\n"));
    Ok(())
}

fn no_such_netns(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let before = trial.host().state();
    trial.error(&pod.call("ADD", &pod.conf()).netns(Path::new("/run/netns/none")))?;
    trial.quiet(&pod.call("DEL", &pod.conf()).netns(Path::new("/run/netns/none")))?;
    let left = trial.left_on_host(&before, super::leaks::is_shared);
    ensure!(left.is_empty(), "left on the host:\n{}", left.join("\n"));
    Ok(())
}

/// Container ID and interface name together are the attachment: a second interface gets an address of its own.
fn other_interface(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let first = pod.add()?;
    let before = trial.host().state();
    let other = pod.call("ADD", &pod.conf()).ifname("eth1");
    let second = trial.result(&other)?;
    if trial.plugin() == "host-local" {
        ensure!(first["ips"] != second["ips"], "two interfaces have one address");
    }
    trial.quiet(&pod.call("DEL", &pod.conf()).ifname("eth1"))?;
    let left = kernel::difference(&before, &trial.host().state());
    let left: Vec<String> = left.into_iter().filter(|l| !l.contains("/last_reserved_ip")).collect();
    ensure!(left.is_empty(), "DEL of the second interface changed the first's:\n{}", left.join("\n"));
    Ok(())
}
