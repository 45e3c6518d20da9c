//! Any bytes as a datagram from the kernel, through every parser of a reply.
//!
//! The laws: nothing panics, everything ends, and no parser is handed bytes of
//! another message: what it takes lies within the datagram.

use picocni_linux::wire::attr::Attrs;
use picocni_linux::wire::nftables::{ChainView, RuleView, effects, parse_elements, parse_generation, parse_table};
use picocni_linux::wire::nlmsg::{Message, Messages};
use picocni_linux::wire::route::{NextHops, Route};
use picocni_linux::wire::{addr, conntrack, link, neigh, netfilter, rule};

/// Bytes of a message header (linux/netlink.h).
const HEADER: usize = 16;

/// Reads `data` as one datagram.
pub fn run(data: &[u8]) {
    let mut seen = 0;
    for message in Messages::new(data) {
        seen += HEADER + message.payload.len();
        assert!(seen <= data.len(), "messages overlap");
        one(&message);
    }
    assert!(attributes(Attrs::new(data), 0) <= data.len() / 4, "attributes overlap");
}

fn one(message: &Message<'_>) {
    for end in [message.ack(), message.done()].into_iter().flatten() {
        assert!(end.errno >= 0, "error numbers are positive");
        assert!(end.extack.message.unwrap_or_default().len() <= message.payload.len());
    }
    let _ = (link::Link::parse(message), addr::Addr::parse(message), Route::parse(message));
    let _ = (neigh::Neigh::parse(message), rule::Rule::parse(message), conntrack::parse(message));
    let _ = (ChainView::parse(message), RuleView::parse(message), parse_table(message), parse_generation(message));
    effects(message, &mut |_| {});
    assert!(NextHops::of(message).count() <= message.payload.len());
    let Some(elements) = parse_elements(message) else { return };
    let set = elements.set;
    for element in elements {
        let _ = netfilter::layout::decode(set, &element);
    }
}

/// Counts attributes at every depth that could be one.
fn attributes(list: Attrs<'_>, depth: usize) -> usize {
    let mut count = 0;
    for (_, payload) in list {
        count += 1;
        if depth < 4 {
            // A parser that descends where there is nothing to descend into must end as well.
            attributes(Attrs::new(payload), depth + 1);
        }
    }
    count
}
