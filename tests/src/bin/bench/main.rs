//! The benchmark: picocni, the Go reference plugins and a kernel floor side by side in the same run. Whole processes,
//! from posix_spawn to wait; medians of interleaved runs; on one private host. All programs are copies, written as a package
//! manager writes them.
//!
//! `bench [--runs N] [--check] [--plugins|--ports]`: at least 50 runs count; `--check` holds the ratios to `budgets.toml`;
//! `--plugins` and `--ports` make one table alone.

mod plugins;
mod ports;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use picocni_tests::budgets::Budgets;
use picocni_tests::kernel;
use picocni_tests::netns::Netns;
use picocni_tests::paths;
use picocni_tests::peer::{Peer, install};
use picocni_tests::process::{Inspection, Prepared, Run};
use picocni_tests::sandbox::{self, Sandbox};
use serde_json::{Value, json};

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let after = |word: &str| words.iter().skip_while(|w| *w != word).nth(1);
    let runs = after("--runs").map_or(60, |n| n.parse().expect("a number of runs"));
    // Alone where there is no compiler: in the virtual machine.
    if words.iter().any(|w| w == "--plugins") {
        return if plugins::compare(runs) { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if words.iter().any(|w| w == "--ports") {
        return if ports::compare() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let programs = match Programs::build() {
        Ok(programs) => programs,
        Err(why) => {
            eprintln!("the freestanding programs cannot be built: {why}");
            return ExitCode::FAILURE;
        }
    };
    let figures = sandbox::run(|host| measure(host, &programs, runs));
    let well = figures.print() & plugins::compare(runs.min(plugins::RUNS)) & ports::compare();
    if words.iter().any(|w| w == "--check") && !well { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The two freestanding programs that everything is compared with.
struct Programs {
    noop: PathBuf,
    floor: PathBuf,
}

impl Programs {
    fn build() -> Result<Self, String> {
        let out = paths::target_of("floor");
        std::fs::create_dir_all(&out).map_err(|e| e.to_string())?;
        let build = |name: &str| {
            let (source, program) = (paths::root().join(format!("tests/floor/{name}.rs")), out.join(name));
            let options = [
                "--edition=2024",
                "-Copt-level=2",
                "-Cpanic=abort",
                "-Cstrip=symbols",
                "-Crelocation-model=static",
                "-Clinker=rust-lld",
                "-Clink-arg=-static",
                "-Clink-arg=-nostdlib",
                "-o",
            ];
            let status =
                Command::new("rustc").args(options).arg(&program).arg(source).status().map_err(|e| e.to_string())?;
            if status.success() { Ok(program) } else { Err(format!("rustc ended with {status}")) }
        };
        let installed = |name: &str| {
            let copy = out.join(format!("{name}-installed"));
            install(&build(name)?, &copy);
            Ok::<_, String>(copy)
        };
        Ok(Self { noop: installed("noop")?, floor: installed("floor")? })
    }
}

/// One side of the comparison.
pub(crate) struct Contender {
    label: &'static str,
    version: String,
    dir: PathBuf,
    pub(crate) network: &'static str,
    add: Vec<Duration>,
    del: Vec<Duration>,
    chain: Vec<Duration>,
    version_call: Vec<Duration>,
    /// DEL of a pod whose link is gone: what a DEL takes outside the kernel's link deletion.
    del_gone: Vec<Duration>,
    inspected: Option<Inspection>,
}

impl Contender {
    pub(crate) fn new(label: &'static str, network: &'static str, peer: &Peer) -> Self {
        let dir = paths::target_of("bench").join(label);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a plugin directory");
        peer.install_into(&dir);
        let times = || Vec::new();
        let version = peer.version();
        Self {
            label,
            version,
            dir,
            network,
            add: times(),
            del: times(),
            chain: times(),
            version_call: times(),
            del_gone: times(),
            inspected: None,
        }
    }

    /// bridge with host-local, as the floor does it: gateway address, one IPv4 address, default route.
    pub(crate) fn conf(&self) -> Value {
        let subnet = if self.network == "ours" { "10.97.0.0/16" } else { "10.98.0.0/16" };
        json!({
            "cniVersion": "1.0.0", "name": self.network, "type": "bridge", "bridge": format!("br-{}", self.network),
            "isGateway": true, "ipam": {"type": "host-local", "subnet": subnet, "routes": [{"dst": "0.0.0.0/0"}]},
        })
    }

    pub(crate) fn call(&self, command: &str, plugin: &str, id: &str, netns: &Netns, conf: &Value) -> Prepared {
        let (dir, netns) = (self.dir.display().to_string(), netns.path().display().to_string());
        let environment = [
            ("PATH", PATH),
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", id),
            ("CNI_NETNS", &netns),
            ("CNI_IFNAME", "eth0"),
            ("CNI_PATH", &dir),
        ];
        Prepared::new(&self.dir.join(plugin), &[plugin], &environment, conf.to_string().as_bytes())
    }
}

pub(crate) fn well(run: Run, what: &str) -> Run {
    assert_eq!(run.code, 0, "{what}: {}", String::from_utf8_lossy(&run.stdout));
    run
}

pub(crate) fn result(run: &Run) -> Value {
    serde_json::from_slice(&run.stdout).expect("a result")
}

struct Figures {
    runs: usize,
    noop: Vec<Duration>,
    floor_add: Vec<Duration>,
    floor_del: Vec<Duration>,
    contenders: Vec<Contender>,
}

fn measure(host: &Sandbox, programs: &Programs, runs: usize) -> Figures {
    std::fs::create_dir_all("/run/leases").expect("a directory for the floor's leases");
    let mut contenders = Vec::new();
    if paths::binary().is_file() {
        contenders.push(Contender::new("picocni", "ours", &Peer::picocni()));
    }
    contenders.extend(Peer::go().map(|go| Contender::new("go", "go", &go)));
    let mut figures = Figures { runs, noop: Vec::new(), floor_add: Vec::new(), floor_del: Vec::new(), contenders };
    // The first rounds make bridges and warm caches; they do not count.
    const WARM: usize = 3;
    for round in 0..runs + WARM {
        if round == WARM {
            figures.forget();
        }
        floor(host, programs, round, &mut figures);
        for contender in &mut figures.contenders {
            let noop = single(host, contender, round, &programs.noop);
            if contender.network == "ours" {
                figures.noop.push(noop);
            }
            chain(host, contender, round);
        }
    }
    for contender in &mut figures.contenders {
        let pod = host.pod(&format!("{}-inspected", contender.network));
        let conf = contender.conf();
        contender.inspected = Some(contender.call("ADD", "bridge", "inspected", &pod, &conf).inspect());
    }
    figures
}

// Pods stay until the end: taking a namespace apart keeps the kernel's network lock busy for tens of milliseconds, which
// would count against whoever runs next.

fn floor(host: &Sandbox, programs: &Programs, round: usize, figures: &mut Figures) {
    let pod = host.pod(&format!("floor-{round}"));
    let (netns, lease) = (pod.path().display().to_string(), format!("/run/leases/10.99.0.{round}"));
    let (link, last) = (format!("vf{round}"), (round + 2).to_string());
    let call = |command| {
        Prepared::new(&programs.floor, &["floor", "br-floor", &netns, &lease, &link, &last, command], &[], b"")
    };
    figures.floor_add.push(well(call("add").run(), "the floor's ADD").elapsed);
    figures.floor_del.push(well(call("del").run(), "the floor's DEL").elapsed);
}

/// The no-op runs right beside VERSION, in the same state of the machine; its time is returned.
fn single(host: &Sandbox, contender: &mut Contender, round: usize, noop: &Path) -> Duration {
    let id = format!("single-{round}");
    let pod = host.pod(&format!("{}-{id}", contender.network));
    let conf = contender.conf();
    let mut prepared = Prepared::new(noop, &["noop"], &[], b"");
    let mut version = contender.call("VERSION", "bridge", &id, &pod, &json!({"cniVersion": "1.0.0"}));
    // Whoever runs second finds the machine warmer, so they take turns.
    let first = round.is_multiple_of(2).then(|| version.run());
    let noop = well(prepared.run(), "no-op").elapsed;
    let run = first.unwrap_or_else(|| version.run());
    contender.version_call.push(well(run, "VERSION").elapsed);
    contender.add.push(well(contender.call("ADD", "bridge", &id, &pod, &conf).run(), "ADD").elapsed);
    contender.del.push(well(contender.call("DEL", "bridge", &id, &pod, &conf).run(), "DEL").elapsed);
    well(contender.call("ADD", "bridge", &id, &pod, &conf).run(), "ADD");
    pod.run(|| kernel::edit::delete("eth0"));
    let run = contender.call("DEL", "bridge", &id, &pod, &conf).run();
    contender.del_gone.push(well(run, "DEL of a pod without its link").elapsed);
    noop
}

/// bridge, tuning and portmap one after the other, as a runtime calls them; the sum of the three processes.
fn chain(host: &Sandbox, contender: &mut Contender, round: usize) {
    let id = format!("chain-{round}");
    let pod = host.pod(&format!("{}-{id}", contender.network));
    let plugins = [
        ("bridge", contender.conf()),
        ("tuning", json!({"sysctl": {"net.ipv4.ip_unprivileged_port_start": "1000"}})),
        (
            "portmap",
            json!({"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}}),
        ),
    ];
    let (mut total, mut previous) = (Duration::ZERO, Value::Null);
    let full = |plugin: &str, conf: &Value, previous: &Value| {
        let mut conf = conf.clone();
        conf["cniVersion"] = "1.0.0".into();
        conf["name"] = contender.network.into();
        conf["type"] = plugin.into();
        if !previous.is_null() {
            conf["prevResult"] = previous.clone();
        }
        conf
    };
    for (plugin, conf) in &plugins {
        let conf = full(plugin, conf, &previous);
        let run = well(contender.call("ADD", plugin, &id, &pod, &conf).run(), plugin);
        total += run.elapsed;
        previous = result(&run);
    }
    for (plugin, conf) in plugins.iter().rev() {
        well(contender.call("DEL", plugin, &id, &pod, &full(plugin, conf, &previous)).run(), plugin);
    }
    contender.chain.push(total);
}

/// The middle one, in milliseconds.
pub(crate) fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, |t| t.as_secs_f64() * 1e3)
}

impl Figures {
    fn forget(&mut self) {
        for times in [&mut self.noop, &mut self.floor_add, &mut self.floor_del] {
            times.clear();
        }
        for contender in &mut self.contenders {
            for times in [
                &mut contender.add,
                &mut contender.del,
                &mut contender.chain,
                &mut contender.version_call,
                &mut contender.del_gone,
            ] {
                times.clear();
            }
        }
    }

    fn print(&self) -> bool {
        println!("medians of {} interleaved runs, milliseconds, whole process", self.runs);
        let (noop, add, del) = (median(&self.noop), median(&self.floor_add), median(&self.floor_del));
        println!("{:<10} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "VERSION", "ADD", "DEL", "link gone", "chain ADD");
        println!("{:<10} {noop:>9.3} {:>9} {:>9} {:>9} {:>9}", "no-op", "-", "-", "-", "-");
        println!("{:<10} {:>9} {add:>9.3} {del:>9.3} {:>9} {:>9}", "floor", "-", "-", "-");
        for c in &self.contenders {
            let times = [&c.version_call, &c.add, &c.del, &c.del_gone, &c.chain].map(|t| median(t));
            println!(
                "{:<10} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.3}  {}",
                c.label, times[0], times[1], times[2], times[3], times[4], c.version
            );
        }
        println!("\nbridge + host-local ADD, one traced run");
        for c in &self.contenders {
            let Some(seen) = &c.inspected else { continue };
            println!(
                "{:<10} resident {} KiB (own {} KiB, stack {} KiB), {} page faults, {} system calls, {} threads and children",
                c.label,
                seen.rss_kib,
                seen.private_kib,
                seen.stack_kib,
                seen.faults,
                seen.call_count(),
                seen.started
            );
            let mut calls: Vec<(&String, &usize)> = seen.calls.iter().collect();
            calls.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
            let named: Vec<String> = calls.iter().map(|(name, count)| format!("{name} {count}")).collect();
            println!("{:<10} {}", "", named.join(", "));
        }
        self.compare(noop, add)
    }

    /// The figures to reach; true if all are.
    fn compare(&self, noop: f64, floor_add: f64) -> bool {
        let budgets = Budgets::read();
        let mut well = self.runs >= 50;
        let Some(ours) = self.contenders.iter().find(|c| c.network == "ours") else {
            return false;
        };
        let go = self.contenders.iter().find(|c| c.network == "go");
        if go.is_none() {
            println!("the Go plugins are not here (`tests/run bench` fetches them): nothing compared with them");
            well = false;
        }
        let mut line = |what: &str, value: f64, table: &str, key: &str, at_most: bool| {
            let budget = budgets.budget(table, key);
            let kept = if at_most { budget.allows(value) } else { value >= budget.limit };
            println!("{what:<44} {value:>9.2}  {}{}", budget.tell(value), if kept { "" } else { "  MISSED" });
            well &= kept;
        };
        println!();
        line("VERSION / no-op", median(&ours.version_call) / noop, "ratio", "version_to_noop_max", true);
        line("ADD / floor", median(&ours.add) / floor_add, "ratio", "add_to_floor_max", true);
        line(
            "DEL of a pod whose link is gone - no-op, ms",
            median(&ours.del_gone) - noop,
            "time",
            "del_outside_kernel_ms",
            true,
        );
        if let Some(go) = go {
            line("Go ADD / ADD", median(&go.add) / median(&ours.add), "ratio", "go_add_to_add_min", false);
            line("Go chain / chain", median(&go.chain) / median(&ours.chain), "ratio", "go_chain_to_chain_min", false);
        }
        #[expect(clippy::cast_precision_loss, reason = "KiB of a process")]
        let resident = ours.inspected.as_ref().map_or(f64::NAN, |i| i.rss_kib as f64);
        line("resident at exit of an ADD, KiB", resident, "memory", "add_rss_kib", true);
        well
    }
}
