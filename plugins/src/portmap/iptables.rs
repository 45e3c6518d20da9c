//! Ports published by iptables: the chains, comments and rules of the reference
//! plugin, since other programs read them.
//!
//! | chain | what it does |
//! |---|---|
//! | `CNI-HOSTPORT-DNAT` | from PREROUTING and OUTPUT, to addresses of the host: by port to the chains of attachments |
//! | `CNI-DN-DIGEST` | one for each attachment: marks what has to come back, then translates the destination |
//! | `CNI-HOSTPORT-SETMARK` | sets the mark |
//! | `CNI-HOSTPORT-MASQ` | from POSTROUTING: masquerades what is marked |

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::iptables::{self, Chain, Comment, Script, Word, Words, after, has};
use picocni_core::limits;
use picocni_core::net::Cidr;
use picocni_core::observe::{Protocol, PublishedPort};
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::owner::Owner;
use picocni_core::plugin::Call;
use picocni_core::put;
use picocni_core::session::Session;
use picocni_core::text::{Put, Sink};

use super::add::Wanted;
use super::backend::{Conditions, Mark};
use super::conf::Conf;

const TABLE: &str = "nat";
const DNAT: &str = "CNI-HOSTPORT-DNAT";
const SETMARK: &str = "CNI-HOSTPORT-SETMARK";
const MASQ: &str = "CNI-HOSTPORT-MASQ";
const LOCAL: &str = "-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT";

/// Ports of one rule (`XT_MULTI_PORTS`, linux/netfilter/xt_multiport.h).
const MULTIPORT: usize = 15;
/// Bytes of the words of a list of conditions.
const CONDITION: usize = 1024;
/// Protocols in the order of the reference plugin's rules.
const PROTOCOLS: [Protocol; 3] = [Protocol::Sctp, Protocol::Tcp, Protocol::Udp];

/// The chain of an attachment.
pub(super) fn chain(owner: &Owner<'_>) -> Chain {
    iptables::chain_of("CNI-DN-", owner)
}

/// The families that have a port to publish.
pub(super) fn families(wanted: &Wanted) -> impl Iterator<Item = bool> {
    [false, true].into_iter().filter(|v6| wanted.ports.iter().any(|port| port.to.is_ipv6() == *v6))
}

/// Makes the rules of every family.
pub(super) fn publish(conf: &Conf<'_>, call: &Call<'_>, session: &mut Session<'_>, wanted: &Wanted) -> Result<()> {
    families(wanted).try_for_each(|v6| publish_family(conf, call, session, wanted, v6))
}

/// By itself, since its text would be part of the stack of every ADD.
#[inline(never)]
fn publish_family(
    conf: &Conf<'_>,
    call: &Call<'_>,
    session: &mut Session<'_>,
    wanted: &Wanted,
    v6: bool,
) -> Result<()> {
    let chain = chain(&call.owner());
    let mut shared = Shared::new(conf);
    let mut leftover = false;
    session.backend.iptables_rules(v6, TABLE, &mut |line| {
        leftover |= iptables::chain(line) == Some(chain.as_str());
        shared.see(line);
    })?;
    if leftover {
        // Of an ADD whose record was lost, or of the plugin before.
        session.removal(Removal::IptablesChain { v6, table: TABLE, chain: &chain })?;
    }
    let mut script = shared.missing();
    if !script.is_empty() {
        session.change(Change::EnsureIptables { v6, text: script.finish()? })?;
    }
    let mut script = Script::new(TABLE);
    write(&mut script, conf, call, wanted, &chain, v6)?;
    let mut plan = Plan::new();
    plan.change(Change::Iptables { v6, table: TABLE, chain: &chain, text: script.finish()? })?;
    session.apply(&plan)
}

/// What pods share, and whether it is there.
struct Shared {
    mask: Option<u32>,
    dnat: bool,
    setmark: bool,
    masq: bool,
    from_prerouting: bool,
    from_output: bool,
    from_postrouting: bool,
    sets: bool,
    masquerades: bool,
}

/// `BIT/BIT`, as iptables-save prints a mark with its mask.
struct Bits(u32);

impl Put for Bits {
    fn put(&self, out: &mut dyn Sink) {
        let hex = picocni_core::text::Hex(u64::from(self.0));
        put!(out, "0x", hex, "/0x", hex);
    }
}

impl Bits {
    fn are_in(&self, rule: &str) -> bool {
        let mut text = heapless::String::<24>::new();
        self.put(&mut text);
        Words(rule).any(|word| word == text.as_str())
    }
}

impl Shared {
    fn new(conf: &Conf<'_>) -> Self {
        let mask = match conf.mark {
            Mark::Bit(bit) if conf.snat => 1u32.checked_shl(bit),
            _ => None,
        };
        Shared {
            mask,
            dnat: false,
            setmark: false,
            masq: false,
            from_prerouting: false,
            from_output: false,
            from_postrouting: false,
            sets: false,
            masquerades: false,
        }
    }

    /// One line of iptables-save. Jumps are known by their target: how a version
    /// of iptables spells what else is in them does not matter.
    fn see(&mut self, line: &str) {
        match iptables::chain(line) {
            Some(DNAT) => self.dnat = true,
            Some(SETMARK) => self.setmark = true,
            Some(MASQ) => self.masq = true,
            _ => {}
        }
        let Some((chain, rule)) = iptables::rule(line) else { return };
        let marked = || self.mask.is_some_and(|mask| Bits(mask).are_in(rule));
        match chain {
            "PREROUTING" => self.from_prerouting |= iptables::jumps_to(rule, DNAT),
            "OUTPUT" => self.from_output |= iptables::jumps_to(rule, DNAT),
            "POSTROUTING" => self.from_postrouting |= iptables::jumps_to(rule, MASQ),
            SETMARK => self.sets |= marked(),
            MASQ => self.masquerades |= marked(),
            _ => {}
        }
    }

    fn missing(&self) -> Script {
        let mut script = Script::new(TABLE);
        let translate = self.mask.is_some();
        for (wanted, there, chain) in
            [(true, self.dnat, DNAT), (translate, self.setmark, SETMARK), (translate, self.masq, MASQ)]
        {
            if wanted && !there {
                script.shared_chain(chain);
            }
        }
        if let Some(mask) = self.mask {
            let bits = Bits(mask);
            if !self.sets {
                let comment = Comment("CNI portfwd masquerade mark");
                script.line(&[&"-A ", &SETMARK, &" ", &comment, &" -j MARK --set-xmark ", &bits]);
            }
            if !self.masquerades {
                script.line(&[&"-A ", &MASQ, &" -m mark --mark ", &bits, &" -j MASQUERADE"]);
            }
            if !self.from_postrouting {
                let comment = Comment("CNI portfwd requiring masquerade");
                script.line(&[&"-I POSTROUTING ", &comment, &" -j ", &MASQ]);
            }
        }
        for (there, chain) in [(self.from_prerouting, "PREROUTING"), (self.from_output, "OUTPUT")] {
            if !there {
                script.append(chain, &LOCAL);
            }
        }
        script
    }
}

fn write(
    script: &mut Script,
    conf: &Conf<'_>,
    call: &Call<'_>,
    wanted: &Wanted,
    chain: &Chain,
    v6: bool,
) -> Result<()> {
    script.own_chain(chain);
    for port in wanted.ports.iter().filter(|port| port.to.is_ipv6() == v6) {
        write_port(script, conf, wanted.net(v6), chain, port);
    }
    let condition = condition(conf.conditions.get(usize::from(v6)).copied())?;
    let comment = iptables::owner_comment("dnat ", call.conf.name, call.env.container_id);
    for protocol in PROTOCOLS {
        let mut ports: heapless::Vec<u16, { limits::PORT_MAPPINGS }> = heapless::Vec::new();
        for mapping in conf.mappings.iter().filter(|mapping| mapping.protocol == protocol) {
            if !ports.contains(&mapping.host_port) {
                let _ = ports.push(mapping.host_port);
            }
        }
        for ports in ports.chunks(MULTIPORT) {
            let protocol = protocol.as_str();
            script.line(&[
                &"-A ",
                &DNAT,
                &" -p ",
                &protocol,
                &" ",
                &Comment(&comment),
                &" -m multiport --dports ",
                &List(ports),
                &condition,
                &" -j ",
                chain,
            ]);
        }
    }
    Ok(())
}

/// Ports, separated by commas.
struct List<'a>(&'a [u16]);

impl Put for List<'_> {
    fn put(&self, out: &mut dyn Sink) {
        for (at, port) in self.0.iter().enumerate() {
            if at > 0 {
                out.text(",");
            }
            port.put(out);
        }
    }
}

/// The words of a list, each after a space.
fn condition(conditions: Option<Conditions<'_>>) -> Result<heapless::String<CONDITION>> {
    let mut text = picocni_core::text::Exact::<CONDITION>::new();
    for word in conditions.iter().flat_map(|conditions| conditions.words()) {
        let mut plain = heapless::String::<CONDITION>::new();
        let fits = word.decode_into(&mut plain).is_ok();
        if !fits || plain.chars().any(char::is_control) {
            return Err(err!(CONFIG, "invalid condition", "\"", word.canonical(), "\" is no word of iptables"));
        }
        put!(&mut text, " ", Word(&plain));
    }
    text.finish().ok_or_else(|| Error::limit("CONDITION", CONDITION).with(&" bytes of conditions"))
}

/// Whose packets are marked.
#[derive(Clone, Copy)]
enum From {
    Anybody,
    Net(Cidr),
    Localhost,
}

impl Put for From {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            From::Anybody => {}
            From::Net(net) => put!(out, " -s ", *net),
            From::Localhost => put!(out, " -s 127.0.0.1/32"),
        }
    }
}

fn write_port(script: &mut Script, conf: &Conf<'_>, net: Option<Cidr>, chain: &Chain, port: &PublishedPort) {
    let mut rule = |from: From, target: &dyn Put| {
        script.line(&[&"-A ", chain, &from, &Base(port), &" -j ", target]);
    };
    if conf.snat {
        let mark = match conf.mark {
            Mark::Bit(_) => SETMARK,
            Mark::External(chain) => chain,
        };
        let inside = net.filter(|_| !conf.masq_all).map_or(From::Anybody, From::Net);
        rule(inside, &Word(mark));
        if port.to.is_ipv4() && !conf.masq_all {
            rule(From::Localhost, &Word(mark));
        }
    }
    rule(From::Anybody, &Destination(port));
}

/// What every rule of a port matches.
struct Base<'a>(&'a PublishedPort);

impl Put for Base<'_> {
    fn put(&self, out: &mut dyn Sink) {
        if let Some(ip) = self.0.host_ip {
            put!(out, " -d ", Cidr::host(ip));
        }
        let protocol = self.0.protocol.as_str();
        put!(out, " -p ", protocol, " -m ", protocol, " --dport ", self.0.host_port);
    }
}

/// Where a port leads.
struct Destination<'a>(&'a PublishedPort);

impl Put for Destination<'_> {
    fn put(&self, out: &mut dyn Sink) {
        let PublishedPort { to, to_port, .. } = self.0;
        if to.is_ipv6() {
            put!(out, "DNAT --to-destination [", *to, "]:", *to_port);
        } else {
            put!(out, "DNAT --to-destination ", *to, ":", *to_port);
        }
    }
}

/// What CHECK found of one port.
#[derive(Clone, Copy, Default)]
struct Found {
    jump: bool,
    mark: bool,
    translation: bool,
}

/// Every port has its jump, its mark if the source is translated, and its
/// destination. Rules are compared by the words that matter.
///
/// # Errors
/// Code 104.
pub(super) fn check(conf: &Conf<'_>, session: &mut Session<'_>, wanted: &Wanted, chain: &str, v6: bool) -> Result<()> {
    let ports = || wanted.ports.iter().filter(|port| port.to.is_ipv6() == v6);
    let mut found: heapless::Vec<Found, { limits::PORT_MAPPINGS * 2 }> = heapless::Vec::new();
    for _ in ports() {
        let _ = found.push(Found::default());
    }
    session.backend.iptables_rules(v6, TABLE, &mut |line| {
        let Some((of, rule)) = iptables::rule(line) else { return };
        for (port, found) in ports().zip(&mut found) {
            if !has(rule, "-p", &port.protocol.as_str()) {
                continue;
            }
            if of == DNAT && iptables::jumps_to(rule, chain) {
                found.jump |= after(rule, "--dports").is_some_and(|list| lists(list, port.host_port));
            } else if of == chain && has(rule, "--dport", &port.host_port) {
                let mut target = heapless::String::<80>::new();
                put!(&mut target, Destination(port));
                let to = target.strip_prefix("DNAT --to-destination ").unwrap_or_default();
                found.translation |= has(rule, "--to-destination", &to);
                found.mark |= !has(rule, "-j", &"DNAT");
            }
        }
    })?;
    for (port, found) in ports().zip(&found) {
        if !found.jump || !found.translation || (conf.snat && !found.mark) {
            return Err(err!(CHANGED, "port is not published", *port, " is missing in iptables, chain ", chain));
        }
    }
    Ok(())
}

fn lists(list: &str, port: u16) -> bool {
    let comma = |c: char| c == ',';
    list.split(comma).any(|item| picocni_core::text::parse_u32(item) == Some(u32::from(port)))
}
