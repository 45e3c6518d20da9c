//! What is left behind.

use super::{Finding, Role, Rule, Scope, Trial, applies, ensure};
use crate::kernel::edit;

const SECTION: &str = "2 DEL";

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::new("leaks.add-del", SECTION, Scope::Known, add_del),
        Rule::new("leaks.second-add-del", SECTION, Scope::Known, second_add_del),
        Rule::new("leaks.add-failed-name-taken", SECTION, Scope::Roles(&[Role::Interface]), failed_name_taken),
        Rule::new("leaks.add-failed-ipam", SECTION, Scope::Roles(&[Role::Interface]), failed_ipam),
    ]
}

/// A line of the host's state that stays after the last DEL, because containers share it: the bridge with its gateway,
/// forwarding, where the search for addresses goes on, locks, and tables of the packet filter.
pub(super) fn is_shared(line: &str) -> bool {
    let file = line.contains(" file /") && (line.contains("/last_reserved_ip") || line.contains("/lock "));
    let kernel = ["conf0", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"].iter().any(|w| line.contains(w));
    file || kernel || line.starts_with("+ nft ") || line.starts_with("- nft ")
}

/// ADD and DEL on a fresh host.
fn add_del(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let (host, inside) = (trial.host().state(), pod.inside());
    let result = pod.add()?;
    trial.quiet(&pod.call_after("DEL", &result))?;
    let left = trial.left_on_host(&host, is_shared);
    ensure!(left.is_empty(), "left on the host:\n{}", left.join("\n"));
    if !trial.is(Role::Loopback) {
        let left = pod.left_inside(&inside);
        ensure!(left.is_empty(), "left in the sandbox:\n{}", left.join("\n"));
    }
    Ok(())
}

/// ADD and DEL where the shared things are there already: nothing at all is excused, rules of the packet filter included.
fn second_add_del(trial: &Trial<'_>) -> Finding {
    let first = trial.container("c1");
    let result = first.add()?;
    trial.quiet(&first.call_after("DEL", &result))?;
    let second = trial.container("c2");
    let (host, inside) = (trial.host().state(), second.inside());
    let result = second.add()?;
    trial.quiet(&second.call_after("DEL", &result))?;
    let left = trial.left_on_host(&host, |line| line.contains("/last_reserved_ip"));
    ensure!(left.is_empty(), "left on the host:\n{}", left.join("\n"));
    if !trial.is(Role::Loopback) {
        let left = second.left_inside(&inside);
        ensure!(left.is_empty(), "left in the sandbox:\n{}", left.join("\n"));
    }
    Ok(())
}

/// A failed ADD is followed by DEL, and then nothing is left of it; the interface that was in the way is not its own.
fn failed_name_taken(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    pod.netns().run(|| edit::veth("eth0", "eth1"));
    let (host, inside) = (trial.host().state(), pod.inside());
    trial.error(&pod.call("ADD", &pod.conf()))?;
    trial.run(&pod.call("DEL", &pod.conf()));
    let left = trial.left_on_host(&host, is_shared);
    ensure!(left.is_empty(), "left on the host:\n{}", left.join("\n"));
    let left = inside.difference(&pod.inside());
    let left: Vec<String> = left.into_iter().filter(|line| !line.contains("eth0") && !line.contains("eth1")).collect();
    ensure!(left.is_empty(), "left in the sandbox:\n{}", left.join("\n"));
    Ok(())
}

/// The delegate fails: ADD fails, and after DEL nothing is left.
fn failed_ipam(trial: &Trial<'_>) -> Finding {
    applies!(trial.profile().delegates, "it has no IPAM plugin");
    let pod = trial.container("c1");
    super::delegation::script(
        trial,
        "empty",
        r#"
        [ "$CNI_COMMAND" != ADD ] || { echo '{"code":100,"msg":"no address"}'; exit 1; }"#,
    );
    let mut conf = pod.conf();
    conf["ipam"] = serde_json::json!({"type": "empty"});
    let (host, inside) = (trial.host().state(), pod.inside());
    trial.error(&pod.call("ADD", &conf))?;
    trial.run(&pod.call("DEL", &conf));
    let left = trial.left_on_host(&host, is_shared);
    ensure!(left.is_empty(), "left on the host:\n{}", left.join("\n"));
    let left = pod.left_inside(&inside);
    ensure!(left.is_empty(), "left in the sandbox:\n{}", left.join("\n"));
    Ok(())
}
