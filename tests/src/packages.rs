//! Debian packages the full run needs, in three sets: for the host's tests the Go reference plugins from sid, `nft` and
//! `iptables` from bookworm; firewalld; for the virtual machine an emulator, a kernel and a busybox from bookworm. They are
//! downloaded with an apt configuration of their own and unpacked below the target directory; nothing is installed.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::paths;

/// Packages that are fetched together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Set {
    /// What the tests on the host use.
    Host,
    /// firewalld with what it needs of Python, beside the host's own Python; see [`crate::firewalld`].
    Firewalld,
    /// What the virtual machine is made of; see [`crate::vm`].
    Machine,
}

/// What is fetched, by suite. The plugins of sid need GLIBC_2.34, which bookworm has, so they run as they are.
const WANTED: [(&str, &[&str]); 2] = [
    ("sid", &["containernetworking-plugins"]),
    (
        "bookworm",
        &[
            // nft and what it links to
            "nftables",
            "libnftables1",
            "libnftnl11",
            "libmnl0",
            "libjansson4",
            "libxtables12",
            "libedit2",
            "libgmp10",
            "libbsd0",
            "libmd0",
            "libtinfo6",
            // iptables, which the Go plugins execute
            "iptables",
            "libip4tc2",
            "libip6tc2",
            "libnetfilter-conntrack3",
            "libnfnetlink0",
            // the Go plugins that Debian's stable release has, which nodes change over from
            "containernetworking-plugins",
            // a second opinion on what a process asks of the kernel
            "strace",
            "libunwind8",
            "liblzma5",
        ],
    ),
];

/// What firewalld needs on a host that has Python and a message bus; `nft` is among the host's.
const FIREWALLD: [&str; 6] =
    ["firewalld", "python3-firewall", "python3-dbus", "python3-gi", "python3-nftables", "python3-cap-ng"];
/// Libraries of these.
const FIREWALLD_LIBRARIES: [&str; 2] = ["gir1.2-glib-2.0", "libgirepository-1.0-1"];

/// The emulator, and the programs of the guest, with what they link to: apt works that out for a system that has nothing
/// installed, so that the set depends neither on the host's packages nor on its libc.
const PROGRAMS: [&str; 5] = ["qemu-system-x86", "busybox-static", "dash", "coreutils", "grep"];

/// What apt would install with the emulator for the sake of maintainer scripts or language names. Files of the first four
/// belong to groups that a user namespace of one user does not have.
const NOT_LINKED: [&str; 7] =
    ["passwd", "adduser", "libpam-modules", "libpam-modules-bin", "debconf", "libsemanage-common", "iso-codes"];

/// Names the current kernel. Of what apt would install beside it only the kernel is wanted.
const KERNEL: &str = "linux-image-cloud-amd64";

/// The suite the machine's packages come from.
const MACHINE_SUITE: &str = "bookworm";

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Whether all packages of a set are unpacked.
pub fn are_here(set: Set) -> bool {
    fs::read_to_string(set.stamp()).is_ok_and(|text| text == set.wanted_text())
}

/// The version of a fetched package, from the name of its file.
pub fn version(suite: &str, package: &str) -> Option<String> {
    let debs = paths::target().join("packages/apt/debs").join(suite);
    let names = fs::read_dir(debs).ok()?.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let mut versions =
        names.filter_map(|name| Some(name.strip_prefix(package)?.strip_prefix('_')?.split('_').next()?.to_owned()));
    versions.next()
}

/// Downloads and unpacks what is missing of these sets. Quick if nothing is.
///
/// # Errors
/// When apt or dpkg-deb fail; the text says which and what they printed.
pub fn fetch(sets: &[Set]) -> Result<(), String> {
    let missing: Vec<Set> = sets.iter().copied().filter(|set| !are_here(*set)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let apt = Apt::set_up().map_err(|e| format!("private apt configuration: {e}"))?;
    apt.run(&["update"], &apt.home)?;
    for set in missing {
        match set {
            Set::Host => fetch_host(&apt)?,
            Set::Firewalld => {
                let names = FIREWALLD.iter().chain(&FIREWALLD_LIBRARIES);
                let wanted: Vec<String> = names.map(|name| format!("{name}/bookworm")).collect();
                apt.download(paths::FIREWALLD, &wanted)?;
            }
            Set::Machine => fetch_machine(&apt)?,
        }
        let stamp = set.stamp();
        fs::write(&stamp, set.wanted_text()).map_err(|e| format!("{}: {e}", stamp.display()))?;
    }
    Ok(())
}

impl Set {
    /// The file that says what has been unpacked.
    fn stamp(self) -> PathBuf {
        match self {
            Self::Host => paths::target().join("packages/unpacked"),
            Self::Firewalld => paths::target().join("packages/unpacked-firewalld"),
            Self::Machine => paths::packages_stamp(),
        }
    }

    fn wanted_text(self) -> String {
        match self {
            Self::Host => WANTED.iter().map(|(suite, names)| format!("{suite}: {}\n", names.join(" "))).collect(),
            Self::Firewalld => format!("{} {}\n", FIREWALLD.join(" "), FIREWALLD_LIBRARIES.join(" ")),
            Self::Machine => format!("{MACHINE_SUITE}: {} {KERNEL}\n", PROGRAMS.join(" ")),
        }
    }
}

fn fetch_host(apt: &Apt) -> Result<(), String> {
    for (suite, names) in WANTED {
        let wanted: Vec<String> = names.iter().map(|name| format!("{name}/{suite}")).collect();
        apt.download(suite, &wanted)?;
    }
    default_iptables().map_err(|e| format!("iptables names: {e}"))
}

fn fetch_machine(apt: &Apt) -> Result<(), String> {
    let mut wanted = apt.closure(&PROGRAMS)?;
    wanted.retain(|package| !NOT_LINKED.iter().any(|name| package.split('=').next() == Some(name)));
    let kernel = apt.closure(&[KERNEL])?.into_iter().find(|package| package.starts_with("linux-image-6"));
    wanted.push(kernel.ok_or_else(|| format!("{KERNEL} names no kernel"))?);
    apt.download(paths::MACHINE, &wanted)
}

fn unpack(debs: &Path, root: &Path) -> Result<(), String> {
    for entry in fs::read_dir(debs).map_err(|e| e.to_string())? {
        let deb = entry.map_err(|e| e.to_string())?.path();
        let mut command = Command::new("dpkg-deb");
        run(command.arg("-x").arg(&deb).arg(root))?;
    }
    Ok(())
}

/// The names Debian's alternatives system would make on installation.
fn default_iptables() -> io::Result<()> {
    let sbin = paths::packages("bookworm").join("usr/sbin");
    for name in ["iptables", "ip6tables", "iptables-save", "ip6tables-save", "iptables-restore", "ip6tables-restore"] {
        let link = sbin.join(name);
        if !link.exists() {
            symlink("xtables-nft-multi", link)?;
        }
    }
    Ok(())
}

struct Apt {
    home: PathBuf,
}

impl Apt {
    fn set_up() -> io::Result<Self> {
        let home = paths::target().join("packages/apt");
        for dir in ["state/lists/partial", "cache/archives/partial", "etc/preferences.d", "etc/parts"] {
            fs::create_dir_all(home.join(dir))?;
        }
        let mirror = std::env::var("PICOCNI_DEBIAN_MIRROR").unwrap_or_else(|_| MIRROR.to_owned());
        let sources: String =
            WANTED.iter().map(|(suite, _)| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n")).collect();
        fs::write(home.join("etc/sources.list"), sources)?;
        fs::write(home.join("state/status"), "")?;
        let at = home.display();
        let configuration = format!(
            "Dir \"{at}/\";\nDir::State \"{at}/state\";\nDir::State::status \"{at}/state/status\";\n\
             Dir::Cache \"{at}/cache\";\nDir::Etc \"{at}/etc\";\nDir::Etc::sourceparts \"parts\";\n\
             Dir::Etc::parts \"parts\";\nAPT::Architecture \"amd64\";\nAPT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\nAcquire::Check-Valid-Until \"false\";\nAcquire::Check-Date \"false\";\n\
             Acquire::Retries \"3\";\n"
        );
        fs::write(home.join("etc/apt.conf"), configuration)?;
        Ok(Self { home })
    }

    /// Downloads packages, named as apt-get takes them, and unpacks them as the file system root `root`, in place of
    /// what is there.
    fn download(&self, root: &str, wanted: &[String]) -> Result<(), String> {
        let debs = self.home.join("debs").join(root);
        let root = paths::packages(root);
        for dir in [&debs, &root] {
            let _ = fs::remove_dir_all(dir);
            fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        let mut arguments = vec!["download"];
        arguments.extend(wanted.iter().map(String::as_str));
        self.run(&arguments, &debs)?;
        unpack(&debs, &root)
    }

    /// `NAME=VERSION` of these packages and all that they depend on, as for a system with nothing installed.
    fn closure(&self, names: &[&str]) -> Result<Vec<String>, String> {
        let mut arguments = vec!["--simulate", "--no-install-recommends", "-t", MACHINE_SUITE, "install"];
        arguments.extend(names);
        let planned = self.run(&arguments, &self.home)?;
        // `Inst NAME (VERSION SUITE [ARCHITECTURE])`
        let installed = planned.lines().filter_map(|line| line.strip_prefix("Inst ")?.split_once(" ("));
        Ok(installed.filter_map(|(name, rest)| Some(format!("{name}={}", rest.split(' ').next()?))).collect())
    }

    fn run(&self, arguments: &[&str], directory: &Path) -> Result<String, String> {
        let mut command = Command::new("apt-get");
        run(command.arg("-q").args(arguments).current_dir(directory).env("APT_CONFIG", self.home.join("etc/apt.conf")))
    }
}

/// Runs a command and hands back what it printed.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let said = format!("{printed}{}", String::from_utf8_lossy(&output.stderr));
    Err(format!("{command:?} failed:\n{said}"))
}
