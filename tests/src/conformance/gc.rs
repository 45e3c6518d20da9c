//! GC.

use serde_json::{Value, json};

use super::{Finding, Rule, Scope, Trial, applies, ensure};
use crate::plugin::Call;

const SECTION: &str = "2 GC";

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::new("gc.keeps-the-valid", SECTION, Scope::Known, keeps_the_valid),
        Rule::new("gc.removes-stale-leases", SECTION, Scope::Known, removes_stale_leases),
        Rule::new("gc.without-a-list", SECTION, Scope::Known, without_a_list),
        Rule::new("gc.of-another-network", SECTION, Scope::Known, of_another_network),
        Rule::new("gc.before-1.1.0", SECTION, Scope::Every, before_1_1_0),
    ]
}

/// GC concerns no attachment.
fn gc(trial: &Trial<'_>, conf: &Value) -> Call {
    trial.bare("GC").without("CNI_CONTAINERID").without("CNI_IFNAME").conf(conf)
}

fn with_list(trial: &Trial<'_>, list: Value) -> Value {
    let mut conf = trial.conf_at("1.1.0");
    conf["cni.dev/valid-attachments"] = list;
    conf
}

/// GC with a configuration, after an ADD; everything is as before.
fn changes_nothing(trial: &Trial<'_>, conf: impl FnOnce(&str) -> Value) -> Finding {
    trial.needs_version("1.1.0")?;
    let pod = trial.container("c1");
    let result = pod.add()?;
    let (host, inside) = (trial.host().state(), pod.inside());
    trial.quiet(&gc(trial, &conf(pod.ifname())))?;
    // Even a network that nobody uses may get its lock.
    let left = trial.left_on_host(&host, |line| line.contains("/lock "));
    ensure!(left.is_empty(), "GC changed the host:\n{}", left.join("\n"));
    let left = pod.left_inside(&inside);
    ensure!(left.is_empty(), "GC changed the sandbox:\n{}", left.join("\n"));
    trial.quiet(&pod.call_after("CHECK", &result))
}

fn keeps_the_valid(trial: &Trial<'_>) -> Finding {
    changes_nothing(trial, |ifname| {
        with_list(trial, json!([{"containerID": "gone", "ifname": "eth0"}, {"containerID": "c1", "ifname": ifname}]))
    })
}

/// The list is required: without it nobody knows what is valid, and nothing may go.
fn without_a_list(trial: &Trial<'_>) -> Finding {
    trial.needs_version("1.1.0")?;
    let pod = trial.container("c1");
    pod.add()?;
    let host = trial.host().state();
    // An error is as good.
    trial.run(&gc(trial, &trial.conf_at("1.1.0")));
    let left = trial.left_on_host(&host, |_| false);
    ensure!(left.is_empty(), "GC without a list changed the host:\n{}", left.join("\n"));
    Ok(())
}

fn of_another_network(trial: &Trial<'_>) -> Finding {
    changes_nothing(trial, |_| {
        let mut conf = with_list(trial, json!([]));
        conf["name"] = "another".into();
        conf
    })
}

fn removes_stale_leases(trial: &Trial<'_>) -> Finding {
    trial.needs_version("1.1.0")?;
    let leased = trial.plugin() == "host-local" || trial.profile().delegates && trial.ipam() == Some("host-local");
    applies!(leased, "no lease of host-local");
    let pod = trial.container("c1");
    pod.add()?;
    let lease = |line: &&String| line.starts_with("file /var/lib/cni/networks/") && line.contains("c1");
    ensure!(trial.host().state().iter().any(|l| lease(&l)), "ADD left no lease");
    pod.end();
    trial.quiet(&gc(trial, &with_list(trial, json!([{"containerID": "c2", "ifname": "eth0"}]))))?;
    let left: Vec<String> = trial.host().state().iter().filter(lease).cloned().collect();
    ensure!(left.is_empty(), "a lease of no valid attachment is left:\n{}", left.join("\n"));
    Ok(())
}

fn before_1_1_0(trial: &Trial<'_>) -> Finding {
    trial.needs_version("1.0.0")?;
    trial.error_code(&gc(trial, &trial.conf_at("1.0.0")), 1)
}
