//! Plugins that follow another.

use super::{Finding, Role, Rule, Scope, Trial, ensure};

const SECTION: &str = "5 ADD Success";
const CHAINED: Scope = Scope::Roles(&[Role::Chained]);

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::new("chained.passes-the-result-on", SECTION, CHAINED, passes_the_result_on),
        Rule::new("chained.without-prev-result", "1 Plugin configuration objects", CHAINED, without_prev_result),
        Rule::new("chained.loopback-passes-the-result-on", SECTION, Scope::Roles(&[Role::Loopback]), loopback),
    ]
}

/// "Plugins provided a prevResult key MUST pass it through as their result", with any changes of their own.
fn passes_the_result_on(trial: &Trial<'_>) -> Finding {
    for version in trial.versions().iter().filter(|v| v.as_str() >= "0.3.0") {
        let pod = trial.container(&format!("c{version}"));
        let conf = pod.conf_at(version);
        let result = pod.add_with(&conf)?;
        for key in ["cniVersion", "interfaces", "ips", "routes", "dns"] {
            let (sent, got) = (&conf["prevResult"][key], &result[key]);
            ensure!(sent == got, "{key} of prevResult was {sent}, is {got} at version {version}");
        }
        trial.quiet(&pod.call("DEL", &conf))?;
        pod.end();
        trial.left_on_host(&[], |line| !line.contains("host0"));
    }
    Ok(())
}

fn without_prev_result(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    trial.error(&pod.call("ADD", &trial.conf()))?;
    Ok(())
}

fn loopback(trial: &Trial<'_>) -> Finding {
    trial.needs_version("1.0.0")?;
    let pod = trial.container("c1");
    let mut conf = pod.conf_at("1.0.0");
    conf["prevResult"] = pod.earlier_result("1.0.0");
    let result = pod.add_with(&conf)?;
    for key in ["interfaces", "ips", "routes", "dns"] {
        let (sent, got) = (&conf["prevResult"][key], &result[key]);
        ensure!(sent == got, "{key} of prevResult was {sent}, is {got}");
    }
    Ok(())
}
