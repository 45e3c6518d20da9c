//! Texts near a schema, made from a stream of choices. Any bytes give a text;
//! fewer bytes give a smaller one, so that a shrinker finds small texts.

use picocni_core::json::{Key, Kind};

/// The choices still to be made. At their end every choice is 0.
pub struct Choices<'c>(&'c [u8]);

impl<'c> Choices<'c> {
    pub fn new(bytes: &'c [u8]) -> Self {
        Self(bytes)
    }

    fn below(&mut self, bound: usize) -> usize {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                usize::from(*first) % bound
            }
            None => 0,
        }
    }

    fn one_in(&mut self, bound: usize) -> bool {
        // 0, which is the end of the choices, is the common case.
        self.below(bound) == bound - 1
    }
}

/// Appends an object with these keys, or now and then something else.
pub fn document(keys: &'static [Key], choices: &mut Choices<'_>, out: &mut String) {
    value(&Kind::Object(keys), choices, 0, out);
    if choices.one_in(20) {
        out.push_str([" ", "x", "{}", ",", "\u{feff}"][choices.below(5)]);
    }
}

fn value(kind: &Kind, choices: &mut Choices<'_>, depth: usize, out: &mut String) {
    space(choices, out);
    let kind = match choices.below(24) {
        23 => &Kind::Any,
        22 => &Kind::Str,
        21 => &Kind::I64,
        20 if depth > 0 => return out.push_str("null"),
        _ => kind,
    };
    match kind {
        Kind::Spanned(inner) => value(inner, choices, depth, out),
        Kind::Str => string(choices, out),
        Kind::Bool => out.push_str(["true", "false"][choices.below(2)]),
        Kind::BoolOrStr => out.push_str(["true", "\"true\"", "\"False\"", "false", "\"no\""][choices.below(5)]),
        Kind::Int { min, max } => integer(i128::from(*min), i128::from(*max), choices, out),
        Kind::Uint { min, max } => integer(i128::from(*min), i128::from(*max), choices, out),
        Kind::Object(keys) => members(choices, out, |choices, out| {
            let Some(key) = keys.get(choices.below(keys.len() + 1)) else {
                string(choices, out);
                out.push(':');
                return value(&Kind::Any, choices, depth + 1, out);
            };
            spelling(key.name, choices, out);
            space(choices, out);
            out.push(':');
            value(&key.kind, choices, depth + 1, out);
        }),
        Kind::Map(of, _) => members(choices, out, |choices, out| {
            spelling(["a", "b", "c\u{e9}", ""][choices.below(4)], choices, out);
            out.push(':');
            value(of, choices, depth + 1, out);
        }),
        Kind::Array(of, _) => elements(choices, out, |choices, out| {
            value(of, choices, depth + 1, out);
        }),
        Kind::Any | Kind::Raw => any(choices, depth, out),
    }
    space(choices, out);
}

fn any(choices: &mut Choices<'_>, depth: usize, out: &mut String) {
    match choices.below(9) {
        0 => string(choices, out),
        1 => out.push_str("true"),
        2 => out.push_str("null"),
        3 => integer(-300, 300, choices, out),
        4 => out.push_str(
            ["1.5", "-0", "-0.0", "1e3", "0.1E-7", "1E+2", "01", "1.", "-", ".5", "1e999"][choices.below(11)],
        ),
        5 if depth < 40 => elements(choices, out, |choices, out| any(choices, depth + 1, out)),
        6 if depth < 40 => members(choices, out, |choices, out| {
            string(choices, out);
            out.push(':');
            any(choices, depth + 1, out);
        }),
        7 if choices.below(8) == 7 => {
            // Near the cap on depth.
            let levels = 28 + choices.below(6);
            out.push_str(&"[".repeat(levels));
            out.push_str(&"]".repeat(levels));
        }
        _ => out.push('0'),
    }
}

fn integer(min: i128, max: i128, choices: &mut Choices<'_>, out: &mut String) {
    let value = match choices.below(8) {
        0 => min,
        1 => max,
        2 => max + 1,
        3 => min - 1,
        4 => return out.push_str(["-0", "1.0", "1e1", "+1", "00"][choices.below(5)]),
        _ => min + (i128::from(choices.below(256) as u8)).min(max - min),
    };
    out.push_str(&value.to_string());
}

fn string(choices: &mut Choices<'_>, out: &mut String) {
    const PIECES: [&str; 24] = [
        "a",
        "eth0",
        "\u{e9}",
        "\u{1f600}",
        "\\n",
        "\\\"",
        "\\\\",
        "\\/",
        "\\u0041",
        "\\u00e9",
        "\\ud83d\\ude00",
        "\\u001f",
        "\\u0000",
        "\\b\\f\\r\\t",
        "\\u2028",
        " {}[]:,",
        "\\u0022",
        "\\uD834\\uDD1E",
        "\\ud800",
        "\\udc00x",
        "\\x",
        "\n",
        "\u{0}",
        "\u{7f}",
    ];
    out.push('"');
    for _ in 0..choices.below(4) {
        // Faulty pieces come last and seldom.
        let pieces = if choices.one_in(16) { 24 } else { 18 };
        out.push_str(PIECES[choices.below(pieces)]);
    }
    out.push('"');
}

/// A key in some case, perhaps escaped.
fn spelling(name: &str, choices: &mut Choices<'_>, out: &mut String) {
    let style = choices.below(6);
    out.push('"');
    for c in name.chars() {
        match style {
            4 => out.extend(c.to_uppercase()),
            5 if choices.one_in(3) => out.push_str(&format!("\\u{:04x}", c as u32)),
            5 if choices.one_in(3) => out.push(c.to_ascii_uppercase()),
            _ => out.push(c),
        }
    }
    out.push('"');
}

fn members(choices: &mut Choices<'_>, out: &mut String, member: impl Fn(&mut Choices<'_>, &mut String)) {
    bracketed("{", "}", choices, out, member);
}

fn elements(choices: &mut Choices<'_>, out: &mut String, element: impl Fn(&mut Choices<'_>, &mut String)) {
    bracketed("[", "]", choices, out, element);
}

fn bracketed(
    open: &str,
    close: &str,
    choices: &mut Choices<'_>,
    out: &mut String,
    entry: impl Fn(&mut Choices<'_>, &mut String),
) {
    out.push_str(open);
    for at in 0..choices.below(7) {
        if at > 0 {
            out.push(',');
        }
        space(choices, out);
        entry(choices, out);
        if choices.one_in(120) {
            out.push_str([",", "]", "}", ":", "\"", "null"][choices.below(6)]);
        }
    }
    space(choices, out);
    if !choices.one_in(200) {
        out.push_str(close);
    }
}

fn space(choices: &mut Choices<'_>, out: &mut String) {
    if choices.one_in(8) {
        out.push_str([" ", "\n", "\t", "\r\n", "  ", "\u{a0}"][choices.below(6).min(choices.below(6))]);
    }
}
