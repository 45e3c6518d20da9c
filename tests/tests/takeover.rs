//! A node changes over with live pods, and back: pods that the Go plugins added are checked, deleted and collected by
//! ours; pods that ours added are handed back by `picocni install --uninstall` and deleted by the Go plugins.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use picocni_tests::iptables::Flavour;
use picocni_tests::outside::Outside;
use picocni_tests::peer::Peer;
use picocni_tests::plugin::{Call, Outcome};
use picocni_tests::sandbox::{self, Sandbox};
use picocni_tests::tool::Tool;
use picocni_tests::traffic::{Protocol, Server, ask};
use picocni_tests::{Pod, kernel, skip};
use serde_json::{Value, json};

/// Where the other plugins are.
const THEIRS: &str = "/run/their-plugins";

/// Programs that the Go plugins execute, and what they make by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    /// `nft`, on a host without iptables.
    Nftables,
    /// The iptables that makes nftables rules.
    Iptables,
    /// The iptables that has tables of its own.
    Legacy,
}

impl Backend {
    /// A search path on which only its programs are.
    fn path(self) -> String {
        let dir = Path::new("/run/tools");
        let names: &[&str] = match self {
            Self::Nftables => &["nft"],
            Self::Iptables => &["nft", "iptables", "ip6tables"],
            Self::Legacy => return format!("{}:/run/none", Flavour::Legacy.install()),
        };
        if fs::create_dir(dir).is_ok() {
            names.iter().for_each(|name| symlink(format!("/usr/sbin/{name}"), dir.join(name)).expect("a link"));
        }
        "/run/tools".to_owned()
    }

    /// What a config says of it: nothing where it is what they choose by themselves.
    fn set(self, conf: &mut Value, key: &str) {
        if self == Self::Nftables {
            conf[key] = "nftables".into();
        }
    }
}

/// A node with our plugins, and theirs beside them.
struct Node<'a> {
    host: &'a Sandbox,
    backend: Backend,
    path: String,
}

/// A pod's chain of plugins, with what ADD said.
struct Chain {
    id: String,
    confs: Vec<Value>,
    result: Value,
}

#[derive(Clone, Copy)]
enum Whose {
    Ours,
    Theirs,
}

impl<'a> Node<'a> {
    fn new(host: &'a Sandbox, theirs: &Peer, backend: Backend) -> Self {
        fs::create_dir(THEIRS).expect("a directory");
        theirs.link_into(Path::new(THEIRS));
        Self { host, backend, path: backend.path() }
    }

    fn confs(&self) -> Vec<Value> {
        // macspoofchk executes nft, which a host of this flavour need not have.
        let mut bridge = json!({"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "cni0",
            "isDefaultGateway": true, "ipMasq": true, "macspoofchk": self.backend != Backend::Legacy, "hairpinMode": true,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.2.0/24", "rangeStart": "10.1.2.7", "rangeEnd": "10.1.2.8"}],
                [{"subnet": "2001:db8:1::/64", "rangeStart": "2001:db8:1::7", "rangeEnd": "2001:db8:1::8"}]]}});
        let tuning = json!({"cniVersion": "1.0.0", "name": "net", "type": "tuning", "mtu": 1400,
            "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}});
        let mut portmap = json!({"cniVersion": "1.0.0", "name": "net", "type": "portmap", "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
                {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "192.0.2.1"}]}});
        self.backend.set(&mut bridge, "ipMasqBackend");
        self.backend.set(&mut portmap, "backend");
        vec![bridge, tuning, portmap]
    }

    fn call(&self, whose: Whose, command: &str, id: &str, conf: &Value) -> Call {
        let dir = match whose {
            Whose::Ours => self.host.plugin_dir(),
            Whose::Theirs => Path::new(THEIRS),
        };
        let plugin = conf["type"].as_str().expect("a type");
        let netns = Path::new("/run/netns").join(id);
        Call::new(dir, command, plugin).env("PATH", &self.path).id(id).netns(&netns).conf(conf)
    }

    fn add(&self, whose: Whose, id: &str) -> Chain {
        let confs = self.confs();
        let mut result = Value::Null;
        for conf in &confs {
            let call = self.call(whose, "ADD", id, conf);
            let call = if result.is_null() { call } else { call.conf_after(conf, &result) };
            result = call.run().expect_result();
        }
        Chain { id: id.to_owned(), confs, result }
    }

    /// Every plugin of the chain, as a runtime calls it: DEL from the last to the first.
    fn each(&self, whose: Whose, command: &str, chain: &Chain) -> Vec<Outcome> {
        let run = |conf| self.call(whose, command, &chain.id, conf).conf_after(conf, &chain.result).run();
        if command == "DEL" {
            chain.confs.iter().rev().map(run).collect()
        } else {
            chain.confs.iter().map(run).collect()
        }
    }

    fn all(&self, whose: Whose, command: &str, chain: &Chain) {
        self.each(whose, command, chain).iter().for_each(Outcome::expect_quiet);
    }

    /// Everything there is, without counters and without the place where the next lease is looked for.
    fn state(&self) -> Vec<String> {
        let mut lines = self.host.state();
        for program in ["iptables-nft-save", "ip6tables-nft-save", "iptables-legacy-save", "ip6tables-legacy-save"] {
            let output = Command::new(program).output().expect("the packages bring it");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            lines.extend(text.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{program} {l}")));
        }
        lines.retain(|line| !line.contains("last_reserved_ip"));
        lines.iter().map(|line| without_counters(line)).collect()
    }
}

fn without_counters(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    for at in 0..words.len() {
        if at > 0 && matches!(words[at - 1], "packets" | "bytes")
            || words[at].starts_with('[') && words[at].contains(':')
        {
            words[at] = "N";
        }
    }
    words.join(" ")
}

/// Everything that names the container, anywhere.
fn traces(lines: &[String], id: &str) -> Vec<String> {
    lines.iter().filter(|line| line.contains(id)).cloned().collect()
}

/// Runs `body` for each version of theirs with each backend that it has.
fn everywhere(body: impl Fn(&Node<'_>) + Sync) {
    let (Some(new), Some(old)) = (Peer::go(), Peer::old_go()) else {
        skip!("the Go plugins have not been fetched");
    };
    for (theirs, backend) in [(&new, Backend::Nftables), (&new, Backend::Iptables), (&old, Backend::Iptables)] {
        println!("{theirs:?} {backend:?}");
        sandbox::run_with(Peer::picocni(), |host| body(&Node::new(host, theirs, backend)));
    }
}

/// A pod of theirs came and went: the bridge and all that their pods share are there, and nothing else.
fn settled(node: &Node<'_>) -> Vec<String> {
    let first = Pod::new(node.host, "first-pod");
    let chain = node.add(Whose::Theirs, "first-pod");
    node.all(Whose::Theirs, "DEL", &chain);
    first.remove();
    let state = node.state();
    assert_eq!(traces(&state, "first-pod"), [""; 0], "theirs leaves nothing");
    state
}

#[test]
fn pods_of_theirs_are_checked_and_deleted_without_leftovers() {
    everywhere(|node| {
        let before = settled(node);
        let (pod, other) = (Pod::new(node.host, "the-pod"), Pod::new(node.host, "other-pod"));
        let chain = node.add(Whose::Theirs, "the-pod");
        let with = node.state();
        assert!(kernel::difference(&before, &with).len() > 10);
        node.all(Whose::Ours, "CHECK", &chain);
        // Another pod of theirs on the same host keeps all that it has.
        let neighbour = {
            let mut confs = node.confs();
            confs.truncate(1);
            let result = node.call(Whose::Theirs, "ADD", "other-pod", &confs[0]).run().expect_result();
            Chain { id: "other-pod".to_owned(), confs, result }
        };
        let others = traces(&node.state(), "other-pod");
        node.all(Whose::Ours, "DEL", &chain);
        node.all(Whose::Ours, "DEL", &chain);
        assert_eq!(traces(&node.state(), "other-pod"), others);
        node.all(Whose::Ours, "CHECK", &neighbour);
        // Their rules are gone, so that CHECK fails.
        assert!(node.each(Whose::Ours, "CHECK", &chain).iter().all(|outcome| outcome.code == Some(1)));
        node.all(Whose::Ours, "DEL", &neighbour);
        assert_eq!(kernel::difference(&before, &node.state()), [""; 0]);
        drop((pod, other));
    });
}

/// Tables of iptables-legacy are seen by no message of nftables.
#[test]
fn what_iptables_legacy_made_is_deleted_too() {
    let (Some(new), Some(old)) = (Peer::go(), Peer::old_go()) else {
        skip!("the Go plugins have not been fetched");
    };
    for theirs in [&new, &old] {
        sandbox::run_with(Peer::picocni(), |host| {
            if !Flavour::Legacy.works() {
                skip!("no iptables-legacy here, or not in this kernel");
            }
            let node = Node::new(host, theirs, Backend::Legacy);
            let before = settled(&node);
            let _pod = Pod::new(host, "the-pod");
            let chain = node.add(Whose::Theirs, "the-pod");
            assert!(traces(&node.state(), "the-pod").iter().any(|line| line.starts_with("iptables-legacy-save")));
            node.all(Whose::Ours, "CHECK", &chain);
            node.all(Whose::Ours, "DEL", &chain);
            node.all(Whose::Ours, "DEL", &chain);
            assert_eq!(kernel::difference(&before, &node.state()), [""; 0]);
            assert!(node.each(Whose::Ours, "CHECK", &chain).iter().all(|outcome| outcome.code == Some(1)));
        });
    }
}

#[test]
fn check_fails_without_their_rules() {
    everywhere(|node| {
        let pod = Pod::new(node.host, "the-pod");
        let chain = node.add(Whose::Theirs, "the-pod");
        let run = |words: &str| {
            let status = Command::new("/bin/sh").args(["-c", words]).status().expect("a shell");
            assert!(status.success(), "{words}");
        };
        let flush = |v4: &str, v6: &str| match node.backend {
            Backend::Nftables => run(&format!("nft flush chain {v4} && nft flush chain {v6}")),
            Backend::Iptables | Backend::Legacy => {
                run(
                    "iptables -t nat -F CNI-HOSTPORT-DNAT && iptables -t nat -F POSTROUTING && ip6tables -t nat -F POSTROUTING",
                );
            }
        };
        flush("ip cni_hostport hostports", "inet cni_plugins_masquerade masq_checks");
        let [bridge, tuning, portmap] = &node.each(Whose::Ours, "CHECK", &chain)[..] else { panic!("three plugins") };
        bridge.expect_error(104, &["address is not masqueraded"]);
        tuning.expect_quiet();
        portmap.expect_error(104, &["port mappings are not recorded"]);
        // A half is enough to fail, and not too much for DEL.
        node.all(Whose::Ours, "DEL", &chain);
        assert_eq!(traces(&node.state(), "the-pod"), [""; 0]);
        drop(pod);
    });
}

#[test]
fn del_needs_no_namespace_and_no_result() {
    everywhere(|node| {
        let before = settled(node);
        let pod = Pod::new(node.host, "the-pod");
        let chain = node.add(Whose::Theirs, "the-pod");
        pod.remove();
        for conf in chain.confs.iter().rev() {
            node.call(Whose::Ours, "DEL", "the-pod", conf).without("CNI_NETNS").run().expect_quiet();
        }
        // The kernel takes a namespace's links away in its own time.
        let left = || kernel::difference(&before, &node.state());
        for _ in 0..100 {
            if left().iter().any(|line| line.contains("veth")) {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        // Nobody restored what tuning saved, as there is no link to restore it on.
        let left: Vec<String> = left().into_iter().filter(|line| !line.contains("/run/cni/tuning/")).collect();
        assert_eq!(left, [""; 0]);
    });
}

#[test]
fn gc_takes_what_names_the_network() {
    everywhere(|node| {
        let (gone, valid) = (Pod::new(node.host, "gone-pod"), Pod::new(node.host, "valid-pod"));
        node.add(Whose::Theirs, "gone-pod");
        let mut conf = node.confs()[0].clone();
        node.call(Whose::Theirs, "ADD", "valid-pod", &conf).run().expect_result();
        let kept = traces(&node.state(), "valid-pod");
        let gc = |conf: &mut Value, list: Value| {
            conf["cniVersion"] = "1.1.0".into();
            conf["cni.dev/valid-attachments"] = list;
            node.call(Whose::Ours, "GC", "", conf).without("CNI_NETNS").run().expect_quiet();
        };
        let valid_list = json!([{"containerID": "valid-pod", "ifname": "eth0"}]);
        gc(&mut conf, valid_list.clone());
        let mut portmap = node.confs()[2].clone();
        gc(&mut portmap, valid_list);
        let left = traces(&node.state(), "gone-pod");
        // The rules of a guard name no network, nor do those of ports by nft: they go with DEL only.
        let nameless = |line: &String| {
            line.contains("macspoofchk") || line.contains("cni-br-iface") || line.ends_with(r#"comment "gone-pod""#)
        };
        let named: Vec<&String> = left.iter().filter(|line| !nameless(line) && !line.contains("/tuning/")).collect();
        assert_eq!(named, Vec::<&String>::new());
        assert_eq!(traces(&node.state(), "valid-pod"), kept);
        gc(&mut conf, json!([]));
        assert_eq!(traces(&node.state(), "valid-pod").iter().filter(|line| !nameless(line)).count(), 0);
        drop((gone, valid));
    });
}

#[test]
fn add_over_leftovers_of_theirs_begins_afresh() {
    everywhere(|node| {
        let before = settled(node);
        let pod = Pod::new(node.host, "the-pod");
        let chain = node.add(Whose::Theirs, "the-pod");
        // The pod is gone and nobody said DEL; its address is free again.
        pod.remove();
        fs::remove_dir_all("/var/lib/cni/networks/net").expect("leases");
        fs::remove_dir_all("/run/cni/tuning").expect("saved values");
        let again = Pod::new(node.host, "the-pod");
        let own = node.add(Whose::Ours, "the-pod");
        node.all(Whose::Ours, "CHECK", &own);
        node.all(Whose::Ours, "DEL", &own);
        let left = kernel::difference(&before, &node.state());
        let left: Vec<String> = left.into_iter().filter(|l| l.starts_with('+') && l.contains("the-pod")).collect();
        assert_eq!(left, [""; 0]);
        drop((again, chain));
    });
}

/// A server that answers a byte with a byte on the same connection for as long as it is asked.
fn echo(at: &str) {
    let listener = TcpListener::bind(at).expect("a port");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let (mut stream, mut byte) = (stream.expect("a connection"), [0u8; 1]);
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            });
        }
    });
}

fn connect(to: &str) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to.parse().expect("an address"), Duration::from_millis(700))?;
    stream.set_read_timeout(Some(Duration::from_millis(700)))?;
    Ok(stream)
}

fn goes_on(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0u8; 1])
}

#[test]
fn pods_of_ours_are_handed_back_under_traffic() {
    let Some(theirs) = Peer::go() else {
        skip!("the Go plugins have not been fetched");
    };
    sandbox::run_with(Peer::picocni(), |host| {
        let node = Node::new(host, &theirs, Backend::Nftables);
        let outside = Outside::new(host);
        let before = settled(&node);
        let theirs_made = {
            let pod = Pod::new(host, "the-pod");
            let chain = node.add(Whose::Theirs, "the-pod");
            let state = rules(&node.state());
            node.all(Whose::Theirs, "DEL", &chain);
            pod.remove();
            state
        };
        let pod = Pod::new(host, "the-pod");
        let chain = node.add(Whose::Ours, "the-pod");
        pod.netns().run(|| echo("[::]:80"));
        let mut open: Vec<TcpStream> = ["192.0.2.1:8080", "[2001:db8:9::1]:8080"]
            .map(|to| outside.client.run(|| connect(to).expect("the published port")))
            .into();
        open.iter_mut().for_each(|stream| goes_on(stream).expect("before"));
        let own = node.state();
        let tool = Tool::new(host);
        let said = tool.run(&["install", "--uninstall", "--dry-run", "--backend=nftables", "/run/cni-plugins"]);
        assert!(said.expect_success().contains("published ports of picocni:net:the-pod:eth0"), "{said:?}");
        assert_eq!(kernel::difference(&own, &node.state()), [""; 0], "a dry run");
        // With iptables on the host theirs would look there.
        let said = tool.run(&["install", "--uninstall", "/run/cni-plugins"]);
        assert!(said.code == Some(1) && said.err.contains("would use iptables"), "{said:?}");
        assert_eq!(kernel::difference(&own, &node.state()), [""; 0], "a refusal");
        // New connections all the time, while it changes hands.
        let done = AtomicBool::new(false);
        let made = std::thread::scope(|scope| {
            let asker = scope.spawn(|| {
                outside.client.run(|| {
                    let mut made = 0;
                    while !done.load(Ordering::Relaxed) || made < 20 {
                        let mut stream = connect("192.0.2.1:8080").expect("a connection while it changes hands");
                        goes_on(&mut stream).expect("an answer while it changes hands");
                        made += 1;
                    }
                    made
                })
            });
            std::thread::sleep(Duration::from_millis(20));
            tool.run(&["install", "--uninstall", "--backend=nftables", "/run/cni-plugins"]).expect_success();
            std::thread::sleep(Duration::from_millis(20));
            done.store(true, Ordering::Relaxed);
            asker.join().expect("every connection was made")
        });
        println!("{made} connections while it changed hands");
        open.iter_mut().for_each(|stream| goes_on(stream).expect("an open connection goes on"));
        let state = node.state();
        assert_eq!(rules(&state), theirs_made, "the rules are those that theirs make");
        let ours = |line: &&String| line.starts_with("nft table") || line.starts_with("file /run/cni/picocni");
        let ours: Vec<&String> = state.iter().filter(ours).filter(|line| line.contains("picocni")).collect();
        assert_eq!(ours, Vec::<&String>::new(), "no rule and no record of ours");
        node.all(Whose::Theirs, "CHECK", &chain);
        node.all(Whose::Theirs, "DEL", &chain);
        let left = traces(&node.state(), "the-pod");
        assert_eq!(left, [""; 0]);
        for to in ["192.0.2.1:8080", "[2001:db8:9::1]:8080"] {
            assert!(outside.client.run(|| connect(to)).is_err(), "still published");
        }
        assert_eq!(after_theirs(&before, &node.state()), [""; 0]);
        // The address is free, and what comes for the old pod does not reach the new one.
        pod.remove();
        let next = Pod::new(host, "next-pod");
        let mut confs = node.confs();
        confs.truncate(1);
        let result = node.call(Whose::Theirs, "ADD", "next-pod", &confs[0]).run().expect_result();
        assert!(result["ips"].to_string().contains("10.1.2."));
        let _server = next.netns().run(|| Server::both(80, "next"));
        assert!(outside.client.run(|| ask(Protocol::Tcp, "192.0.2.1:8080")).is_err());
    });
}

/// Lines of nft's listing, in the order of the tables' names; links and addresses of a pod in words.
fn rules(state: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = state
        .iter()
        .filter(|line| line.starts_with("nft "))
        .map(|line| {
            let words = line.split(' ').map(|word| match word {
                word if word.starts_with("\"veth") => "END",
                word if word.split(':').count() == 6 => "MAC",
                word => word,
            });
            words.collect::<Vec<_>>().join(" ").replace("10.1.2.8", "10.1.2.7").replace("1::8", "1::7")
        })
        .collect();
    lines.sort();
    lines
}

/// What differs from a node on which only theirs ran, but for the bridge, which ours made no differently where it was there.
fn after_theirs(before: &[String], after: &[String]) -> Vec<String> {
    // The bridge's ports come and go; a file system without directories left empty has no lines.
    kernel::difference(before, after).into_iter().filter(|line| !line.contains("/run/cni/picocni/")).collect()
}

#[test]
fn what_cannot_be_handed_back_is_named_and_nothing_changes() {
    let Some(theirs) = Peer::go() else {
        skip!("the Go plugins have not been fetched");
    };
    sandbox::run_with(Peer::picocni(), |host| {
        let node = Node::new(host, &theirs, Backend::Nftables);
        let pod = Pod::new(host, "the-pod");
        let chain = node.add(Whose::Ours, "the-pod");
        // The same container in another network asks for the same ports.
        let mut other = node.confs();
        for conf in &mut other {
            conf["name"] = "other".into();
        }
        other[0]["bridge"] = "cni1".into();
        other[0]["ipam"] = json!({"type": "host-local", "subnet": "10.1.3.0/24"});
        let result = node.call(Whose::Ours, "ADD", "the-pod", &other[0]).ifname("eth1").run().expect_result();
        let call = node.call(Whose::Ours, "ADD", "the-pod", &other[2]).ifname("eth1");
        call.conf_after(&other[2], &result).run().expect_result();
        let state = node.state();
        let said = Tool::new(host).run(&["install", "--uninstall", "/run/cni-plugins"]);
        assert_eq!(said.code, Some(1), "{said:?}");
        for phrase in [
            "picocni:other:the-pod:eth1 cannot be handed back",
            "picocni:net:the-pod:eth0 cannot",
            "Nothing was changed",
        ] {
            assert!(said.err.contains(phrase), "{said:?}");
        }
        assert_eq!(kernel::difference(&state, &node.state()), [""; 0]);
        assert!(host.plugin_dir().join("bridge").exists());
        node.all(Whose::Ours, "CHECK", &chain);
        drop(pod);
    });
}
