//! Text for `iptables-restore`: what plugins that execute iptables want changed.
//!
//! A [`Script`] is one execution, and so one transaction of one table. Rules are
//! written in the spelling that `iptables-save` prints, in both its flavours:
//! addresses with a prefix, the match before its options (`-p tcp -m tcp --dport 80`),
//! the comment before the target unless it was said otherwise. So what is read
//! back compares as text.

use crate::error::{Error, Result};
use crate::limits;
use crate::owner::Owner;
use crate::put;
use crate::text::{Put, Sink};

/// Rules that an attachment adds to chains that are not its own, one line each:
/// `CHAIN SPECIFICATION`, as `iptables-save` prints them after `-A `.
pub type Lines = heapless::String<{ limits::IPTABLES_LINES }>;

/// A transaction that is being composed.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Script {
    text: heapless::String<{ limits::IPTABLES_SCRIPT }>,
    overflow: bool,
    empty: bool,
}

impl Sink for Script {
    fn text(&mut self, text: &str) {
        self.overflow |= self.text.push_str(text).is_err();
    }
}

impl Script {
    /// An empty transaction of `table`.
    #[must_use]
    pub fn new(table: &str) -> Self {
        let mut script = Script { text: heapless::String::new(), overflow: false, empty: true };
        put!(&mut script, "*", table, "\n");
        script
    }

    /// A chain of an attachment: made, or emptied if it is there.
    pub fn own_chain(&mut self, chain: &str) {
        self.line(&[&":", &chain, &" - [0:0]"]);
    }

    /// A chain that is not there. If somebody makes it meanwhile, the transaction
    /// fails; it is not emptied.
    pub fn shared_chain(&mut self, chain: &str) {
        self.line(&[&"-N ", &chain]);
    }

    /// A rule at the end of a chain.
    pub fn append(&mut self, chain: &str, rule: &dyn Put) {
        self.line(&[&"-A ", &chain, &" ", rule]);
    }

    /// A rule at the start of a chain.
    pub fn insert(&mut self, chain: &str, rule: &dyn Put) {
        self.line(&[&"-I ", &chain, &" ", rule]);
    }

    /// One line, as iptables-restore reads it.
    pub fn line(&mut self, parts: &[&dyn Put]) {
        self.empty = false;
        for part in parts {
            part.put(self);
        }
        self.text("\n");
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.empty
    }

    /// The text.
    ///
    /// # Errors
    /// Code 100: over [`limits::IPTABLES_SCRIPT`].
    pub fn finish(&mut self) -> Result<&str> {
        put!(self, "COMMIT\n");
        if self.overflow {
            return Err(Error::limit("IPTABLES_SCRIPT", limits::IPTABLES_SCRIPT).with(&" bytes of iptables rules"));
        }
        Ok(&self.text)
    }
}

/// A word of a rule, in quotes if `iptables-save` prints it so.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Word<'a>(pub &'a str);

impl Put for Word<'_> {
    fn put(&self, out: &mut dyn Sink) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !self.0.is_empty() && self.0.bytes().all(plain) {
            return out.text(self.0);
        }
        out.text("\"");
        for part in self.0.split_inclusive(is_escaped) {
            let mut last = part.chars();
            match last.next_back() {
                Some(c) if is_escaped(c) => {
                    out.text(last.as_str());
                    out.text("\\");
                    out.text(part.get(last.as_str().len()..).unwrap_or_default());
                }
                _ => out.text(part),
            }
        }
        out.text("\"");
    }
}

fn is_escaped(c: char) -> bool {
    matches!(c, '"' | '\\' | '\'')
}

/// `-m comment --comment TEXT`.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Comment<'a>(pub &'a str);

impl Put for Comment<'_> {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, "-m comment --comment ", Word(self.0));
    }
}

/// A chain's name.
pub type Chain = heapless::String<{ limits::IPTABLES_CHAIN }>;

/// The chain of an attachment: `prefix` and as much of the SHA-512 of network
/// and container as fits, in hexadecimal. So the reference plugins name theirs.
///
/// They leave the interface out. So does this for `eth0`, which is what runtimes
/// call a pod's interface; the attachments of others have chains of their own.
#[must_use]
pub fn chain_of(prefix: &str, owner: &Owner<'_>) -> Chain {
    let ifname = owner.ifname.as_str();
    let ifname = if ifname == "eth0" { "" } else { ifname };
    chain_name(prefix, [owner.network, owner.container, ifname])
}

/// A prefix, and digits of a digest up to the longest name that there can be.
#[must_use]
pub fn chain_name<const N: usize>(prefix: &str, parts: [&str; N]) -> Chain {
    let mut chain = Chain::new();
    put!(&mut chain, prefix);
    // They fit: as many digits are asked for as there is room.
    let digits = limits::IPTABLES_CHAIN.saturating_sub(chain.len());
    let _ = crate::digest::hex_of(&parts.map(str::as_bytes), &mut chain, digits);
    chain
}

/// The comment by which an attachment's rules are told: `PREFIXname: "NETWORK" id:
/// "CONTAINER"`, cut to the 255 bytes that a comment may have
/// (`XT_MAX_COMMENT_LEN` - 1, linux/netfilter/xt_comment.h).
#[must_use]
pub fn owner_comment(prefix: &str, network: &str, container: &str) -> heapless::String<255> {
    let parts: [&dyn Put; 6] = [&prefix, &"name: \"", &network, &"\" id: \"", &container, &"\""];
    if let Some(whole) = crate::text::fits(&parts) {
        return whole;
    }
    let mut cut = heapless::String::<253>::new();
    for part in parts {
        part.put(&mut cut);
    }
    // The reference plugins write three points, of which iptables drops one.
    crate::text::fits(&[&cut, &".."]).unwrap_or_default()
}

/// The chain and the rest of a rule of `iptables-save`.
#[must_use]
pub fn rule(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix("-A ")?;
    Some(rest.split_once(is_space).unwrap_or((rest, "")))
}

/// The chain that a line of `iptables-save` declares.
#[must_use]
pub fn chain(line: &str) -> Option<&str> {
    line.strip_prefix(':')?.split(is_space).next()
}

/// Whether a rule of `iptables-save` jumps to `chain`.
#[must_use]
pub fn jumps_to(rule: &str, chain: &str) -> bool {
    let mut words = Words(rule);
    let mut before = "";
    loop {
        match words.next() {
            None => return false,
            Some(word) if before == "-j" || before == "-g" => return word == chain,
            Some(word) => before = word,
        }
    }
}

/// The word that follows an option in a rule.
#[must_use]
pub fn after<'r>(rule: &'r str, option: &str) -> Option<&'r str> {
    let mut words = Words(rule);
    words.by_ref().find(|word| *word == option)?;
    words.next()
}

/// Whether a rule has an option with this value.
#[must_use]
pub fn has(rule: &str, option: &str, value: &dyn Put) -> bool {
    let mut text = heapless::String::<80>::new();
    value.put(&mut text);
    after(rule, option) == Some(text.as_str())
}

/// The words of a rule; what is quoted is one word, with its quotes.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Words<'a>(pub &'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start_matches(is_space);
        if text.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let end = text.find(|c: char| {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == '"' {
                quoted = !quoted;
            }
            c == ' ' && !quoted
        });
        let (word, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
        self.0 = rest;
        Some(word)
    }
}

/// As a function, for the reason that `is_space` in other files has: a character
/// would bring in memchr, which can panic as far as the compiler sees.
fn is_space(c: char) -> bool {
    c == ' '
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::name::IfName;
    use crate::text::fits;

    fn text(part: &dyn Put) -> heapless::String<200> {
        fits(&[part]).unwrap()
    }

    #[test]
    fn words_are_quoted_as_iptables_save_does() {
        assert_eq!(text(&Word("plain-word_1")), "plain-word_1");
        assert_eq!(text(&Word("")), "\"\"");
        assert_eq!(text(&Word("a.b")), "\"a.b\"");
        assert_eq!(text(&Word(r#"name: "n" it's a\b"#)), r#""name: \"n\" it\'s a\\b""#);
        assert_eq!(text(&Word("ü \"")), "\"ü \\\"\"");
    }

    #[test]
    fn a_rule_is_read_word_by_word() {
        let line = r#"-A CHAIN -m comment --comment "a \" -j X" -j TARGET --to 1"#;
        let (chain, spec) = rule(line).unwrap();
        assert_eq!(chain, "CHAIN");
        assert_eq!(Words(spec).nth(3), Some(r#""a \" -j X""#));
        assert!(jumps_to(spec, "TARGET") && !jumps_to(spec, "X"));
        assert!(jumps_to("-g X", "X") && !jumps_to("", "X") && !jumps_to("-j", "X") && !jumps_to("-j X2", "X"));
        assert!(has(spec, "--to", &1u32) && !has(spec, "--to", &2u32) && !has(spec, "TARGET", &1u32));
        assert_eq!(after(spec, "--none"), None);
        assert_eq!(rule("-A ALONE"), Some(("ALONE", "")));
        assert_eq!(rule(":X - [0:0]"), None);
        assert_eq!(super::chain(":PREROUTING ACCEPT [0:0]"), Some("PREROUTING"));
        assert_eq!(super::chain("COMMIT"), None);
    }

    #[test]
    fn names_and_comments_are_bounded() {
        let owner = Owner { network: "my.net", container: "c1", ifname: IfName::of("eth0") };
        let chain = chain_of("CNI-DN-", &owner);
        assert_eq!(chain, "CNI-DN-bf972c1f1110541fa0b41", "as the reference plugin names it");
        assert_eq!(chain_of("CNI-", &owner), "CNI-bf972c1f1110541fa0b413a5");
        assert_ne!(chain_of("CNI-", &Owner { ifname: IfName::of("net1"), ..owner }), chain_of("CNI-", &owner));
        assert_eq!(chain.len(), limits::IPTABLES_CHAIN);
        assert_eq!(owner_comment("dnat ", "n", "c"), "dnat name: \"n\" id: \"c\"");
        let long = core::str::from_utf8(&[b'x'; 300]).unwrap();
        let comment = owner_comment("", long, "c");
        assert!(comment.len() == 255 && comment.ends_with("xxx.."));
    }

    #[test]
    fn a_script_is_one_transaction() {
        let mut script = Script::new("nat");
        assert!(script.is_empty());
        script.own_chain("CNI-X");
        script.shared_chain("S");
        script.append("CNI-X", &"-j ACCEPT");
        script.insert("S", &Comment("a b"));
        assert!(!script.is_empty());
        assert_eq!(
            script.finish().unwrap(),
            "*nat\n:CNI-X - [0:0]\n-N S\n-A CNI-X -j ACCEPT\n-I S -m comment --comment \"a b\"\nCOMMIT\n"
        );
    }

    #[test]
    fn a_script_that_does_not_fit_is_none() {
        let mut script = Script::new("nat");
        for _ in 0..limits::IPTABLES_SCRIPT / 16 {
            script.append("C", &"-j 0123456789");
        }
        assert_eq!(script.finish().unwrap_err().code(), crate::error::Code::LIMIT);
    }
}
