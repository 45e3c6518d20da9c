//! Configuration of `policy`: that of a Kubernetes NetworkPolicy, read strictly.
//! A misspelt key would let through what was to be kept out, so an unknown one is
//! an error, and keys are not read by a schema that passes over them.

use picocni_core::config_keys;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::json::Key;
use picocni_core::json::raw::{Elements, Members, at, member};
use picocni_core::limits;
use picocni_core::net::Cidr;
use picocni_core::op::{Direction, PolicyLine, PortRange};
use picocni_core::put;
use picocni_core::text::{Put, Sink, parse_u32};

/// Every key that `policy` reads.
pub(super) const KEYS: &[Key] = config_keys![
    Key::any("policyTypes"),
    Key::any("ingress"),
    Key::any("egress"),
    Key::object("runtimeConfig", &[Key::any("policy")]),
];

const SPEC: [&str; 3] = ["policyTypes", "ingress", "egress"];

/// What is isolated and what is let through.
#[derive(Debug)]
pub(super) struct Conf {
    pub(super) ingress: bool,
    pub(super) egress: bool,
    pub(super) lines: heapless::Vec<PolicyLine, { limits::POLICY_LINES }>,
}

impl Conf {
    /// The policy in a config's canonical text: that of the runtime if there is
    /// one, else that of the config; `None` if neither is there. Both are checked.
    ///
    /// # Errors
    /// Code 7 for wrong values, code 2 for what this release does not serve,
    /// code 100.
    pub(super) fn read(text: &str) -> Result<Option<Self>> {
        let own = SPEC.map(|key| member(text, key).filter(|value| *value != "null").unwrap_or(""));
        let fixed = if own == [""; 3] { None } else { Some(Self::of(own, &At::new(""))?) };
        let given = at(text, &["runtimeConfig", "policy"]);
        if given.is_empty() || given == "null" {
            return Ok(fixed);
        }
        let root = At::new("runtimeConfig.policy");
        let mut spec = [""; 3];
        object(given, &SPEC, &mut spec, &root)?;
        Self::of(spec, &root).map(Some)
    }

    fn of([types, ingress, egress]: [&str; 3], at: &At<'_>) -> Result<Self> {
        let mut conf = Conf { ingress: false, egress: false, lines: heapless::Vec::new() };
        let list = at.key("policyTypes");
        for (index, value) in array(types, &list)?.enumerate() {
            match value {
                "\"Ingress\"" => conf.ingress = true,
                "\"Egress\"" => conf.egress = true,
                _ => return Err(wrong(&list.index(index), value, "\"Ingress\" or \"Egress\"")),
            }
        }
        if !conf.ingress && !conf.egress {
            (conf.ingress, conf.egress) = (true, !egress.is_empty());
        }
        for (direction, rules, isolated) in
            [(Direction::Ingress, ingress, conf.ingress), (Direction::Egress, egress, conf.egress)]
        {
            let at = at.key(direction.as_str());
            let rules = array(rules, &at)?;
            if !isolated && rules.clone().next().is_some() {
                return Err(err!(
                    CONFIG,
                    "invalid policy",
                    at,
                    " has rules, and policyTypes does not name it; name it there, or leave the rules out"
                ));
            }
            for (index, rule) in rules.enumerate() {
                conf.rule(direction, rule, &at.index(index))?;
            }
        }
        Ok(conf)
    }

    /// Every pair of a peer and a port is a line.
    fn rule(&mut self, direction: Direction, rule: &str, at: &At<'_>) -> Result<()> {
        let others = match direction {
            Direction::Ingress => "from",
            Direction::Egress => "to",
        };
        let mut parts = [""; 2];
        object(rule, &[others, "ports"], &mut parts, at)?;
        let [peers, ports] = parts;
        let mut ranges: heapless::Vec<PortRange, { limits::POLICY_LINES }> = heapless::Vec::new();
        let list = at.key("ports");
        for (index, port) in array(ports, &list)?.enumerate() {
            ranges.push(read_ports(port, &list.index(index))?).map_err(|_| too_many())?;
        }
        let list = at.key(others);
        let mut peers = array(peers, &list)?.enumerate().peekable();
        if peers.peek().is_none() {
            return self.allow(direction, None, &ranges, &mut |_| Ok(()));
        }
        for (index, peer) in peers {
            let own = list.index(index);
            let [cidr, except] = read_peer(peer, &own)?;
            let at = own.key("ipBlock");
            let block = read_cidr(cidr, &at.key("cidr"))?;
            let list = at.key("except");
            self.allow(direction, Some(block), &ranges, &mut |conf| {
                for (index, part) in array(except, &list)?.enumerate() {
                    let at = list.index(index);
                    let hole = read_cidr(part, &at)?;
                    let inside =
                        hole.is_v6() == block.is_v6() && hole.prefix() > block.prefix() && block.contains(hole.addr());
                    if !inside {
                        return Err(err!(
                            CONFIG,
                            "invalid policy",
                            at,
                            " is ",
                            Seen(part),
                            ", which is no part of ",
                            block
                        ));
                    }
                    conf.push(PolicyLine::Except(hole))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn allow(
        &mut self,
        direction: Direction,
        peer: Option<Cidr>,
        ranges: &[PortRange],
        exceptions: &mut dyn FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let every = [None];
        let some = ranges.iter().map(|range| Some(*range));
        for ports in some.chain(every.into_iter().filter(|_| ranges.is_empty())) {
            self.push(PolicyLine::Allow { direction, peer, ports })?;
            exceptions(self)?;
        }
        Ok(())
    }

    fn push(&mut self, line: PolicyLine) -> Result<()> {
        self.lines.push(line).map_err(|_| too_many())
    }
}

#[cold]
fn too_many() -> Error {
    Error::limit("POLICY_LINES", limits::POLICY_LINES)
        .with(&" pairs of a peer and a port, and exceptions of each, in one policy; take larger blocks or ranges")
}

/// `cidr` and `except` of the peer's block.
fn read_peer<'a>(peer: &'a str, at: &At<'_>) -> Result<[&'a str; 2]> {
    let mut parts = [""; 3];
    object(peer, &["ipBlock", "podSelector", "namespaceSelector"], &mut parts, at)?;
    let [block, pods, namespaces] = parts;
    for (key, value) in [("podSelector", pods), ("namespaceSelector", namespaces)] {
        if !value.is_empty() {
            return Err(unsupported(
                &at.key(key),
                " selects by labels, which no plugin knows; give the addresses as ipBlock",
            ));
        }
    }
    if block.is_empty() {
        return Err(wrong(at, peer, "{\"ipBlock\": {\"cidr\": \"ADDRESS/PREFIX\"}}"));
    }
    let mut parts = [""; 2];
    object(block, &["cidr", "except"], &mut parts, &at.key("ipBlock"))?;
    Ok(parts)
}

fn read_cidr(value: &str, at: &At<'_>) -> Result<Cidr> {
    let cidr = text(value).and_then(Cidr::parse).map(Cidr::network);
    cidr.ok_or_else(|| wrong(at, value, "\"ADDRESS/PREFIX\", IPv4 or IPv6"))
}

fn read_ports(value: &str, at: &At<'_>) -> Result<PortRange> {
    let mut parts = [""; 3];
    object(value, &["protocol", "port", "endPort"], &mut parts, at)?;
    let [protocol, port, end] = parts;
    let known = [("\"TCP\"", 6), ("\"UDP\"", 17), ("\"SCTP\"", 132), ("", 6)];
    let protocol = known
        .into_iter()
        .find(|(name, _)| protocol.eq_ignore_ascii_case(name))
        .map(|(_, number)| number)
        .ok_or_else(|| wrong(&at.key("protocol"), protocol, "\"TCP\", \"UDP\" or \"SCTP\""))?;
    if port.is_empty() {
        return if end.is_empty() {
            Ok(PortRange { protocol, first: 0, last: u16::MAX })
        } else {
            Err(wrong(&at.key("endPort"), end, "a port beside it, where the range begins"))
        };
    }
    if text(port).is_some() {
        return Err(unsupported(&at.key("port"), " is a name, which no plugin knows; give the number"));
    }
    let number = |value: &str| parse_u32(value).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let first = number(port).ok_or_else(|| wrong(&at.key("port"), port, "1 to 65535"))?;
    if end.is_empty() {
        return Ok(PortRange { protocol, first, last: first });
    }
    let last = number(end).filter(|last| *last >= first);
    let last = last.ok_or_else(|| wrong(&at.key("endPort"), end, "port to 65535"))?;
    Ok(PortRange { protocol, first, last })
}

/// The values of an object's keys, "" for one that is absent; any other key is an error.
fn object<'a>(value: &'a str, keys: &[&str], values: &mut [&'a str], at: &At<'_>) -> Result<()> {
    if !value.starts_with(['{']) {
        return Err(wrong(at, value, "an object"));
    }
    for member in Members::new(value) {
        let slot = values.iter_mut().zip(keys).find(|(_, key)| member.is(key));
        match slot {
            Some((slot, _)) => *slot = if member.value == "null" { "" } else { member.value },
            None => {
                let error = unsupported(at, " has a key that is not served: ");
                put!(&mut error.more(), Seen(member.key), "; served are");
                for key in keys {
                    put!(&mut error.more(), " ", *key);
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// The elements of a list, none if it is absent.
fn array<'a>(value: &'a str, at: &At<'_>) -> Result<Elements<'a>> {
    if value.is_empty() || value.starts_with(['[']) {
        Ok(Elements::new(value))
    } else {
        Err(wrong(at, value, "a list"))
    }
}

/// A string's text; one with an escape is none that is read here.
fn text(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"').filter(|text| !text.contains(['\\']))
}

#[cold]
fn wrong(at: &At<'_>, seen: &str, wanted: &'static str) -> Error {
    let seen = if seen.is_empty() { "missing" } else { seen };
    err!(CONFIG, "invalid policy", *at, " is ", Seen(seen), ", expected ", wanted)
}

#[cold]
fn unsupported(at: &At<'_>, why: &'static str) -> Error {
    err!(UNSUPPORTED, "unsupported field", *at, why)
}

/// A value of the config for an error: the beginning is enough.
struct Seen<'a>(&'a str);

impl Put for Seen<'_> {
    fn put(&self, out: &mut dyn Sink) {
        let end = self.0.char_indices().map(|(at, _)| at).nth(60);
        match end.and_then(|end| self.0.get(..end)) {
            Some(beginning) => put!(out, beginning, "..."),
            None => out.text(self.0),
        }
    }
}

/// Where in the config a value is: written out for an error alone.
#[derive(Debug, Clone, Copy)]
struct At<'p> {
    above: Option<&'p At<'p>>,
    key: &'p str,
    index: Option<usize>,
}

impl<'p> At<'p> {
    const fn new(root: &'p str) -> Self {
        At { above: None, key: root, index: None }
    }

    const fn key(&'p self, key: &'p str) -> Self {
        At { above: Some(self), key, index: None }
    }

    const fn index(self, index: usize) -> Self {
        At { index: Some(index), ..self }
    }

    fn is_root(&self) -> bool {
        self.above.is_none() && self.key.is_empty()
    }
}

impl Put for At<'_> {
    fn put(&self, out: &mut dyn Sink) {
        if self.is_root() {
            return out.text("the config");
        }
        if let Some(above) = self.above.filter(|above| !above.is_root()) {
            put!(out, *above, ".");
        }
        out.text(self.key);
        if let Some(index) = self.index {
            put!(out, "[", index, "]");
        }
    }
}
