//! Variables and commands.

use super::{Finding, Rule, Scope, Trial, ensure};

const PARAMETERS: &str = "2 Parameters";
const ERRORS: &str = "5 Error";

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for variable in ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"] {
        rules.push(Rule::new(format!("environment.add-without-{variable}"), PARAMETERS, Scope::Every, move |trial| {
            trial.error_code(&trial.complete("ADD").without(variable), 4)
        }));
    }
    for variable in ["CNI_CONTAINERID", "CNI_IFNAME"] {
        rules.push(Rule::new(format!("environment.del-without-{variable}"), PARAMETERS, Scope::Every, move |trial| {
            trial.error_code(&trial.complete("DEL").without(variable), 4)
        }));
    }
    rules.extend([
        Rule::new("environment.unknown-command", ERRORS, Scope::Every, unknown_command),
        Rule::new("environment.bad-container-id", PARAMETERS, Scope::Every, bad_container_id),
        Rule::new("environment.bad-interface-name", PARAMETERS, Scope::Every, bad_interface_name),
    ]);
    rules
}

fn unknown_command(trial: &Trial<'_>) -> Finding {
    for command in ["NOPE", "add"] {
        trial.error_code(&trial.complete(command), 4)?;
    }
    Ok(())
}

/// It starts with a letter or digit, followed by those, `_`, `.` and `-`.
fn bad_container_id(trial: &Trial<'_>) -> Finding {
    for id in ["-a", "a/b", "a b", "../x"] {
        let error = trial.error(&trial.complete("ADD").id(id))?;
        ensure!(error.code == 4, "container ID {id:?}: code {}, not 4", error.code);
    }
    Ok(())
}

fn bad_interface_name(trial: &Trial<'_>) -> Finding {
    for ifname in [".", "..", "a/b", "a b", "a:b", "abcdefghijklmnop"] {
        let error = trial.error(&trial.complete("ADD").ifname(ifname))?;
        ensure!(error.code == 4, "interface name {ifname:?}: code {}, not 4", error.code);
    }
    Ok(())
}
