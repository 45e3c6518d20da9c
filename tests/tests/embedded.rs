//! A program with std that embeds picocni: no process is started, the plugins run in this one, over the transport that
//! the feature `netlink-sys` chooses. `tests/run` runs this file once with it and once without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::IpAddr;

use picocni_core::runtime::{self, Attachment, RuntimeMemory};
use picocni_core::session::{Session, Workspace};
use picocni_linux::host::{Linux, Memory};
use picocni_linux::socket::{NetlinkFamily, Socket};
use picocni_linux::sys::Environ;
use picocni_tests::kernel::{self, Snapshot};
use picocni_tests::netns::Netns;
use picocni_tests::sandbox;
use serde_json::{Value, json};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks for.
struct Counting;

// SAFETY: every call is handed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `body` and says how often it allocated.
fn counted<T>(body: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATIONS.get();
    let value = body();
    (value, ALLOCATIONS.get() - before)
}

const CONF_DIR: &str = "/etc/cni/net.d";
const PORTS: &str = r#"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}"#;

/// Everything a call needs, allocated before the first one.
struct Host {
    linux: Box<Memory>,
    session: Box<Workspace>,
    runtime: Box<RuntimeMemory>,
}

impl Host {
    fn new() -> Self {
        let network = json!({"cniVersion": "1.1.0", "name": "embedded", "plugins": [
            {"type": "bridge", "bridge": "br0", "isGateway": true, "ipMasq": true, "ipam": {
                "type": "host-local", "subnet": "10.1.2.0/24", "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ]});
        std::fs::create_dir_all(CONF_DIR).expect("the sandbox's own /etc");
        std::fs::write(format!("{CONF_DIR}/10-embedded.conflist"), network.to_string()).expect("a network");
        Self {
            linux: Box::new(Memory::new()),
            session: Box::new(Workspace::new()),
            runtime: Box::new(RuntimeMemory::new()),
        }
    }

    /// One call in this process, as a runtime that embeds the plugins makes it.
    fn with<T>(&mut self, call: impl FnOnce(&mut Session<'_>, &mut RuntimeMemory) -> T) -> T {
        let mut backend = Linux::new(&mut self.linux, Environ::EMPTY);
        let mut session = Session::new(&mut backend, picocni::REGISTRY, &mut self.session);
        session.allow_builtin_without_file();
        call(&mut session, &mut self.runtime)
    }
}

fn attachment(netns: &str) -> Attachment<'_> {
    Attachment {
        network: "embedded",
        container_id: "pod",
        netns,
        ifname: "eth0",
        cni_args: "",
        capability_args: PORTS,
        conf_dir: CONF_DIR,
        cni_path: "/run/no-plugins-here",
        cache_dir: "",
    }
}

/// A pod's namespace and its path as text, made before anything is counted.
fn pod() -> (Netns, String) {
    let netns = Netns::create("/run/netns/pod".into());
    let path = netns.path().to_str().expect("an UTF-8 path").to_owned();
    (netns, path)
}

#[test]
fn speaks_over_the_transport_that_was_chosen() {
    let socket = format!("{:?}", Socket::open(NetlinkFamily::Route).expect("a netlink socket"));
    let expected = if cfg!(feature = "netlink-sys") { "Raw(Socket(" } else { "Raw(OwnedFd" };
    assert!(socket.contains(expected), "{socket}");
}

#[test]
fn wires_a_pod_and_leaves_nothing() {
    sandbox::run(|_| {
        let mut host = Host::new();
        let (netns, path) = pod();
        let attachment = attachment(&path);
        let ip = |text: &str| Some(text.parse::<IpAddr>().expect("an address"));
        let before = Snapshot::here();

        let text = host.with(|session, memory| {
            runtime::add(session, memory, &attachment, &mut |_| {})
                .map(str::to_owned)
                .unwrap_or_else(|e| panic!("{e:?}"))
        });
        let result: Value = serde_json::from_str(&text).expect("a result");
        assert_eq!(result["ips"][0]["address"], "10.1.2.2/24", "{text}");
        assert_eq!(Snapshot::here().link("br0").kind, "bridge", "the thread is back in its own namespace");
        assert_eq!(Snapshot::here().addresses_of("br0"), ["10.1.2.1/24"]);
        let inside = netns.run(Snapshot::here);
        assert_eq!(inside.addresses_of("eth0"), ["10.1.2.2/24"]);
        assert!(inside.has_route("0.0.0.0/0", ip("10.1.2.1")), "{:?}", inside.routes);
        if let Some(rules) = sandbox::nft_ruleset() {
            assert!(rules.contains("8080"), "{rules}");
        }

        host.with(|session, memory| runtime::check(session, memory, &attachment, &mut |_| {})).expect("CHECK");
        // CHECK looks at the kernel and not at what ADD has noted: without its address it must fail.
        netns.run(|| kernel::edit::delete_addresses("eth0"));
        let refused = host.with(|session, memory| runtime::check(session, memory, &attachment, &mut |_| {}));
        assert!(refused.is_err(), "CHECK without the pod's address");

        for again in ["DEL", "DEL again"] {
            host.with(|session, memory| runtime::del(session, memory, &attachment, &mut |_| {})).expect(again);
        }
        let left = before.difference(&Snapshot::here());
        assert!(left.iter().all(|line| line.contains("br0")), "{left:#?}");
        assert_eq!(netns.run(Snapshot::here).find_link("eth0"), None);
        let leases = std::fs::read_dir("/var/lib/cni/networks/embedded").expect("the lease directory");
        let leases: Vec<_> = leases.map(|e| e.expect("an entry").file_name()).filter(|n| n != "lock").collect();
        assert!(leases.iter().all(|n| n.to_string_lossy().starts_with("last_reserved_ip")), "{leases:?}");
        if let Some(rules) = sandbox::nft_ruleset() {
            assert!(!rules.contains("8080"), "{rules}");
        }
    });
}

#[test]
fn allocates_nothing() {
    sandbox::run(|_| {
        let mut host = Host::new();
        let (_netns, path) = pod();
        let attachment = attachment(&path);
        let (text, control) = counted(|| "one".to_owned());
        assert_eq!((text.as_str(), control), ("one", 1), "allocations are counted");
        let (added, for_add) =
            counted(|| host.with(|s, memory| runtime::add(s, memory, &attachment, &mut |_| {}).map(str::len)));
        let (deleted, for_del) = counted(|| host.with(|s, memory| runtime::del(s, memory, &attachment, &mut |_| {})));
        assert!(added.expect("ADD") > 0);
        deleted.expect("DEL");
        println!("allocations: ADD {for_add}, DEL {for_del}");
        assert_eq!((for_add, for_del), (0, 0));
    });
}
