//! VERSION.

use serde_json::{Value, json};

use super::{Finding, Rule, Scope, Trial, ensure};

const SECTION: &str = "2 VERSION";

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::new("version.needs-no-end-of-stdin", SECTION, Scope::Every, needs_no_stdin),
        Rule::new("version.lists-versions", SECTION, Scope::Every, lists_versions),
        Rule::new("version.says-its-own", "5 Version", Scope::Every, says_its_own),
        Rule::new("version.of-any-config", SECTION, Scope::Every, of_any_config),
    ]
}

/// A runtime may keep stdin open until the plugin has ended.
fn needs_no_stdin(trial: &Trial<'_>) -> Finding {
    trial.result(&trial.bare("VERSION").conf(&json!({"cniVersion": "1.0.0"})).hold_stdin())?;
    Ok(())
}

fn ask(trial: &Trial<'_>, cni_version: &str) -> Finding<Value> {
    trial.result(&trial.bare("VERSION").conf(&json!({"cniVersion": cni_version})))
}

fn lists_versions(trial: &Trial<'_>) -> Finding {
    let answer = ask(trial, "1.0.0")?;
    let versions = answer["supportedVersions"].as_array().cloned().unwrap_or_default();
    ensure!(!versions.is_empty(), "supportedVersions is no list, or empty");
    for version in &versions {
        let numbers = version.as_str().map(|v| v.split('.').filter(|n| n.parse::<u32>().is_ok()).count());
        ensure!(numbers == Some(3), "{version} in supportedVersions is no version");
    }
    Ok(())
}

fn says_its_own(trial: &Trial<'_>) -> Finding {
    let answer = ask(trial, "1.0.0")?;
    let own = answer["cniVersion"].as_str().unwrap_or_default();
    ensure!(!own.is_empty(), "no cniVersion");
    ensure!(trial.versions().iter().any(|v| v == own), "cniVersion {own} is not among supportedVersions");
    Ok(())
}

/// VERSION is how a runtime finds out what it may ask, so it works at a version that the plugin does not know.
fn of_any_config(trial: &Trial<'_>) -> Finding {
    ask(trial, "9.9.9")?;
    Ok(())
}
