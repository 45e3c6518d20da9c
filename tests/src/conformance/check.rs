//! CHECK.

use std::path::Path;

use super::{Container, Finding, Role, Rule, Scope, Trial, applies, ensure};
use crate::kernel::{self, edit};

const SECTION: &str = "2 CHECK";
const SANDBOXED: Scope = Scope::Roles(&[Role::Interface, Role::Loopback]);

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::new("check.after-add", SECTION, Scope::Known, after_add),
        Rule::new("check.changes-nothing", SECTION, Scope::Known, changes_nothing),
        Rule::new("check.damage", SECTION, Scope::Known, damage),
        Rule::new("check.address-removed", SECTION, Scope::Roles(&[Role::Interface]), address_removed),
        Rule::new("check.lease-removed", SECTION, Scope::Known, lease_removed),
        Rule::new("check.netns-gone", SECTION, SANDBOXED, netns_gone),
        Rule::new("check.without-prev-result", SECTION, Scope::Roles(&[Role::Interface, Role::Chained]), without_prev),
        Rule::new("check.before-0.4.0", SECTION, Scope::Every, before_0_4_0),
    ]
}

fn after_add(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let result = pod.add()?;
    trial.quiet(&pod.call_after("CHECK", &result))
}

fn changes_nothing(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let result = pod.add()?;
    let (host, inside) = (trial.host().state(), pod.inside());
    trial.quiet(&pod.call_after("CHECK", &result))?;
    let left = kernel::difference(&host, &trial.host().state());
    ensure!(left.is_empty(), "CHECK changed the host:\n{}", left.join("\n"));
    let left = inside.difference(&pod.inside());
    ensure!(left.is_empty(), "CHECK changed the sandbox:\n{}", left.join("\n"));
    Ok(())
}

/// What the plugin made is taken away: the link, the setting, the lease.
fn damage(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let result = pod.add()?;
    match (trial.profile().role, trial.plugin()) {
        (Role::Interface, _) => pod.netns().run(|| edit::delete("eth0")),
        (Role::Loopback, _) => pod.netns().run(|| edit::down("lo")),
        (_, "tuning") => pod.netns().run(|| kernel::set_sysctl("net.core.somaxconn", "77")),
        (_, "policy" | "portmap" | "firewall") => flush_rules()?,
        (_, "sbr") => pod.netns().run(|| edit::delete("eth0")),
        (_, "vrf") => pod.netns().run(|| edit::release("eth0")),
        (_, "host-local") => remove_leases()?,
        _ => applies!(false, "it keeps nothing that could be damaged"),
    }
    trial.error(&pod.call_after("CHECK", &result))?;
    Ok(())
}

fn flush_rules() -> Finding {
    let flushed = std::process::Command::new("nft").args(["flush", "ruleset"]).status();
    applies!(flushed.is_ok_and(|s| s.success()), "no program nft, to take the rules away");
    Ok(())
}

/// Removes the lease files of host-local.
fn remove_leases() -> Finding {
    let dir = Path::new("/var/lib/cni/networks").join(super::trial::NETWORK);
    let mut removed = 0;
    for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().parse::<std::net::IpAddr>().is_ok() {
            std::fs::remove_file(entry.path()).expect("a lease that can be removed");
            removed += 1;
        }
    }
    ensure!(removed > 0, "no lease below {}", dir.display());
    Ok(())
}

fn address_removed(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let result = pod.add()?;
    pod.netns().run(|| edit::delete_addresses("eth0"));
    trial.error(&pod.call_after("CHECK", &result))?;
    Ok(())
}

/// CHECK is delegated too.
fn lease_removed(trial: &Trial<'_>) -> Finding {
    let leased = trial.plugin() == "host-local" || trial.profile().delegates && trial.ipam() == Some("host-local");
    applies!(leased, "no lease of host-local");
    let pod = trial.container("c1");
    let result = pod.add()?;
    remove_leases()?;
    trial.error(&pod.call_after("CHECK", &result))?;
    Ok(())
}

fn netns_gone(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let check = pod.add().map(|result| pod.call_after("CHECK", &result))?;
    pod.end();
    trial.error(&check)?;
    Ok(())
}

/// The runtime must send it, so that a plugin cannot say that all is well without.
fn without_prev(trial: &Trial<'_>) -> Finding {
    let pod: Container<'_> = trial.container("c1");
    pod.add()?;
    trial.error(&pod.call("CHECK", &trial.conf()))?;
    Ok(())
}

fn before_0_4_0(trial: &Trial<'_>) -> Finding {
    trial.needs_version("0.3.1")?;
    trial.error_code(&trial.complete("CHECK").conf(&trial.conf_at("0.3.1")), 1)
}
