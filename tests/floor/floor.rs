//! The kernel's own floor for one pod on a bridge: the fewest system calls and netlink messages that leave what a
//! bridge + host-local ADD leaves: a lease file, the gateway address on the bridge, a veth pair with one end on the
//! bridge, and in the pod an address and a default route. It parses no configuration, prints no result and looks at no
//! error but the first. Freestanding: no libc, no allocator. x86_64.
//!
//! `floor BRIDGE NETNS LEASE HOST_LINK LAST_BYTE add|del`, addresses 10.99.0.LAST_BYTE/16 with gateway 10.99.0.1.
#![no_std]
#![no_main]
// Loops here must not become calls of a C library that is not linked.
#![no_builtins]

use core::arch::{asm, global_asm};

global_asm!(".globl _start", "_start:", "mov rdi, rsp", "and rsp, -16", "call {main}", main = sym main);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    exit(101)
}

/// core's own code names it; nothing unwinds here.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

fn syscall(number: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
    let result: isize;
    // SAFETY: each caller passes what the system call of that number takes.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
             in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

fn exit(code: usize) -> ! {
    syscall(60, code, 0, 0, 0, 0, 0);
    loop {}
}

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE_EXCL: u16 = 0x600;

/// Netlink messages one behind the other.
struct Batch {
    bytes: [u8; 1024],
    used: usize,
    start: usize,
    count: usize,
}

impl Batch {
    fn new() -> Self {
        Self {
            bytes: [0; 1024],
            used: 0,
            start: 0,
            count: 0,
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.bytes[self.used] = *byte;
            self.used += 1;
        }
        self.used = (self.used + 3) & !3;
    }

    fn begin(&mut self, kind: u16, flags: u16, header: &[u8]) {
        self.start = self.used;
        self.put(&[0; 4]);
        self.put(&[kind.to_le_bytes(), (REQUEST | flags).to_le_bytes()].concat_4());
        self.put(&[0; 8]);
        self.put(header);
        self.count += 1;
    }

    fn end(&mut self) {
        let length = (self.used - self.start) as u32;
        self.bytes[self.start..self.start + 4].copy_from_slice(&length.to_le_bytes());
    }

    fn open(&mut self, kind: u16) -> usize {
        let at = self.used;
        self.put(&[[0, 0], kind.to_le_bytes()].concat_4());
        at
    }

    fn close(&mut self, at: usize) {
        let length = (self.used - at) as u16;
        self.bytes[at..at + 2].copy_from_slice(&length.to_le_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let at = self.open(kind);
        let end = self.used + value.len();
        self.put(value);
        let length = (end - at) as u16;
        self.bytes[at..at + 2].copy_from_slice(&length.to_le_bytes());
    }
}

trait Concat4 {
    fn concat_4(&self) -> [u8; 4];
}

impl Concat4 for [[u8; 2]; 2] {
    fn concat_4(&self) -> [u8; 4] {
        [self[0][0], self[0][1], self[1][0], self[1][1]]
    }
}

/// struct ifinfomsg
fn link_header(index: u32, up: bool) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_le_bytes());
    header[8] = u8::from(up);
    header[12] = u8::from(up);
    header
}

fn netlink_socket() -> usize {
    syscall(41, 16, 3 | 0o2000000, 0, 0, 0, 0) as usize
}

/// Sends the batch and waits for all acknowledgements; ends the process at an error other than EEXIST.
fn send(socket: usize, batch: &mut Batch) {
    syscall(
        44,
        socket,
        batch.bytes.as_ptr() as usize,
        batch.used,
        0,
        0,
        0,
    );
    let mut reply = [0u8; 4096];
    let mut seen = 0;
    while seen < batch.count {
        let length = syscall(
            45,
            socket,
            reply.as_mut_ptr() as usize,
            reply.len(),
            0,
            0,
            0,
        );
        if length < 20 {
            exit(2);
        }
        let mut at = 0;
        while at + 20 <= length as usize {
            let word =
                |i: usize| u32::from_le_bytes([reply[i], reply[i + 1], reply[i + 2], reply[i + 3]]);
            if word(at + 4) as u16 == 2 {
                seen += 1;
                let error = word(at + 16) as i32;
                if error != 0 && error != -17 {
                    exit(-error as usize);
                }
            }
            at += (word(at) as usize + 3) & !3;
        }
    }
    *batch = Batch::new();
}

/// The index of a link, by one targeted request; 0 if there is none.
fn index_of(socket: usize, name: &[u8]) -> u32 {
    let mut batch = Batch::new();
    batch.begin(RTM_GETLINK, 0, &link_header(0, false));
    batch.attribute(3, name);
    batch.end();
    syscall(
        44,
        socket,
        batch.bytes.as_ptr() as usize,
        batch.used,
        0,
        0,
        0,
    );
    let mut reply = [0u8; 4096];
    syscall(
        45,
        socket,
        reply.as_mut_ptr() as usize,
        reply.len(),
        0,
        0,
        0,
    );
    // An error reply (there is no such link) is of another kind.
    if u16::from_le_bytes([reply[4], reply[5]]) != RTM_NEWLINK {
        return 0;
    }
    u32::from_le_bytes([reply[20], reply[21], reply[22], reply[23]])
}

/// The bytes of a C string, with its NUL.
fn argument(argv: *const *const u8, number: usize) -> &'static [u8] {
    // SAFETY: the kernel put at least `number` arguments there; the caller of this program passes six.
    let start = unsafe { *argv.add(number) };
    let mut length = 0;
    // SAFETY: the string ends with NUL.
    while unsafe { *start.add(length) } != 0 {
        length += 1;
    }
    // SAFETY: the bytes up to the NUL lie behind `start` for the life of the process.
    unsafe { core::slice::from_raw_parts(start, length + 1) }
}

extern "C" fn main(stack: *const usize) -> ! {
    let argv = stack.wrapping_add(1).cast::<*const u8>();
    let (bridge, netns, lease) = (argument(argv, 1), argument(argv, 2), argument(argv, 3));
    let (host, last, command) = (argument(argv, 4), argument(argv, 5), argument(argv, 6));
    let mut number = 0u16;
    for digit in &last[..last.len() - 1] {
        number = number * 10 + u16::from(digit - b'0');
    }
    let socket = netlink_socket();
    if command[0] == b'a' {
        add(
            socket,
            bridge,
            netns,
            lease,
            host,
            [10, 99, (number >> 8) as u8, number as u8],
        );
    } else {
        let mut batch = Batch::new();
        batch.begin(RTM_DELLINK, ACK, &link_header(0, false));
        batch.attribute(3, host);
        batch.end();
        send(socket, &mut batch);
        syscall(87, lease.as_ptr() as usize, 0, 0, 0, 0, 0);
    }
    exit(0)
}

fn add(socket: usize, bridge: &[u8], netns: &[u8], lease: &[u8], host: &[u8], ip: [u8; 4]) {
    let gateway = [10, 99, 0, 1];
    // The lease: O_CREAT | O_EXCL | O_WRONLY, then its holder.
    let file = syscall(2, lease.as_ptr() as usize, 0o301, 0o600, 0, 0, 0) as usize;
    syscall(1, file, host.as_ptr() as usize, host.len() - 1, 0, 0, 0);
    syscall(3, file, 0, 0, 0, 0, 0);
    let pod = syscall(2, netns.as_ptr() as usize, 0o2000000, 0, 0, 0, 0) as usize;
    let mut batch = Batch::new();
    let mut index = index_of(socket, bridge);
    if index == 0 {
        batch.begin(RTM_NEWLINK, ACK | CREATE_EXCL, &link_header(0, true));
        batch.attribute(3, bridge);
        let info = batch.open(18);
        batch.attribute(1, b"bridge\0");
        batch.close(info);
        batch.end();
        send(socket, &mut batch);
        index = index_of(socket, bridge);
    }
    // The pair, its host end up and on the bridge, its other end in the pod, up, under its final name.
    batch.begin(RTM_NEWLINK, ACK | CREATE_EXCL, &link_header(0, true));
    batch.attribute(3, host);
    batch.attribute(10, &index.to_le_bytes());
    let info = batch.open(18);
    batch.attribute(1, b"veth\0");
    let data = batch.open(2);
    let peer = batch.open(1);
    batch.put(&link_header(0, false));
    batch.attribute(3, b"eth0\0");
    batch.attribute(28, &(pod as u32).to_le_bytes());
    batch.close(peer);
    batch.close(data);
    batch.close(info);
    batch.end();
    // The gateway address, there already after the first pod.
    batch.begin(RTM_NEWADDR, ACK | CREATE_EXCL, &address_header(index));
    batch.attribute(2, &gateway);
    batch.attribute(1, &gateway);
    batch.end();
    send(socket, &mut batch);
    syscall(308, pod, 0x4000_0000, 0, 0, 0, 0);
    let inside = netlink_socket();
    let eth0 = index_of(inside, b"eth0\0");
    batch.begin(RTM_NEWLINK, ACK, &link_header(eth0, true));
    batch.end();
    batch.begin(RTM_NEWADDR, ACK | CREATE_EXCL, &address_header(eth0));
    batch.attribute(2, &ip);
    batch.attribute(1, &ip);
    batch.end();
    // struct rtmsg: IPv4, table main, protocol boot, scope universe, unicast.
    batch.begin(
        RTM_NEWROUTE,
        ACK | CREATE_EXCL,
        &[2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0],
    );
    batch.attribute(5, &gateway);
    batch.attribute(4, &eth0.to_le_bytes());
    batch.end();
    send(inside, &mut batch);
}

/// struct ifaddrmsg: IPv4, /16.
fn address_header(index: u32) -> [u8; 8] {
    let mut header = [2, 16, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_le_bytes());
    header
}

/// # Safety
/// As memset of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") byte as u8, options(nostack))
    };
    to
}

/// # Safety
/// As memcpy of C.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the direction flag is clear by the ABI.
    unsafe {
        asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack));
    }
    to
}
