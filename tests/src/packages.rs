//! Debian packages the full run needs: the Go reference plugins from sid, `nft` and `iptables` from bookworm. They are
//! downloaded with an apt configuration of their own and unpacked below the target directory; nothing is installed.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::paths;

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
            // a second opinion on what a process asks of the kernel
            "strace",
            "libunwind8",
            "liblzma5",
        ],
    ),
];

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Whether all packages are unpacked.
pub fn are_here() -> bool {
    fs::read_to_string(stamp()).is_ok_and(|text| text == wanted_text())
}

/// The version of a fetched package, from the name of its file.
pub fn version(suite: &str, package: &str) -> Option<String> {
    let debs = paths::target().join("packages/apt/debs").join(suite);
    let names = fs::read_dir(debs).ok()?.filter_map(|e| e.ok()?.file_name().into_string().ok());
    let mut versions =
        names.filter_map(|name| Some(name.strip_prefix(package)?.strip_prefix('_')?.split('_').next()?.to_owned()));
    versions.next()
}

/// Downloads and unpacks what is missing. Quick if nothing is.
///
/// # Errors
/// When apt or dpkg-deb fail; the text says which and what they printed.
pub fn fetch() -> Result<(), String> {
    if are_here() {
        return Ok(());
    }
    let apt = Apt::set_up().map_err(|e| format!("private apt configuration: {e}"))?;
    apt.run(&["update"], &apt.home)?;
    for (suite, names) in WANTED {
        let debs = apt.home.join("debs").join(suite);
        let root = paths::packages(suite);
        for dir in [&debs, &root] {
            let _ = fs::remove_dir_all(dir);
            fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        }
        let wanted: Vec<String> = names.iter().map(|name| format!("{name}/{suite}")).collect();
        let mut arguments = vec!["download"];
        arguments.extend(wanted.iter().map(String::as_str));
        apt.run(&arguments, &debs)?;
        unpack(&debs, &root)?;
    }
    default_iptables().map_err(|e| format!("iptables names: {e}"))?;
    fs::write(stamp(), wanted_text()).map_err(|e| format!("{}: {e}", stamp().display()))
}

fn stamp() -> PathBuf {
    paths::target().join("packages/unpacked")
}

fn wanted_text() -> String {
    WANTED.iter().map(|(suite, names)| format!("{suite}: {}\n", names.join(" "))).collect()
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

    fn run(&self, arguments: &[&str], directory: &Path) -> Result<(), String> {
        let mut command = Command::new("apt-get");
        run(command.arg("-q").args(arguments).current_dir(directory).env("APT_CONFIG", self.home.join("etc/apt.conf")))
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{command:?} failed:\n{said}"))
}
