//! Failures that are known of plugins that are not ours: `conformance-go.toml`.

use std::collections::BTreeSet;

use toml::Table;

use super::Report;

/// Compares what failed with the listed failures, each of which has a reason.
///
/// # Errors
/// Names what failed and is not listed, and what is listed and passed or was not asked at all.
pub fn compare(report: &Report, listed: &str) -> Result<usize, String> {
    let table: Table = listed.parse().map_err(|e| format!("the list of known failures: {e}"))?;
    let entries = table.get("failure").and_then(|f| f.as_array()).cloned().unwrap_or_default();
    let mut known = BTreeSet::new();
    for entry in &entries {
        let text = |key: &str| entry.get(key).and_then(|v| v.as_str()).filter(|v| !v.is_empty());
        let plugins = entry.get("plugins").and_then(|p| p.as_array()).cloned().unwrap_or_default();
        let (Some(rule), Some(_)) = (text("rule"), text("reason")) else {
            return Err(format!("an entry needs plugins, rule and reason: {entry}"));
        };
        known.extend(plugins.iter().filter_map(|p| p.as_str()).map(|p| (p.to_owned(), rule.to_owned())));
    }
    let failed: BTreeSet<(String, String)> =
        report.failures().into_iter().map(|(plugin, rule, _)| (plugin.to_owned(), rule.to_owned())).collect();
    let mut wrong: Vec<String> = failed.difference(&known).map(|(p, r)| format!("{p} {r}: failed")).collect();
    let missing = known.difference(&failed).filter(|(plugin, rule)| !report.is_not_applicable(plugin, rule));
    wrong.extend(missing.map(|(p, r)| format!("{p} {r}: listed, and did not fail")));
    if wrong.is_empty() { Ok(failed.len()) } else { Err(wrong.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::super::{Cell, Verdict};
    use super::*;

    #[test]
    fn failures_and_list_have_to_be_the_same() {
        let verdict = Verdict::Failed { why: "no".into(), evidence: String::new() };
        let cell = Cell { plugin: "tap".into(), rule: "add.twice".into(), section: "2 ADD", verdict, seconds: 0.0 };
        let report = Report::new(vec![cell]);
        let entry = |plugins: &str, rule: &str, reason: &str| {
            format!("[[failure]]\nplugins = [{plugins}]\nrule = \"{rule}\"\nreason = \"{reason}\"\n")
        };
        assert_eq!(compare(&report, &entry("\"tap\"", "add.twice", "why not")), Ok(1));
        assert_eq!(compare(&report, "").unwrap_err(), "tap add.twice: failed");
        let more = compare(&report, &entry("\"tap\", \"ptp\"", "add.twice", "why not")).unwrap_err();
        assert_eq!(more, "ptp add.twice: listed, and did not fail");
        assert!(compare(&report, &entry("\"tap\"", "add.twice", "")).is_err());
    }
}
