//! Queueing disciplines and redirecting filters. The crate that reads the rest of netlink has no token buckets: their
//! parameters are taken from the bytes of `struct tc_tbf_qopt`.

use std::collections::HashMap;

use netlink_packet_core::Nla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAction, TcActionAttribute, TcActionMirrorOption, TcActionOption, TcAttribute, TcFilterU32Option, TcHandle,
    TcMessage, TcMirrorActionType, TcOption,
};

use super::read::{Names, name_of, take};

/// A queueing discipline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qdisc {
    /// Device name.
    pub dev: String,
    /// `tbf`, `ingress`, `noqueue`, …
    pub kind: String,
    /// Handle, major number.
    pub handle: u16,
    /// Parameters of a token bucket.
    pub bucket: Option<Bucket>,
    /// Parameters of fq_codel, in the words of the crate that reads them.
    pub fq_codel: Vec<String>,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Bytes a second.
    pub rate: u64,
    /// Size in ticks of 64 ns at that rate.
    pub buffer: u32,
    /// Bytes that may wait, the bucket included.
    pub limit: u32,
}

/// All that a device receives is sent by another one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    /// Device name.
    pub dev: String,
    /// Name of the other one, empty if it is gone.
    pub to: String,
}

impl Qdisc {
    pub(super) fn line(&self) -> String {
        let Self { dev, kind, handle, bucket, .. } = self;
        let parameters = bucket.map_or(String::new(), |b| format!(" {b:?}"));
        // fq_codel is given a handle of the kernel's choice.
        if kind == "fq_codel" {
            format!("qdisc {dev} {kind}")
        } else {
            format!("qdisc {dev} {kind} handle {handle:x}:{parameters}")
        }
    }
}

impl Redirection {
    pub(super) fn line(&self) -> String {
        format!("filter {} redirects to {}", self.dev, self.to)
    }
}

pub(super) fn read(names: &Names) -> (Vec<Qdisc>, Vec<Redirection>) {
    let messages: Vec<TcMessage> = take(RouteNetlinkMessage::GetQueueDiscipline(TcMessage::default()), |m| match m {
        RouteNetlinkMessage::NewQueueDiscipline(q) => Some(q),
        _ => None,
    });
    let qdiscs: Vec<Qdisc> = messages.iter().map(|message| qdisc(message, names)).collect();
    let ingress = messages.iter().zip(&qdiscs).filter(|(_, q)| q.kind == "ingress");
    let redirections = ingress.flat_map(|(message, q)| redirections(message.header.index, &q.dev, names)).collect();
    (qdiscs, redirections)
}

fn kind(message: &TcMessage) -> String {
    let kind = message.attributes.iter().find_map(|a| match a {
        TcAttribute::Kind(kind) => Some(kind.clone()),
        _ => None,
    });
    kind.unwrap_or_default()
}

fn options(message: &TcMessage) -> &[TcOption] {
    let options = message.attributes.iter().find_map(|a| match a {
        TcAttribute::Options(options) => Some(options.as_slice()),
        _ => None,
    });
    options.unwrap_or_default()
}

fn qdisc(message: &TcMessage, names: &Names) -> Qdisc {
    let kind = kind(message);
    let index = u32::try_from(message.header.index).unwrap_or_default();
    let fq_codel = options(message).iter().filter_map(|o| match o {
        TcOption::FqCodel(option) => Some(format!("{option:?}")),
        _ => None,
    });
    Qdisc {
        dev: name_of(index, names),
        handle: message.header.handle.major,
        bucket: (kind == "tbf").then(|| bucket(options(message))),
        fq_codel: fq_codel.collect(),
        kind,
    }
}

fn bucket(options: &[TcOption]) -> Bucket {
    // Options of a kind that the crate does not know are one attribute, which holds them all.
    let mut rest = options.first().map_or(Vec::new(), |all| {
        let mut bytes = vec![0; all.value_len()];
        all.emit_value(&mut bytes);
        bytes
    });
    let mut values = HashMap::new();
    while let Some(header) = rest.first_chunk::<4>() {
        let [length, kind] = [[header[0], header[1]], [header[2], header[3]]].map(u16::from_ne_bytes);
        let length = usize::from(length);
        values.insert(kind, rest[4..length].to_vec());
        rest.drain(..length.next_multiple_of(4).min(rest.len()));
    }
    let value = |wanted: u16| values.get(&wanted).cloned();
    let number = |bytes: &[u8], at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let params = value(1).expect("TCA_TBF_PARMS");
    // TCA_TBF_RATE64, if the rate is over 32 bits.
    let rate = value(4).map(|bytes| u64::from_ne_bytes(bytes.try_into().expect("eight bytes")));
    Bucket { rate: rate.unwrap_or(number(&params, 8).into()), limit: number(&params, 24), buffer: number(&params, 28) }
}

fn redirections(index: i32, dev: &str, names: &Names) -> Vec<Redirection> {
    let mut ask = TcMessage::default();
    ask.header.index = index;
    ask.header.parent = TcHandle { major: 0xffff, minor: 0 };
    let targets: Vec<u32> = take(RouteNetlinkMessage::GetTrafficFilter(ask), |m| match m {
        RouteNetlinkMessage::NewTrafficFilter(filter) => target(options(&filter)),
        _ => None,
    });
    targets.iter().map(|to| Redirection { dev: dev.to_owned(), to: name_of(*to, names) }).collect()
}

/// Where a filter redirects, if it is one that catches everything.
fn target(options: &[TcOption]) -> Option<u32> {
    let catches_all = options.iter().any(|o| match o {
        TcOption::U32(TcFilterU32Option::Selector(s)) => s.keys.len() == 1 && s.keys.iter().all(|key| key.mask == 0),
        _ => false,
    });
    let actions = options.iter().find_map(|o| match o {
        TcOption::U32(TcFilterU32Option::Action(actions)) => Some(actions.as_slice()),
        _ => None,
    });
    actions.filter(|_| catches_all)?.iter().find_map(redirect)
}

fn redirect(action: &TcAction) -> Option<u32> {
    let options = action.attributes.iter().find_map(|a| match a {
        TcActionAttribute::Options(options) => Some(options.as_slice()),
        _ => None,
    });
    options.unwrap_or_default().iter().find_map(|o| match o {
        TcActionOption::Mirror(TcActionMirrorOption::Parms(p)) if p.eaction == TcMirrorActionType::EgressRedir => {
            Some(p.ifindex)
        }
        _ => None,
    })
}
