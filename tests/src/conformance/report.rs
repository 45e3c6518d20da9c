//! The table, and the same as JUnit XML.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Cell, Verdict};

/// What all rules found of all plugins.
#[derive(Debug, Clone)]
pub struct Report {
    cells: Vec<Cell>,
}

/// How many of each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rules that hold.
    pub passed: usize,
    /// Rules that do not.
    pub failed: usize,
    /// Rules that were not asked.
    pub not_applicable: usize,
}

impl Report {
    pub(super) fn new(cells: Vec<Cell>) -> Self {
        Self { cells }
    }

    /// Plugin, rule and reason of what failed.
    pub fn failures(&self) -> Vec<(&str, &str, &str)> {
        let failure = |cell: &'_ Cell| matches!(cell.verdict, Verdict::Failed { .. });
        let failed = self.cells.iter().filter(|c| failure(c));
        failed.map(|c| (c.plugin.as_str(), c.rule.as_str(), c.why())).collect()
    }

    /// Whether a rule does not concern a plugin, or could not be asked here.
    pub fn is_not_applicable(&self, plugin: &str, rule: &str) -> bool {
        let mut cells = self.cells.iter().filter(|c| c.plugin == plugin && c.rule == rule);
        cells.any(|c| matches!(c.verdict, Verdict::NotApplicable(_)))
    }

    /// Rules asked of one plugin, or of all.
    pub fn counts(&self, plugin: Option<&str>) -> Counts {
        let mut counts = Counts::default();
        for cell in self.cells.iter().filter(|c| plugin.is_none_or(|p| p == c.plugin)) {
            match cell.verdict {
                Verdict::Passed => counts.passed += 1,
                Verdict::Failed { .. } => counts.failed += 1,
                Verdict::NotApplicable(_) => counts.not_applicable += 1,
            }
        }
        counts
    }

    fn plugins(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.cells.iter().map(|c| c.plugin.as_str()).collect();
        names.dedup();
        names
    }

    /// One row for each rule, one column for each plugin; then counts, why rules were not asked, and each failure with
    /// its evidence.
    pub fn table(&self) -> String {
        let mut text = self.matrix();
        text.push_str(&self.sums());
        text.push_str(&self.reasons());
        for cell in &self.cells {
            if let Verdict::Failed { why, evidence } = &cell.verdict {
                let _ = writeln!(
                    text,
                    "\nFAIL {} {} (section {})\n  {}",
                    cell.plugin,
                    cell.rule,
                    cell.section,
                    indent(why)
                );
                let _ = writeln!(text, "  {}", indent(&shorten(evidence)));
            }
        }
        text
    }

    fn matrix(&self) -> String {
        let plugins = self.plugins();
        let mut rows: Vec<&str> = Vec::new();
        for cell in &self.cells {
            if !rows.contains(&cell.rule.as_str()) {
                rows.push(&cell.rule);
            }
        }
        let width = rows.iter().map(|r| r.len()).max().unwrap_or_default();
        let height = plugins.iter().map(|p| p.len()).max().unwrap_or_default();
        let mut text = String::new();
        // The names of the plugins, from top to bottom.
        for line in 0..height {
            let _ = write!(text, "{:width$}", "");
            for plugin in &plugins {
                let from = height - plugin.len();
                let letter = line.checked_sub(from).and_then(|at| plugin.chars().nth(at)).unwrap_or(' ');
                let _ = write!(text, " {letter}");
            }
            text.push('\n');
        }
        let cells: BTreeMap<(&str, &str), &Cell> =
            self.cells.iter().map(|c| ((c.rule.as_str(), c.plugin.as_str()), c)).collect();
        for rule in rows {
            let _ = write!(text, "{rule:width$}");
            for plugin in &plugins {
                let letter = cells.get(&(rule, *plugin)).map_or(' ', |cell| cell.letter());
                let _ = write!(text, " {letter}");
            }
            text.push('\n');
        }
        text.push_str("\n. passed   F failed   - not applicable\n");
        text
    }

    fn sums(&self) -> String {
        let mut text = format!("\n{:<14} {:>6} {:>6} {:>15}\n", "plugin", "passed", "failed", "not applicable");
        let rows = self.plugins().into_iter().map(|p| (p, self.counts(Some(p))));
        for (name, counts) in rows.chain([("all", self.counts(None))]) {
            let Counts { passed, failed, not_applicable } = counts;
            let _ = writeln!(text, "{name:<14} {passed:>6} {failed:>6} {not_applicable:>15}");
        }
        text
    }

    fn reasons(&self) -> String {
        let mut reasons: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for cell in &self.cells {
            if let Verdict::NotApplicable(reason) = &cell.verdict {
                *reasons.entry((&cell.plugin, reason)).or_default() += 1;
            }
        }
        // By role is clear from the table.
        let told = reasons.iter().filter(|((_, reason), _)| !reason.starts_with("not for "));
        let mut text = String::from("\n");
        for ((plugin, reason), count) in told {
            let _ = writeln!(text, "{plugin}: {count} not applicable: {reason}");
        }
        text
    }

    /// The report for machines: a suite for each plugin, a case for each rule.
    pub fn junit(&self) -> String {
        let all = self.counts(None);
        let mut text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"cni-conformance\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">\n",
            self.cells.len(),
            all.failed,
            all.not_applicable
        );
        for plugin in self.plugins() {
            let counts = self.counts(Some(plugin));
            let cells: Vec<&Cell> = self.cells.iter().filter(|c| c.plugin == plugin).collect();
            let seconds: f64 = cells.iter().map(|c| c.seconds).sum();
            let _ = writeln!(
                text,
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{seconds:.3}\">",
                escape(plugin),
                cells.len(),
                counts.failed,
                counts.not_applicable
            );
            cells.iter().for_each(|cell| text.push_str(&cell.junit()));
            text.push_str("  </testsuite>\n");
        }
        text.push_str("</testsuites>\n");
        text
    }
}

impl Cell {
    fn letter(&self) -> char {
        match self.verdict {
            Verdict::Passed => '.',
            Verdict::Failed { .. } => 'F',
            Verdict::NotApplicable(_) => '-',
        }
    }

    fn why(&self) -> &str {
        match &self.verdict {
            Verdict::Passed => "",
            Verdict::Failed { why, .. } => why,
            Verdict::NotApplicable(reason) => reason,
        }
    }

    fn junit(&self) -> String {
        let Self { plugin, rule, section, seconds, .. } = self;
        let inner = match &self.verdict {
            Verdict::Passed => String::new(),
            Verdict::Failed { why, evidence } => {
                let first = why.lines().next().unwrap_or_default();
                format!("<failure message=\"{}\">{}\n{}</failure>", escape(first), escape(why), escape(evidence))
            }
            Verdict::NotApplicable(reason) => format!("<skipped message=\"{}\"/>", escape(reason)),
        };
        format!(
            "    <testcase classname=\"{}\" name=\"{} (CNI {section})\" time=\"{seconds:.3}\">{inner}</testcase>\n",
            escape(plugin),
            escape(rule)
        )
    }
}

/// Text as XML takes it: without the control characters that it has no way to write.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(letter),
            other if other.is_control() || matches!(other, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

fn indent(text: &str) -> String {
    text.replace('\n', "\n  ")
}

fn shorten(text: &str) -> String {
    const MOST: usize = 3000;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(plugin: &str, rule: &str, verdict: Verdict) -> Cell {
        Cell { plugin: plugin.into(), rule: rule.into(), section: "2 ADD", verdict, seconds: 0.5 }
    }

    fn report() -> Report {
        let failed = Verdict::Failed { why: "it said <no>".into(), evidence: "ADD \u{1b}& so".into() };
        Report::new(vec![
            cell("bridge", "add.twice", Verdict::Passed),
            cell("bridge", "del.twice", failed),
            cell("tap", "add.twice", Verdict::NotApplicable("no \"tap\"".into())),
        ])
    }

    #[test]
    fn junit_escapes_and_counts() {
        let xml = report().junit();
        assert!(xml.contains("tests=\"3\" failures=\"1\" skipped=\"1\">"), "{xml}");
        assert!(
            xml.contains("message=\"it said &lt;no&gt;\">it said &lt;no&gt;\nADD \u{fffd}&amp; so</failure>"),
            "{xml}"
        );
        assert!(xml.contains("<skipped message=\"no &quot;tap&quot;\"/>"), "{xml}");
    }

    #[test]
    fn the_table_has_a_letter_for_each_verdict() {
        let table = report().table();
        assert!(table.contains("add.twice . -"), "{table}");
        assert!(table.contains("del.twice F  "), "{table}");
        assert!(table.contains("tap: 1 not applicable: no \"tap\""), "{table}");
        assert_eq!(report().failures(), [("bridge", "del.twice", "it said <no>")]);
    }
}
