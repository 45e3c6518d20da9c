//! `--help`.

use crate::terminal;

#[cfg(feature = "operator")]
const MAIN: &str = "picocni - CNI plugins and the runtime side that calls them, in one file

usage: picocni add|check|del|gc|status NETWORK NETNS [-i IFNAME]
       picocni exec NETNS -- COMMAND [ARGUMENT ...]
       picocni reconcile [--dry-run] [NETWORK]
       picocni install [--uninstall] [--dry-run] [--backend=nftables] DIR
       picocni demo [--shell]
       picocni PLUGIN                 (as a runtime calls it; also by a link of that name)
       picocni help COMMAND | version

NETNS is a path, pid:N (a process's namespace), or new:NAME (made and pinned in
/run/netns by add, removed by del), so that this needs no other tool:
       picocni add NET new:web && picocni exec web -- ip addr && picocni del NET new:web

environment of add, check, del, gc and status (as cnitool has it):
  NETCONFPATH  where *.conflist and *.conf are   (/etc/cni/net.d)
  CNI_PATH     where foreign plugins are          (/opt/cni/bin; built-in ones need no file)
  CNI_IFNAME   interface in the namespace        (eth0; -i wins)
  CNI_ARGS     K=V;K=V for the plugins
  PICOCNI_CACHE_DIR  where results/ is kept     (/var/lib/cni)
  CAP_ARGS     capability arguments, a JSON object:
               {\"portMappings\":[{\"hostPort\":8080,\"containerPort\":80,\"protocol\":\"tcp\"}]}

plugins: bandwidth bridge dummy firewall flannel host-device host-local ipvlan
         loopback macvlan policy portmap ptp sbr static tap tuning vlan vrf
         picocni (runs a list of plugins in one process)
";

#[cfg(not(feature = "operator"))]
const MAIN: &str = "picocni - CNI plugins in one file

usage: picocni install [--uninstall] [--dry-run] [--backend=nftables] DIR
       picocni PLUGIN                 (as a runtime calls it; also by a link of that name)
       picocni help install | version

This build has no runtime side: it leaves out the feature \"operator\".
";

#[cfg(feature = "operator")]
const DEMO: &str = "usage: picocni demo [--shell]

Wires two pods to one bridge in a private namespace of this kernel, publishes a
port, talks through it, takes everything down and checks that nothing is left.
Needs root, or a kernel that lets users make namespaces. The host is not changed.

  --shell   stop inside a wired pod, with a list of things to try
";

const INSTALL: &str = "usage: picocni install [--uninstall] [--dry-run] [--backend=nftables] DIR

Makes a link to this program in DIR for every plugin. A file that is there and is
no such link is left alone and named; then nothing is changed.

  --uninstall  the way back: published ports, masquerade and source guards of the
               pods that run are written in the form of the reference plugins,
               which delete them; then our rules, records and links in DIR go. What
               they have no form for is named, and nothing is changed
  --backend=nftables   their configs say \"backend\" and \"ipMasqBackend\":
               \"nftables\". Where iptables is installed this must be said: by
               default they would use it, and leave these rules behind
  --dry-run    only say what would be done
";

#[cfg(feature = "operator")]
const EXEC: &str = "usage: picocni exec NETNS -- COMMAND [ARGUMENT ...]

Runs COMMAND in a network namespace: NETNS is a path, pid:N, or a NAME that
`picocni add NETWORK new:NAME` made.
";

#[cfg(feature = "operator")]
const RECONCILE: &str = "usage: picocni reconcile [--dry-run] [NETWORK]

A flush or reload of the packet filter takes port maps, masquerade and policies
of running pods. This goes over the cached results of live attachments (those of
containerd, podman and picocni add; PICOCNI_CACHE_DIR/results) and puts back what
is missing. What is right is not touched. Plugins that are not built in are not
asked.

  --dry-run   only say what is missing

Exit code 1 if something could not be put back.
";

/// Prints the help of a command; exit code 0.
pub(crate) fn print(command: &str) -> i32 {
    let text = match command {
        #[cfg(feature = "operator")]
        "demo" => DEMO,
        #[cfg(feature = "operator")]
        "reconcile" => RECONCILE,
        "install" => INSTALL,
        #[cfg(feature = "operator")]
        "exec" => EXEC,
        _ => MAIN,
    };
    terminal::out(&[&text]);
    0
}

/// Prints the version; exit code 0.
pub(crate) fn version() -> i32 {
    terminal::out(&[&"picocni ", &env!("CARGO_PKG_VERSION"), &", CNI spec 0.1.0 to 1.1.0\n"]);
    0
}

/// An unknown command; exit code 2.
pub(crate) fn unknown(word: &str) -> i32 {
    terminal::error(&[&"picocni: unknown command \"", &word, &"\"; see picocni --help\n"]);
    2
}
