//! `picocni demo`: two pods on one bridge, a published port, real packets, and
//! nothing left behind, all in a private namespace of this kernel.

mod drawing;
mod leftovers;
mod stage;
mod traffic;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use picocni::program;
use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::runtime::{self, Attachment, RuntimeMemory};
use picocni_core::session::Session;
use picocni_core::text::Put;
use picocni_linux::host::Linux;
use picocni_linux::sys::{Environ, Pointers};
use rustix::time::{ClockId, clock_gettime};

use crate::command::{container_id, set_loopback_up};
use crate::memory::Memory;
use crate::namespace::Namespace;
use crate::terminal::out;
use crate::words::Words;
use traffic::Places;

/// The network, as an operator would write it.
const CONFLIST: &str = r#"{
  "cniVersion": "1.1.0",
  "name": "demo",
  "plugins": [
    { "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
      "ipam": { "type": "host-local",
                "ranges": [ [ { "subnet": "10.22.0.0/24" } ], [ { "subnet": "fd22::/64" } ] ],
                "routes": [ { "dst": "0.0.0.0/0" }, { "dst": "::/0" } ] } },
    { "type": "tuning", "sysctl": { "net.ipv4.ip_unprivileged_port_start": "80" } },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
"#;

/// What a runtime says for `-p 8080:80`.
const PORTS: &str = r#"{"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"tcp"}]}"#;

const CONF_DIR: &str = "/run/demo";
const HOST_PORT: u16 = 8080;
const CONTAINER_PORT: u16 = 80;
const GATEWAY_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 22, 0, 1));
const GATEWAY_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd22, 0, 0, 0, 0, 0, 0, 1));
const WEB_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 22, 0, 3));
const WEB_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd22, 0, 0, 0, 0, 0, 0, 3));

/// Microseconds of the monotonic clock.
pub(super) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec)
        .unwrap_or(0)
        .saturating_mul(1_000_000)
        .saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0) / 1000)
}

/// Runs a step and shows it with its time.
fn step<T>(what: &[&dyn Put], act: impl FnOnce() -> Result<T>) -> Result<T> {
    let began = now_us();
    let outcome = act();
    let took = now_us().saturating_sub(began);
    let mark = if outcome.is_ok() { "  ok    " } else { "  FAIL  " };
    out(&[&mark]);
    out(what);
    out(&[&"  (", &took, &" us)\n"]);
    outcome
}

struct Pod {
    namespace: Namespace,
    id: heapless::String<40>,
    ports: &'static str,
}

impl Pod {
    fn new(name: &str, ports: &'static str) -> Result<Self> {
        let namespace = Namespace::read(name)?;
        Ok(Pod { id: container_id(&namespace.path), namespace, ports })
    }

    fn attachment(&self) -> Attachment<'_> {
        Attachment {
            network: "demo",
            container_id: &self.id,
            netns: &self.namespace.path,
            ifname: "eth0",
            cni_args: "",
            capability_args: self.ports,
            conf_dir: CONF_DIR,
            cni_path: "/opt/cni/bin",
            cache_dir: "",
        }
    }
}

/// Runs the demo; gives the exit code.
///
/// # Errors
/// The first step that failed.
#[inline(never)]
pub(crate) fn run(arguments: Words, environ: Environ, memory: &'static mut Memory) -> Result<i32> {
    let shell = match arguments.get(2) {
        "" => false,
        "--shell" => true,
        other => return Err(err!(ENVIRONMENT, "unknown option", other, "; see picocni help demo")),
    };
    let began = now_us();
    out(&[&"A private namespace of this kernel; the host is not changed.\n\n"]);
    step(&[&"own network, mount and (without root) user namespace"], stage::enter)?;
    stage::write_conflist(CONF_DIR, CONFLIST)?;
    let (web, client) = (Pod::new("new:web", PORTS)?, Pod::new("new:client", "")?);
    for pod in [&web, &client] {
        step(&[&"network namespace ", &pod.namespace.path], || pod.namespace.make())?;
    }
    let Memory { plugin: program::Memory { linux, session, .. }, runtime } = memory;
    let mut backend = Linux::new(linux, environ);
    let mut session = Session::new(&mut backend, picocni::REGISTRY, session);
    session.allow_builtin_without_file();
    wire(&mut session, runtime, &web, &client)?;
    let places = Places::open(&web.namespace.path, &client.namespace.path)?;
    talk(&places)?;
    if shell {
        return stop_in_pod(&web, environ);
    }
    unwire(&mut session, runtime, &web, &client)?;
    for pod in [&web, &client] {
        pod.namespace.remove()?;
    }
    step(&[&"nothing left behind: no link, lease, claim, rule, record or cache entry"], || {
        leftovers::check(&mut session)
    })?;
    let took = now_us().saturating_sub(began);
    out(&[&"\nAll of it in ", &(took / 1000), &" ms.\n"]);
    Ok(0)
}

fn wire(session: &mut Session<'_>, memory: &mut RuntimeMemory, web: &Pod, client: &Pod) -> Result<()> {
    for pod in [web, client] {
        set_loopback_up(session, &pod.namespace.path)?;
    }
    out(&[&"\nADD: bridge, host-local, tuning and portmap wire the pods\n"]);
    session.work().log.enable();
    add(session, memory, client, "client")?;
    // The second pod is drawn: by then the bridge and the table are there.
    session.work().log.enable();
    add(session, memory, web, "web, port 8080 -> 80")?;
    drawing::sequence(&session.work().log);
    out(&[&"\nCHECK: everything is as the results say\n"]);
    for (pod, name) in [(web, "web"), (client, "client")] {
        step(&[&name], || runtime::check(session, memory, &pod.attachment(), &mut |_| {}))?;
    }
    Ok(())
}

fn add(session: &mut Session<'_>, memory: &mut RuntimeMemory, pod: &Pod, name: &str) -> Result<()> {
    step(&[&name], || runtime::add(session, memory, &pod.attachment(), &mut |_| {}).map(|_| ()))?;
    drawing::operations(&session.work().log);
    Ok(())
}

fn talk(places: &Places) -> Result<()> {
    out(&[&"\nPackets\n"]);
    for (from, to) in
        [(&places.client, WEB_V4), (&places.client, WEB_V6), (&places.client, GATEWAY_V4), (&places.client, GATEWAY_V6)]
    {
        step(&[&"ping ", &to, &" from client"], || traffic::ping(places, from, to))?;
    }
    step(&[&"ping ", &WEB_V4, &" from the host"], || traffic::ping(places, &places.host, WEB_V4))?;
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let exchanges = [
        (&places.host, GATEWAY_V4, "the host's own address"),
        (&places.host, local, "localhost of the host"),
        (&places.host, GATEWAY_V6, "the host's IPv6 address"),
        (&places.client, GATEWAY_V4, "the other pod, by the host's address"),
        (&places.client, GATEWAY_V6, "the other pod, by the host's IPv6 address"),
    ];
    for (from, to, who) in exchanges {
        step(&[&"GET / from ", &who, &", port 8080"], || {
            traffic::exchange(places, from, (to, HOST_PORT), CONTAINER_PORT)
        })?;
    }
    Ok(())
}

fn unwire(session: &mut Session<'_>, memory: &mut RuntimeMemory, web: &Pod, client: &Pod) -> Result<()> {
    out(&[&"\nDEL and GC\n"]);
    step(&[&"DEL web"], || runtime::del(session, memory, &web.attachment(), &mut |_| {}))?;
    step(&[&"DEL web again: what is gone is success"], || {
        runtime::del(session, memory, &web.attachment(), &mut |_| {})
    })?;
    // Nobody calls DEL for the client: its attachment is left to GC.
    step(&[&"GC with no valid attachment: takes the client's"], || {
        runtime::gc(session, memory, &client.attachment(), Some(&[]), &mut |_| {})
    })
}

/// Leaves the operator in the wired pod; everything goes with the shell.
fn stop_in_pod(web: &Pod, environ: Environ) -> Result<i32> {
    out(&[
        &"\nYou are in pod \"web\"; everything vanishes when you leave (exit).\n\n",
        &"  ip addr; ip route                         what bridge and host-local set\n",
        &"  ping 10.22.0.1; ping fd22::1              the gateway\n",
        &"  python3 -m http.server 80 &               then:\n",
        &"  curl http://10.22.0.1:8080/               through the published port, back to this pod\n",
        &"  cat /run/demo/demo.conflist               the network\n",
        &"  ls /var/lib/cni/networks/demo             leases\n",
        &"  cat /var/lib/cni/results/*                the runtime's result cache\n\n",
    ]);
    crate::exec::enter(&web.namespace.path)?;
    let shell = environ.get("SHELL");
    let mut words = Pointers::new();
    words.push(c"sh").map_err(|_| crate::command::path_limit())?;
    let chosen = if shell.is_empty() { "/bin/sh" } else { shell };
    Err(crate::exec::become_program(chosen, &mut words, environ))
}
