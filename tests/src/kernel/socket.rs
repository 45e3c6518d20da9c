//! One rtnetlink conversation at a time, over netlink-sys.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

fn open() -> Socket {
    let mut socket = Socket::new(NETLINK_ROUTE).expect("a netlink socket");
    socket.bind_auto().expect("a netlink port");
    socket.connect(&SocketAddr::new(0, 0)).expect("the kernel's netlink port");
    socket
}

fn send(socket: &Socket, flags: u16, message: RouteNetlinkMessage) {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = 1;
    let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0).expect("the kernel takes the request");
}

/// Asks for all objects of a kind. A dump that the kernel marks as interrupted is asked for again.
pub(super) fn dump(message: &RouteNetlinkMessage) -> Vec<RouteNetlinkMessage> {
    for _ in 0..20 {
        if let Some(found) = dump_once(message.clone()) {
            return found;
        }
    }
    panic!("the kernel interrupted 20 dumps in a row");
}

fn dump_once(message: RouteNetlinkMessage) -> Option<Vec<RouteNetlinkMessage>> {
    let socket = open();
    send(&socket, NLM_F_DUMP, message);
    let (mut found, mut interrupted) = (Vec::new(), false);
    loop {
        let (bytes, _) = socket.recv_from_full().expect("a reply of the kernel");
        let mut rest = bytes.as_slice();
        while rest.len() >= 16 {
            let packet = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).expect("a parsable reply");
            let length = usize::try_from(packet.header.length).expect("a length");
            interrupted |= packet.header.flags & NLM_F_DUMP_INTR != 0;
            match packet.payload {
                NetlinkPayload::Done(_) => return (!interrupted).then_some(found),
                NetlinkPayload::Error(e) => panic!("the kernel refuses the dump: {:?}", e.to_io()),
                NetlinkPayload::InnerMessage(m) => found.push(m),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// Sends one change and waits for its acknowledgement.
pub(super) fn change(flags: u16, message: RouteNetlinkMessage) -> io::Result<()> {
    let socket = open();
    send(&socket, flags | NLM_F_ACK, message);
    let (bytes, _) = socket.recv_from_full()?;
    let packet = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).expect("a parsable reply");
    match packet.payload {
        NetlinkPayload::Error(e) if e.code.is_some() => Err(e.to_io()),
        _ => Ok(()),
    }
}
