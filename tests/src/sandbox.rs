//! A private "host" for one test: a thread with a mount namespace and a network namespace of its own.
//!
//! Namespaces belong to threads, so tests run in parallel in one process and see neither each other nor the machine:
//! bridges, leases and rules made here vanish with the thread. Inside, `/run` is empty, `/etc` and `/var/lib` are
//! copies that can be written, and unpacked Debian packages (if fetched) lie over `/usr`.

use std::ffi::CString;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::kernel;
use crate::netns::Netns;
use crate::paths;
use crate::peer::Peer;
use crate::plugin::Call;

/// The private host a test runs on. Only [`run`] makes one.
#[derive(Debug)]
pub struct Sandbox {
    peer: Peer,
    plugin_dir: PathBuf,
}

/// Runs `body` on a private host with the plugins under test, and hands back what it returns.
///
/// # Panics
/// When the namespaces cannot be made (no root and no user namespace), or when `body` panics.
pub fn run<T: Send>(body: impl FnOnce(&Sandbox) -> T + Send) -> T {
    run_with(Peer::under_test(), body)
}

/// As [`run`], with the plugins of `peer`.
///
/// # Panics
/// As [`run`].
pub fn run_with<T: Send>(peer: Peer, body: impl FnOnce(&Sandbox) -> T + Send) -> T {
    let name = std::thread::current().name().unwrap_or("sandbox").to_owned();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name);
        let handle = thread.spawn_scoped(scope, || body(&Sandbox::enter(peer))).expect("a thread can be started");
        handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Sandbox {
    fn enter(peer: Peer) -> Self {
        // SAFETY: the file table is not unshared; namespaces are this thread's own affair.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::NEWNET) }
            .expect("a private mount and network namespace (needs root, or `unshare -Ur`)");
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).expect("private mounts");
        let hidden: Vec<PathBuf> = peer.directories().into_iter().filter(|dir| dir.starts_with("/run")).collect();
        assert!(hidden.is_empty(), "the sandbox hides binaries below /run: {hidden:?}");
        mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), Some(c"mode=755")).expect("a private /run");
        for (name, target) in [("etc", "/etc"), ("lib", "/var/lib")] {
            writable_copy(name, target);
        }
        overlay_packages();
        // The view of /sys belongs to the network namespace it was mounted from.
        let _ = mount("sysfs", "/sys", "sysfs", MountFlags::empty(), None::<&std::ffi::CStr>);
        for dir in ["/run/netns", "/run/cni", "/run/cni-plugins"] {
            fs::create_dir_all(dir).expect("directories of the sandbox");
        }
        let plugin_dir = PathBuf::from("/run/cni-plugins");
        peer.link_into(&plugin_dir);
        kernel::edit::up("lo");
        Self { peer, plugin_dir }
    }

    /// Whose plugins run here.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// The CNI binary directory; a test may add plugins of its own to it.
    pub fn plugin_dir(&self) -> &Path {
        &self.plugin_dir
    }

    /// A pod's network namespace, pinned at `/run/netns/<name>`.
    pub fn pod(&self, name: &str) -> Netns {
        Netns::create(Path::new("/run/netns").join(name))
    }

    /// Everything a plugin could change on this host, one line each: kernel objects, forwarding switches, and the
    /// files below the CNI directories with their content.
    pub fn state(&self) -> Vec<String> {
        let mut lines = kernel::Snapshot::here().lines();
        let switches = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
        // A kernel may have no IPv6, or not yet.
        for key in switches.iter().filter(|key| Path::new("/proc/sys").join(key).exists()) {
            let key = key.replace('/', ".");
            lines.push(format!("sysctl {key} = {}", kernel::sysctl(&key)));
        }
        for dir in ["/var/lib/cni", "/run/cni", "/etc/cni"] {
            list_files(Path::new(dir), &mut lines);
        }
        if let Some(rules) = nft_ruleset() {
            lines.extend(rules.lines().map(|l| format!("nft {l}")));
        }
        lines
    }

    /// A call of `plugin` with `command`, with a container ID, an interface name and `CNI_PATH` already set.
    pub fn call(&self, command: &str, plugin: &str) -> Call {
        Call::new(&self.plugin_dir, command, plugin)
    }
}

fn list_files(dir: &Path, lines: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("a directory entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            list_files(&path, lines);
        } else {
            let content = fs::read(&path).unwrap_or_default();
            lines.push(format!("file {} {:?}", path.display(), String::from_utf8_lossy(&content)));
        }
    }
}

/// What `nft list ruleset` prints, if `nft` is there (the packages bring it).
pub fn nft_ruleset() -> Option<String> {
    let output = std::process::Command::new("nft").args(["list", "ruleset"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Puts a writable overlay over `target`, so that a plugin's files never reach the machine.
fn writable_copy(name: &str, target: &str) {
    let base = Path::new("/run/.sandbox").join(name);
    let (upper, work) = (base.join("upper"), base.join("work"));
    for dir in [&upper, &work] {
        fs::create_dir_all(dir).expect("overlay directories");
    }
    overlay(target, &format!("lowerdir={target},upperdir={},workdir={}", upper.display(), work.display()));
}

/// Puts the unpacked tools (`nft`, `iptables`, …) where programs look for them.
fn overlay_packages() {
    let unpacked = paths::packages("bookworm").join("usr");
    if unpacked.join("sbin").is_dir() {
        overlay("/usr", &format!("lowerdir={}:/usr", unpacked.display()));
    }
}

/// Puts other unpacked packages there too.
///
/// # Panics
/// When they are not there.
pub fn overlay_usr(root: &Path) {
    overlay("/usr", &format!("lowerdir={}:/usr", root.join("usr").display()));
}

fn overlay(target: &str, options: &str) {
    let options = CString::new(options).expect("paths without NUL");
    mount("overlay", target, "overlay", MountFlags::empty(), Some(options.as_c_str()))
        .unwrap_or_else(|e| panic!("overlay on {target}: {e}"));
}

/// Makes `file` show the content of `source` inside the sandbox.
///
/// # Panics
/// When either does not exist.
pub fn bind(source: &Path, file: &Path) {
    mount_bind(source, file).unwrap_or_else(|e| panic!("bind {} on {}: {e}", source.display(), file.display()));
}

/// Puts an empty file system over a directory of this sandbox.
///
/// # Panics
/// When the kernel refuses.
pub fn hide(dir: &str) {
    mount("tmpfs", dir, "tmpfs", MountFlags::empty(), Some(c"mode=755")).expect("an empty file system");
}

/// Mounts the view of /sys that the calling thread's network namespace has.
///
/// # Panics
/// When the kernel refuses.
pub fn mount_sys(at: &Path) {
    mount("sysfs", at, "sysfs", MountFlags::empty(), None::<&std::ffi::CStr>).expect("a view of /sys");
}

/// Takes a mount away.
///
/// # Panics
/// When the kernel refuses.
pub fn unmount(at: &Path) {
    rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH).expect("the mount goes");
}
