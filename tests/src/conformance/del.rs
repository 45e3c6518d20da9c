//! DEL.

use super::leaks::is_shared;
use super::{Finding, Role, Rule, Scope, Trial, applies, ensure};
use crate::kernel::edit;

const SECTION: &str = "2 DEL";

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::new("del.after-add", SECTION, Scope::Known, after_add),
        Rule::new("del.twice", SECTION, Scope::Known, twice),
        Rule::new("del.of-never-added", SECTION, Scope::Known, of_never_added),
        Rule::new("del.link-gone", SECTION, Scope::Roles(&[Role::Interface]), link_gone),
        Rule::new("del.netns-gone", SECTION, Scope::Known, netns_gone),
        Rule::new("del.empty-netns", SECTION, Scope::Known, empty_netns),
        Rule::new("del.no-netns", SECTION, Scope::Known, no_netns),
        Rule::new("del.without-prev-result", SECTION, Scope::Known, without_prev_result),
        Rule::new("del.master-gone", SECTION, Scope::Roles(&[Role::Interface]), master_gone),
        Rule::new("del.spares-others", SECTION, Scope::Known, spares_others),
    ]
}

fn after_add(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let result = pod.add()?;
    trial.quiet(&pod.call_after("DEL", &result))
}

fn twice(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let result = pod.add()?;
    trial.quiet(&pod.call_after("DEL", &result))?;
    trial.quiet(&pod.call_after("DEL", &result))
}

fn of_never_added(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    trial.quiet(&pod.call("DEL", &pod.conf()))
}

/// The link went by another hand.
fn link_gone(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let result = pod.add()?;
    pod.netns().run(|| edit::delete("eth0"));
    trial.quiet(&pod.call_after("DEL", &result))
}

/// The sandbox ended first, as after a reboot; its interface went with it. What is kept elsewhere is freed all the same.
fn netns_gone(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let before = trial.host().state();
    let del = pod.add().map(|result| pod.call_after("DEL", &result))?;
    pod.end();
    trial.quiet(&del)?;
    let left = trial.left_on_host(&before, goes_with_the_sandbox);
    ensure!(left.is_empty(), "left on the host:\n{}", left.join("\n"));
    Ok(())
}

/// Shared, or the ends of cables whose other end was in the sandbox.
fn goes_with_the_sandbox(line: &str) -> bool {
    is_shared(line) || ["dev0", "dev1", "host0", "10.88.0.1 ", "10.88.0.255 "].iter().any(|word| line.contains(word))
}

/// `CNI_NETNS` is optional: the runtime may not know it any more.
fn empty_netns(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let result = pod.add()?;
    let del = pod.call_after("DEL", &result).env("CNI_NETNS", "");
    pod.end();
    trial.quiet(&del)
}

fn no_netns(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let result = pod.add()?;
    let del = pod.call_after("DEL", &result).without("CNI_NETNS");
    pod.end();
    trial.quiet(&del)
}

/// A runtime that lost its cache.
fn without_prev_result(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    pod.add()?;
    trial.quiet(&pod.call("DEL", &trial.conf()))
}

/// "Plugins should generally complete a DEL action without error even if some resources are missing."
fn master_gone(trial: &Trial<'_>) -> Finding {
    applies!(trial.profile().has_master, "it has no master");
    let pod = trial.container("c1");
    let before = trial.host().state();
    let result = pod.add()?;
    edit::delete("up0");
    trial.quiet(&pod.call_after("DEL", &result))?;
    let left = trial.left_on_host(&before, |line| is_shared(line) || line.contains("up0") || line.contains("wire"));
    ensure!(left.is_empty(), "left on the host:\n{}", left.join("\n"));
    Ok(())
}

/// A DEL of another container, and of another interface, on the same network.
fn spares_others(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let result = pod.add()?;
    let other = trial.host().pod("c2");
    let (host, inside) = (trial.host().state(), pod.inside());
    trial.quiet(&pod.call("DEL", &trial.conf()).id("c2").netns(other.path()))?;
    trial.quiet(&pod.call("DEL", &trial.conf()).id("c1x").netns(other.path()))?;
    let left = trial.left_on_host(&host, |line| line.contains("/last_reserved_ip"));
    ensure!(left.is_empty(), "DEL of another container changed the host:\n{}", left.join("\n"));
    let left = pod.left_inside(&inside);
    ensure!(left.is_empty(), "DEL of another container changed the sandbox:\n{}", left.join("\n"));
    trial.quiet(&pod.call_after("CHECK", &result))
}
