//! Pictures of a call: its operations, and the sequence of plugins.

use picocni_core::put;
use picocni_core::session::{Log, Span};
use picocni_core::text::Put;

use crate::terminal::out;

/// The operations of the last call, one line each.
pub(super) fn operations(log: &Log) {
    for line in log.lines() {
        let mark = if line.ok { "          " } else { "        ! " };
        out(&[&mark, &Padded(&line.plugin, 11), &Padded(&line.verb, 17), &line.object, &"  ", &line.took_us, &" us\n"]);
    }
}

/// Columns of the sequence: who, and where its line stands.
const ACTORS: [&str; 5] = ["runtime", "bridge", "host-local", "tuning", "portmap"];
/// Characters between two lines.
const GAP: usize = 20;

/// The sequence runtime → bridge → host-local → tuning → portmap and back, with
/// the microseconds between a plugin's call and its return on every arrow.
pub(super) fn sequence(log: &Log) {
    out(&[&"\n"]);
    for actor in ACTORS {
        out(&[&Padded(&actor, GAP)]);
    }
    out(&[&"\n"]);
    for span in log.spans().iter().filter(|span| span.caller.is_empty()) {
        call(log, span);
    }
}

fn call(log: &Log, span: &Span) {
    let from = column(span.caller);
    let to = column(span.plugin);
    arrow(from, to, true, span.command.as_str(), span.began_us.saturating_sub(previous_end(log, span)));
    for inner in log.spans().iter().filter(|inner| inner.caller == span.plugin) {
        let (near, far) = (column(inner.caller), column(inner.plugin));
        arrow(near, far, true, inner.command.as_str(), inner.began_us.saturating_sub(span.began_us));
        arrow(near, far, false, "result", inner.ended_us.saturating_sub(inner.began_us));
    }
    arrow(from, to, false, if span.ok { "result" } else { "error" }, span.ended_us.saturating_sub(span.began_us));
}

/// When the plugin before this one returned: the runtime worked from then on.
fn previous_end(log: &Log, span: &Span) -> u64 {
    log.spans()
        .iter()
        .filter(|other| other.caller.is_empty() && other.ended_us <= span.began_us)
        .map(|other| other.ended_us)
        .max()
        .unwrap_or(span.began_us)
}

fn column(actor: &str) -> usize {
    ACTORS.iter().position(|name| *name == actor).unwrap_or(0)
}

/// A line of the picture: `|` for every actor, and an arrow between two of them.
fn arrow(from: usize, to: usize, forth: bool, label: &str, micros: u64) {
    let text = picocni_core::text::fits::<32>(&[&label, &" ", &micros, &" us"]).unwrap_or_default();
    let width = to.saturating_sub(from).saturating_mul(GAP).saturating_sub(1);
    for at in 0..ACTORS.len() {
        if at == from {
            out(&[&"|", &Shaft { text: &text, width, forth }]);
        } else if at < from || at >= to {
            out(&[&"|"]);
            if at < ACTORS.len().saturating_sub(1) {
                out(&[&Padded(&"", GAP.saturating_sub(1))]);
            }
        }
    }
    out(&[&"\n"]);
}

struct Shaft<'a> {
    text: &'a str,
    width: usize,
    forth: bool,
}

impl Put for Shaft<'_> {
    fn put(&self, out: &mut dyn picocni_core::text::Sink) {
        // Two blanks around the text, one character for the head.
        let dashes = self.width.saturating_sub(self.text.len()).saturating_sub(3);
        let left = dashes >> 1;
        let draw = |out: &mut dyn picocni_core::text::Sink, count: usize| (0..count).for_each(|_| out.text("-"));
        if !self.forth {
            out.text("<");
        }
        draw(out, left);
        put!(out, " ", self.text, " ");
        draw(out, dashes.saturating_sub(left));
        if self.forth {
            out.text(">");
        }
    }
}

struct Padded<'a>(&'a dyn Put, usize);

impl Put for Padded<'_> {
    fn put(&self, out: &mut dyn picocni_core::text::Sink) {
        let text = picocni_core::text::fits::<64>(&[self.0]).unwrap_or_default();
        out.text(&text);
        (text.len()..self.1).for_each(|_| out.text(" "));
    }
}
