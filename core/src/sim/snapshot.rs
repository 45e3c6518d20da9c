//! The state of a model as sorted lines of text, to compare and to print.

use super::SimBackend;
use super::network::{HOST, NsId};
use super::store::Kind;
use super::sysctl::Layer;
use crate::digest;
use crate::name::IfIndex;
use crate::net::Cidr;
use crate::observe::{LinkKind, Route};
use crate::put;
use crate::shaping::{Ingress, Root};
use crate::text::{Put, Sink};

/// Bytes of all lines.
const TEXT: usize = 64 * 1024;
/// Lines.
const LINES: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Line {
    start: usize,
    end: usize,
    shared: bool,
}

/// What a model held at one moment.
///
/// It speaks of links by name, so that equal hosts have equal snapshots
/// whatever indexes were given in between. The clock, records of events, and
/// what the kernel itself gives `lo` are left out.
#[derive(Clone)]
pub struct Snapshot {
    text: heapless::String<TEXT>,
    lines: heapless::Vec<Line, LINES>,
    overflow: bool,
}

/// One line that only one of two snapshots has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference<'a> {
    /// Only the first has it.
    Gone(&'a str),
    /// Only the second has it.
    New(&'a str),
}

impl Put for Difference<'_> {
    fn put(&self, out: &mut dyn Sink) {
        match self {
            Difference::Gone(line) => put!(out, "- ", *line),
            Difference::New(line) => put!(out, "+ ", *line),
        }
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        // A snapshot that is not whole equals nothing.
        !self.overflow && !other.overflow && self.lines().eq(other.lines())
    }
}

impl core::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for line in self.lines() {
            f.write_str("\n")?;
            f.write_str(line)?;
        }
        if self.overflow { f.write_str("\n(overflow)") } else { Ok(()) }
    }
}

impl Sink for Snapshot {
    fn text(&mut self, text: &str) {
        self.overflow |= self.text.push_str(text).is_err();
    }
}

impl Snapshot {
    /// Of an empty host without `lo`.
    #[must_use]
    pub const fn new() -> Self {
        Snapshot { text: heapless::String::new(), lines: heapless::Vec::new(), overflow: false }
    }

    /// The lines, sorted.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| self.text.get(line.start..line.end))
    }

    /// Whether the state did not fit: such a snapshot equals nothing.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.overflow
    }

    /// Without what pods share and undo leaves: bridges of the host, their
    /// addresses, ensured sysctls, and the hints of
    /// [`NoteLastLease`](crate::op::Change::NoteLastLease), which order the
    /// search and bind nothing.
    #[must_use]
    pub fn without_shared(mut self) -> Self {
        self.drop_shared();
        self
    }

    /// The same in place.
    pub fn drop_shared(&mut self) {
        self.lines.retain(|line| !line.shared);
    }

    /// Tells what only one of the two has.
    pub fn differences(&self, other: &Snapshot, each: &mut dyn FnMut(Difference<'_>)) {
        for line in self.lines().filter(|line| !other.lines().any(|known| known == *line)) {
            each(Difference::Gone(line));
        }
        for line in other.lines().filter(|line| !self.lines().any(|known| known == *line)) {
            each(Difference::New(line));
        }
    }

    fn line(&mut self, shared: bool, parts: &[&dyn Put]) {
        let start = self.text.len();
        for part in parts {
            part.put(self);
        }
        let end = self.text.len();
        self.overflow |= self.lines.push(Line { start, end, shared }).is_err();
    }

    fn sort(&mut self) {
        let text = self.text.as_str();
        self.lines.sort_unstable_by_key(|line| text.get(line.start..line.end).unwrap_or(""));
    }
}

/// The name of a link for a line.
struct Named<'s>(&'s SimBackend, NsId, IfIndex);

impl Put for Named<'_> {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, self.0.net.space_name(self.1), " ");
        match self.0.net.indexed(self.1, self.2) {
            Some(link) => put!(out, link.name),
            // Nothing may hang on a link that is gone; it would show here.
            None => put!(out, "gone#", self.2.0),
        }
    }
}

struct Master<'s>(&'s SimBackend, NsId, Option<IfIndex>);

impl Put for Master<'_> {
    fn put(&self, out: &mut dyn Sink) {
        if let Some(index) = self.2 {
            put!(out, " master ", Named(self.0, self.1, index));
        }
    }
}

struct Peer<'s>(&'s SimBackend, &'s crate::observe::Link);

impl Put for Peer<'_> {
    fn put(&self, out: &mut dyn Sink) {
        if let Some(peer) = self.0.net.peer(self.1) {
            put!(out, " peer ", Named(self.0, peer.ns, peer.link.index));
        }
    }
}

struct Flag(&'static str, bool);

impl Put for Flag {
    fn put(&self, out: &mut dyn Sink) {
        if self.1 {
            put!(out, " ", self.0);
        }
    }
}

struct Options<'r>(&'r Route);

impl Put for Options<'_> {
    fn put(&self, out: &mut dyn Sink) {
        let route = self.0;
        if let Some(gw) = route.gw {
            put!(out, " via ", gw);
        }
        put!(out, " mtu ", route.mtu, " advmss ", route.advmss, " metric ", route.priority);
        if let Some(table) = route.table {
            put!(out, " table ", table);
        }
        if let Some(scope) = route.scope {
            put!(out, " scope ", scope);
        }
        if let Some(src) = route.src {
            put!(out, " src ", src);
        }
        if let Some(protocol) = route.protocol {
            put!(out, " proto ", protocol);
        }
        if route.onlink {
            put!(out, " onlink");
        }
    }
}

impl SimBackend {
    /// What the host holds now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new();
        self.snapshot_into(&mut snapshot);
        snapshot
    }

    /// The same into memory of the caller; a snapshot is large.
    pub fn snapshot_into(&self, out: &mut Snapshot) {
        out.text.clear();
        out.lines.clear();
        out.overflow = false;
        for space in &self.net.spaces {
            out.line(false, &[&"sandbox ", &space.path]);
        }
        self.write_links(out);
        for known in &self.net.routes {
            out.line(
                false,
                &[
                    &"route ",
                    &Named(self, known.ns, known.index),
                    &" ",
                    &known.route.dst.network(),
                    &Options(&known.route),
                ],
            );
        }
        for known in &self.net.rules {
            let Some(src) = known.rule.src else { continue };
            let table = known.rule.table;
            out.line(false, &[&"rule ", &self.net.space_name(known.ns), &" from ", &src, &" lookup ", &table]);
        }
        for known in &self.net.neighbours {
            out.line(false, &[&"neighbour ", &Named(self, HOST, known.index), &" ", &known.ip, &" ", &known.mac]);
        }
        for set in &self.sysctls.settings {
            out.line(
                set.layer == Layer::Ensured,
                &[&"sysctl ", &self.net.space_name(set.ns), &" ", &set.key, &" = ", &set.value],
            );
        }
        self.write_shaping(out);
        self.write_filter(out);
        self.write_files(out);
        out.sort();
    }

    fn write_links(&self, out: &mut Snapshot) {
        for known in &self.net.links {
            let link = &known.link;
            let flags: [&dyn Put; 5] = [
                &Flag("up", link.up),
                &Flag("promisc", link.promisc),
                &Flag("allmulti", link.allmulti),
                &Flag("hairpin", link.hairpin),
                &Flag("isolated", link.isolated),
            ];
            let [up, promisc, allmulti, hairpin, isolated] = flags;
            out.line(
                self.is_shared_link(known.ns, link.index),
                &[
                    &"link ",
                    &Named(self, known.ns, link.index),
                    &" ",
                    &link.mac,
                    &" mtu ",
                    &link.mtu,
                    &" txqlen ",
                    &link.txqlen,
                    up,
                    promisc,
                    allmulti,
                    hairpin,
                    isolated,
                    &Master(self, known.ns, link.master),
                    &Peer(self, link),
                    &" alias ",
                    &link.alias,
                ],
            );
        }
        for known in &self.net.addresses {
            let own = self.net.indexed(known.ns, known.index).is_some_and(|link| link.kind == LinkKind::Loopback)
                && is_loopback(known.address.cidr);
            if !own {
                out.line(
                    self.is_shared_link(known.ns, known.index),
                    &[
                        &"address ",
                        &Named(self, known.ns, known.index),
                        &" ",
                        &known.address.cidr,
                        &Flag("tentative", known.address.tentative),
                        &Flag("dadfailed", known.address.dad_failed),
                    ],
                );
            }
        }
    }

    fn is_shared_link(&self, ns: NsId, index: IfIndex) -> bool {
        let shared = |link: &crate::observe::Link| link.kind == LinkKind::Bridge || link.alias == super::SHARED_ALIAS;
        ns == HOST && self.net.indexed(ns, index).is_some_and(shared)
    }

    fn write_shaping(&self, out: &mut Snapshot) {
        for (link, shaping) in self.net.shaped.all() {
            let name = Named(self, HOST, link);
            match shaping.root {
                Root::Default => {}
                Root::Bucket(bucket, fair) => out.line(false, &[&"shaped ", &name, &" ", &bucket, &Flag("fair", fair)]),
                Root::Other => out.line(false, &[&"shaped ", &name, &" by another"]),
            }
            match shaping.ingress {
                Ingress::None => {}
                Ingress::Redirect(to) => {
                    out.line(false, &[&"redirected ", &name, &" to ", &Named(self, HOST, to)]);
                }
                Ingress::Empty | Ingress::Other => out.line(false, &[&"ingress ", &name]),
            }
        }
    }

    fn write_filter(&self, out: &mut Snapshot) {
        for known in &self.filter.published {
            out.line(false, &[&"published ", &known.port, &" for ", &known.tag]);
        }
        for known in &self.filter.sources {
            out.line(
                false,
                &[
                    &"source of ",
                    &known.to,
                    &" by ",
                    &Named(self, HOST, known.via),
                    &Flag("all", known.all),
                    &" for ",
                    &known.tag,
                ],
            );
        }
        for known in &self.filter.guarded {
            out.line(false, &[&"guarded ", &known.port.0, &" ", &known.mac, &" ", &known.tag]);
        }
        for known in &self.chains.chains {
            out.line(true, &[&"chain ", &known.family.as_str(), &" ", &known.table, &" ", &known.name]);
        }
        for known in &self.chains.rules {
            out.line(
                known.comment.is_empty(),
                &[
                    &"rule ",
                    &known.family.as_str(),
                    &" ",
                    &known.table,
                    &" ",
                    &known.chain,
                    &" jump ",
                    &known.jumps_to,
                    &" for ",
                    &known.comment,
                ],
            );
        }
        for known in &self.filter.policies {
            let port = known.port.unwrap_or(IfIndex(0));
            let parts: [&dyn Put; 6] = [&"policy of ", &known.tag, &" at ", &port.0, &" # ", &known.digest];
            out.line(false, &parts);
            for ip in &known.addresses {
                out.line(false, &[&"policy of ", &known.tag, &" for ", ip]);
            }
        }
        for (ip, zone) in self.filter.zones.iter().flatten() {
            out.line(false, &[&"bound ", ip, &" to ", zone]);
        }
        for known in &self.filter.entered {
            out.line(false, &[&"firewall ", &known.entry, &" for ", &known.tag]);
        }

        for (shared, line) in self.tables.all() {
            out.line(shared, &[&"iptables ", &line]);
        }
        for known in &self.filter.masqueraded {
            out.line(false, &[&"masquerade ", &known.ip, &" out of ", &known.net, &" for ", &known.tag]);
        }
    }

    fn write_files(&self, out: &mut Snapshot) {
        for file in self.store.files() {
            let what = match file.kind {
                Kind::File => "file ",
                Kind::Hint => "hint ",
                Kind::Claim => "claim ",
            };
            let readable = core::str::from_utf8(file.content).ok().filter(|text| text.len() <= 256);
            match readable {
                Some(text) => out.line(file.kind == Kind::Hint, &[&what, &file.path, &" = ", &text]),
                // Long or binary content is compared by its digest.
                None => {
                    out.line(file.kind == Kind::Hint, &[&what, &file.path, &" # ", &digest::hash64(&[file.content])])
                }
            }
        }
    }
}

fn is_loopback(cidr: Cidr) -> bool {
    cidr.addr().is_loopback()
}
