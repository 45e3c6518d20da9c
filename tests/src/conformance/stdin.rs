//! The configuration as a plugin gets it.

use serde_json::Value;

use super::{Finding, Rule, Scope, Trial, ensure};

const CONFIG: &str = "1 Configuration format";
const ERRORS: &str = "5 Error";

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::new("stdin.not-json", ERRORS, Scope::Every, not_json),
        Rule::new("stdin.bad-network-name", CONFIG, Scope::Every, bad_network_name),
        Rule::new("stdin.no-network-name", CONFIG, Scope::Every, no_network_name),
        Rule::new("stdin.unsupported-version", ERRORS, Scope::Every, unsupported_version),
        Rule::new("stdin.unknown-keys", CONFIG, Scope::Known, unknown_keys),
    ]
}

fn not_json(trial: &Trial<'_>) -> Finding {
    for command in ["ADD", "DEL"] {
        for stdin in ["{", "not json", ""] {
            let error = trial.error(&trial.complete(command).stdin(stdin))?;
            ensure!(error.code == 6, "{command} with {stdin:?} on stdin: code {}, not 6", error.code);
        }
    }
    Ok(())
}

fn with_name(trial: &Trial<'_>, name: Value) -> Finding {
    let mut conf = trial.conf();
    conf["name"] = name;
    trial.error_code(&trial.complete("ADD").conf(&conf), 7)
}

fn bad_network_name(trial: &Trial<'_>) -> Finding {
    ["-net", "a/b", "a b", "../etc"].into_iter().try_for_each(|name| with_name(trial, name.into()))
}

fn no_network_name(trial: &Trial<'_>) -> Finding {
    [Value::Null, "".into()].into_iter().try_for_each(|name| with_name(trial, name))
}

fn unsupported_version(trial: &Trial<'_>) -> Finding {
    ["ADD", "DEL"]
        .into_iter()
        .try_for_each(|command| trial.error_code(&trial.complete(command).conf(&trial.conf_at("9.8.7")), 1))
}

/// Runtimes and administrators add keys of their own.
fn unknown_keys(trial: &Trial<'_>) -> Finding {
    let pod = trial.container("c1");
    let mut conf = pod.conf();
    conf["x.example.org/note"] = "for somebody else".into();
    conf["args"] = serde_json::json!({"labels": [{"key": "app", "value": "web"}]});
    pod.add_with(&conf)?;
    trial.quiet(&pod.call("DEL", &conf))
}
