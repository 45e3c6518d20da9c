//! iptables as a host has it: one of two flavours under the same names, or none.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

/// Which way into the kernel iptables uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// nf_tables.
    Nft,
    /// Tables of its own.
    Legacy,
}

/// Both.
pub const FLAVOURS: [Flavour; 2] = [Flavour::Nft, Flavour::Legacy];

impl Flavour {
    /// Its program, which acts by the name it is called under.
    const fn program(self) -> &'static str {
        match self {
            Self::Nft => "/usr/sbin/xtables-nft-multi",
            Self::Legacy => "/usr/sbin/xtables-legacy-multi",
        }
    }

    /// Whether its program is there, and the kernel knows both tables.
    pub fn works(self) -> bool {
        let works = |table: &str| {
            let output = Command::new(self.program()).args(["iptables-save", "-t", table]).output();
            output.is_ok_and(|output| output.status.success())
        };
        works("nat") && works("filter")
    }

    /// Makes a directory with the six names, for the front of PATH.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn install(self) -> &'static str {
        let dir = match self {
            Self::Nft => "/run/iptables-nft",
            Self::Legacy => "/run/iptables-legacy",
        };
        fs::create_dir_all(dir).expect("a directory of the sandbox");
        for family in ["iptables", "ip6tables"] {
            for suffix in ["", "-save", "-restore"] {
                let link = Path::new(dir).join(format!("{family}{suffix}"));
                if !link.is_symlink() {
                    symlink(self.program(), link).expect("a link");
                }
            }
        }
        dir
    }

    /// PATH with this flavour first.
    pub fn path(self) -> String {
        format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.install())
    }

    /// Runs `iptables` or `ip6tables` with words, which must succeed.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(self, v6: bool, words: &[&str]) {
        let name = if v6 { "ip6tables" } else { "iptables" };
        let output = Command::new(self.program()).arg(name).args(words).output().expect("iptables");
        assert!(output.status.success(), "{name} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a transaction.
    ///
    /// # Panics
    /// When it fails.
    pub fn restore(self, v6: bool, text: &str) {
        let name = if v6 { "ip6tables-restore" } else { "iptables-restore" };
        let mut command = Command::new(self.program());
        let mut child = command.args([name, "--noflush"]).stdin(Stdio::piped()).spawn().expect("iptables-restore");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("the text");
        assert!(child.wait().expect("our child").success(), "{name}");
    }

    /// What `iptables-save` prints of a table: chains and rules, without dates and counters.
    ///
    /// # Panics
    /// When it fails.
    pub fn saved(self, v6: bool, table: &str) -> Vec<String> {
        let name = if v6 { "ip6tables-save" } else { "iptables-save" };
        let output = Command::new(self.program()).args([name, "-t", table]).output().expect("iptables-save");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let kept = text.lines().filter(|line| line.starts_with(':') || line.starts_with("-A"));
        let plain =
            |line: &str| if line.starts_with(':') { line.split(" [").next() } else { None }.unwrap_or(line).to_owned();
        kept.map(plain).collect()
    }
}
