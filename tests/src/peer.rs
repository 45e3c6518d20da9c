//! Whose plugins a test runs: picocni's, or the Go reference plugins. Both speak the same protocol, so the tests run
//! against either; running them against the Go plugins is what shows that the tests ask for what clients rely on.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::{packages, paths};

/// The plugin names that both picocni's binary and the Go plugins answer to today.
pub const PLUGINS: [&str; 17] = [
    "bandwidth",
    "bridge",
    "dummy",
    "firewall",
    "host-device",
    "host-local",
    "ipvlan",
    "loopback",
    "macvlan",
    "portmap",
    "ptp",
    "sbr",
    "static",
    "tap",
    "tuning",
    "vlan",
    "vrf",
];

/// Plugins of picocni that the package of the Go plugins does not have.
const ELSEWHERE: [&str; 2] = ["flannel", "policy"];

/// The plugin names that the plugins under test answer to.
pub fn plugins() -> Vec<&'static str> {
    let elsewhere = ELSEWHERE.iter().filter(|_| !Peer::under_test().is_go());
    PLUGINS.iter().chain(elsewhere).copied().collect()
}

/// A set of CNI plugins on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    /// The multi-call binary under test.
    Picocni {
        /// The binary.
        binary: PathBuf,
    },
    /// The Go reference plugins, unpacked from Debian sid.
    Go {
        /// Their directory.
        dir: PathBuf,
    },
    /// Plugins of whoever made them: every program in a directory.
    Directory {
        /// The directory.
        dir: PathBuf,
    },
}

impl Peer {
    /// What `PICOCNI_PEER` asks for: `go`, or else picocni.
    ///
    /// # Panics
    /// When it is not there; the message says how to get it.
    pub fn under_test() -> Self {
        match env::var("PICOCNI_PEER").as_deref() {
            Ok("go") => Self::go().expect("PICOCNI_PEER=go needs the packages: run `tests/run` once"),
            _ => Self::picocni(),
        }
    }

    /// Our binary.
    ///
    /// # Panics
    /// When it has not been built.
    pub fn picocni() -> Self {
        let binary = paths::binary();
        assert!(binary.is_file(), "{} is missing: run `cargo build --release` in the root", binary.display());
        Self::Picocni { binary }
    }

    /// The Go plugins, if they have been fetched.
    pub fn go() -> Option<Self> {
        let dir = paths::packages("sid").join("usr/lib/cni");
        dir.join("bridge").is_file().then_some(Self::Go { dir })
    }

    /// The Go plugins of bookworm, 1.1.1, if they have been fetched.
    pub fn old_go() -> Option<Self> {
        let dir = paths::packages("bookworm").join("usr/lib/cni");
        dir.join("bridge").is_file().then_some(Self::Go { dir })
    }

    /// Whether these are the Go plugins: for the places where picocni differs on purpose.
    pub fn is_go(&self) -> bool {
        matches!(self, Self::Go { .. })
    }

    /// Name and version, for tables.
    pub fn version(&self) -> String {
        match self {
            // With no CNI_COMMAND a plugin says on stderr what it is: `CNI <plugin> plugin <version>`.
            Self::Picocni { binary } => {
                let about = Command::new(binary).arg0("bridge").env_clear().output();
                let about = about.map(|o| String::from_utf8_lossy(&o.stderr).into_owned()).unwrap_or_default();
                let line = about.lines().next().unwrap_or("version unknown");
                format!("picocni ({})", line.trim_start_matches("CNI bridge plugin "))
            }
            // Debian builds these without a version in them.
            Self::Go { .. } => {
                let version = packages::version("sid", "containernetworking-plugins");
                format!("Go reference plugins {}", version.as_deref().unwrap_or("of unknown version"))
            }
            Self::Directory { dir } => format!("plugins of {}", dir.display()),
        }
    }

    /// The plugins' names, sorted. Of a directory: its programs, without one that others are links to.
    ///
    /// # Panics
    /// When the directory cannot be read.
    pub fn names(&self) -> Vec<String> {
        let Self::Directory { dir } = self else {
            let elsewhere = ELSEWHERE.iter().filter(|_| !self.is_go());
            return PLUGINS.iter().chain(elsewhere).map(|name| (*name).to_owned()).collect();
        };
        let entries = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let paths: Vec<PathBuf> = entries.map(|e| e.expect("a directory entry").path()).collect();
        let behind_links: Vec<PathBuf> =
            paths.iter().filter(|p| p.is_symlink()).filter_map(|p| p.canonicalize().ok()).collect();
        let is_plugin = |path: &&PathBuf| {
            let program = fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
            program && (path.is_symlink() || path.canonicalize().is_ok_and(|p| !behind_links.contains(&p)))
        };
        let name = |path: &PathBuf| path.file_name().map(|n| n.to_string_lossy().into_owned());
        let mut names: Vec<String> = paths.iter().filter(is_plugin).filter_map(name).collect();
        names.sort();
        names
    }

    /// The directories the plugins' files live in.
    pub fn directories(&self) -> Vec<PathBuf> {
        match self {
            Self::Picocni { binary } => binary.parent().map(Path::to_path_buf).into_iter().collect(),
            Self::Go { dir } | Self::Directory { dir } => vec![dir.clone()],
        }
    }

    /// Makes `into` a CNI binary directory with copies of these plugins, written as a package manager writes them: the
    /// linker leaves its output in smaller pieces of page cache, which makes the first calls of a process slower.
    ///
    /// # Panics
    /// When `into` cannot be written.
    pub fn install_into(&self, into: &Path) {
        match self {
            Self::Picocni { binary } => {
                install(binary, &into.join("picocni"));
                for name in PLUGINS {
                    symlink("picocni", into.join(name)).expect("a link in the plugin directory");
                }
            }
            Self::Go { dir } | Self::Directory { dir } => {
                self.names().iter().for_each(|name| install(&dir.join(name), &into.join(name)));
            }
        }
    }

    /// Makes `into` a CNI binary directory of these plugins.
    ///
    /// # Panics
    /// When `into` cannot be written.
    pub fn link_into(&self, into: &Path) {
        for name in self.names() {
            let target = match self {
                Self::Picocni { binary } => binary.clone(),
                Self::Go { dir } | Self::Directory { dir } => dir.join(&name),
            };
            symlink(target, into.join(name)).expect("a link in the plugin directory");
        }
    }
}

/// Copies a program by ordinary writes.
///
/// # Panics
/// When it cannot be read or written.
pub fn install(program: &Path, to: &Path) {
    let _ = fs::remove_file(to);
    fs::write(to, fs::read(program).expect("a program")).expect("a copy of it");
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("permissions");
}
