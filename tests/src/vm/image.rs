//! The initramfs: what the guest finds at which path. Everything the tests look for lies where it lies on the host, so
//! that paths compiled into them hold.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::cpio::Archive;
use super::libraries;
use super::programs::Program;
use crate::paths;

const INIT: &str = include_str!("init.sh");

/// Programs of the packages that tests and their scripts start, by path in the guest and in the packages.
const TOOLS: [(&str, &str); 12] = [
    ("bin/sh", "bin/dash"),
    ("bin/cat", "bin/cat"),
    ("bin/cp", "bin/cp"),
    ("bin/chmod", "bin/chmod"),
    ("bin/date", "bin/date"),
    ("bin/grep", "bin/grep"),
    ("bin/ls", "bin/ls"),
    ("bin/mkdir", "bin/mkdir"),
    ("bin/rm", "bin/rm"),
    ("bin/sleep", "bin/sleep"),
    ("usr/bin/env", "usr/bin/env"),
    ("usr/bin/tr", "usr/bin/tr"),
];

/// Programs that the sandbox lays over /usr itself; only their libraries are wanted.
const OVERLAID: [&str; 3] = ["usr/sbin/nft", "usr/sbin/xtables-nft-multi", "usr/sbin/xtables-legacy-multi"];

/// The part of the kernel's modules that has to do with networks, and what that needs.
const MODULES: [&str; 23] = [
    "arch/x86/crypto",
    "crypto",
    "drivers/net/bonding",
    "drivers/net/dummy.ko",
    "drivers/net/ifb.ko",
    "drivers/net/ipvlan",
    "drivers/net/macvlan.ko",
    "drivers/net/macvtap.ko",
    "drivers/net/tap.ko",
    "drivers/net/tun.ko",
    "drivers/net/veth.ko",
    "drivers/net/vrf.ko",
    "fs/overlayfs",
    "lib",
    "net/802",
    "net/8021q",
    "net/bridge",
    "net/core",
    "net/ipv4",
    "net/ipv6",
    "net/llc",
    "net/netfilter",
    "net/sched",
];

/// The kernel and the initramfs of a guest.
#[derive(Debug, Clone)]
pub struct Image {
    /// The kernel's file.
    pub kernel: PathBuf,
    /// The archives.
    pub initramfs: PathBuf,
}

/// Writes the initramfs of a guest that runs these programs with these arguments, one after the other.
///
/// # Errors
/// When something is missing or cannot be written.
pub fn write(programs: &[Program], arguments: &[String], limit: Duration) -> io::Result<Image> {
    let release = release()?;
    let system = system(&release)?;
    let home = paths::target_of("vm");
    let initramfs = home.join("initramfs.cpio");
    // Programs are the larger part of the time, so the system is copied, not linked to.
    fs::copy(&system, &initramfs)?;
    let mut archive = Archive::new(BufWriter::new(File::options().append(true).open(&initramfs)?));
    under_test(&mut archive, programs, arguments, limit)?;
    archive.finish()?;
    let kernel = paths::packages(paths::MACHINE).join("boot").join(format!("vmlinuz-{release}"));
    Ok(Image { kernel, initramfs })
}

/// The kernel's version, as its directory of modules is named.
fn release() -> io::Result<String> {
    let directory = paths::packages(paths::MACHINE).join("lib/modules");
    let entry = fs::read_dir(&directory)?.next().ok_or_else(|| io::Error::other("the packages have no kernel"))?;
    Ok(entry?.file_name().to_string_lossy().into_owned())
}

/// The archive with all that does not change from run to run, made only if what goes into it has changed.
fn system(release: &str) -> io::Result<PathBuf> {
    let home = paths::target_of("vm");
    fs::create_dir_all(&home)?;
    let mut key = DefaultHasher::new();
    // This very file says what is in it.
    (release, include_str!("image.rs"), paths::root(), fs::read_to_string(paths::packages_stamp())?).hash(&mut key);
    let name = format!("system-{:016x}.cpio", key.finish());
    let archive = home.join(&name);
    if archive.is_file() {
        return Ok(archive);
    }
    for entry in fs::read_dir(&home)? {
        let old = entry?.path();
        if old.file_name().is_some_and(|n| n.to_string_lossy().starts_with("system-")) {
            fs::remove_file(old)?;
        }
    }
    let unfinished = home.join("unfinished.cpio");
    let mut writing = Archive::new(BufWriter::new(File::create(&unfinished)?));
    directories(&mut writing)?;
    modules(&mut writing, release, &home)?;
    tools(&mut writing)?;
    packages(&mut writing)?;
    writing.finish()?;
    fs::rename(unfinished, &archive)?;
    Ok(archive)
}

fn directories<W: Write>(archive: &mut Archive<W>) -> io::Result<()> {
    for directory in ["usr/bin", "usr/sbin", "usr/lib/x86_64-linux-gnu", "usr/lib64", "var/lib", "etc", "root"] {
        archive.directory(directory)?;
    }
    for directory in ["bin", "sbin", "lib", "lib64"] {
        archive.link(directory, Path::new("usr").join(directory))?;
    }
    // Plugins open /var/run/netns/NAME.
    archive.link("var/run", "/run")?;
    for directory in ["proc", "sys", "dev", "run", "tmp"] {
        archive.directory(directory)?;
    }
    archive.device("dev/console", (5, 1))?;
    archive.device("dev/null", (1, 3))?;
    archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n")?;
    archive.file("etc/group", 0o644, b"root:x:0:\n")?;
    archive.file("etc/protocols", 0o644, b"icmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n")
}

/// The modules, with the index that the kernel's loader of modules reads.
fn modules<W: Write>(archive: &mut Archive<W>, release: &str, home: &Path) -> io::Result<()> {
    let machine = paths::packages(paths::MACHINE);
    let busybox = machine.join("bin/busybox");
    let from = machine.join("lib/modules").join(release);
    let staging = home.join("modules");
    let _ = fs::remove_dir_all(&staging);
    let to = staging.join("lib/modules").join(release);
    fs::create_dir_all(&to)?;
    for index in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        fs::copy(from.join(index), to.join(index))?;
    }
    for part in MODULES {
        copy(&from.join("kernel").join(part), &to.join("kernel").join(part))?;
    }
    let made = Command::new(&busybox).args(["depmod", "-b"]).arg(&staging).arg(release).status()?;
    if !made.success() {
        return Err(io::Error::other(format!("depmod ended with {made}")));
    }
    archive.tree(&to, &Path::new("usr/lib/modules").join(release))?;
    fs::remove_dir_all(&staging)?;
    archive.tree(&busybox, Path::new("usr/bin/busybox"))?;
    archive.link("usr/sbin/modprobe", "/bin/busybox")
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        return fs::copy(from, to).map(drop);
    }
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        copy(&from.join(&name), &to.join(&name))?;
    }
    Ok(())
}

fn tools<W: Write>(archive: &mut Archive<W>) -> io::Result<()> {
    let (machine, tools) = (paths::packages(paths::MACHINE), paths::packages("bookworm"));
    let mut wanted = Vec::new();
    for (at, from) in TOOLS {
        let at = if at.starts_with("usr/") { PathBuf::from(at) } else { Path::new("usr").join(at) };
        archive.file(at, 0o755, &fs::read(machine.join(from))?)?;
        wanted.extend(libraries::of_the_packages(&machine.join(from))?);
    }
    for from in OVERLAID {
        wanted.extend(libraries::of_the_packages(&tools.join(from))?);
    }
    add_libraries(archive, wanted)
}

/// The host's C library and loader, in place of the packages': they are not older than what the tests were linked with.
fn libraries_of<W: Write>(archive: &mut Archive<W>, programs: &[Program]) -> io::Result<()> {
    let loader = fs::canonicalize(libraries::LOADER)?;
    archive.file(Path::new("usr").join(&libraries::LOADER[1..]), 0o755, &fs::read(loader)?)?;
    for program in programs {
        add_libraries(archive, libraries::of_the_host(&program.path)?)?;
    }
    Ok(())
}

/// The first one of a name stays.
fn add_libraries<W: Write>(archive: &mut Archive<W>, files: Vec<PathBuf>) -> io::Result<()> {
    for file in files {
        let name = file.file_name().ok_or_else(|| io::Error::other("a library without a name"))?;
        let at = Path::new("usr/lib/x86_64-linux-gnu").join(name);
        if !archive.has(&at) {
            archive.file(at, 0o755, &fs::read(&file)?)?;
        }
    }
    Ok(())
}

/// What the tests themselves look for below the directory of packages.
fn packages<W: Write>(archive: &mut Archive<W>) -> io::Result<()> {
    for (suite, part) in [("bookworm", "usr/sbin"), ("bookworm", "usr/lib"), ("sid", "usr/lib/cni")] {
        let at = paths::packages(suite).join(part);
        archive.tree(&at, &at)?;
    }
    Ok(())
}

/// What changes: the program, the tests, their files, and what is asked of them.
fn under_test<W: Write>(
    archive: &mut Archive<W>,
    programs: &[Program],
    arguments: &[String],
    limit: Duration,
) -> io::Result<()> {
    archive.file("init", 0o755, INIT.as_bytes())?;
    libraries_of(archive, programs)?;
    let binary = paths::binary();
    archive.tree(&fs::canonicalize(&binary)?, &binary)?;
    for part in ["tests/captures", "tests/budgets.toml"] {
        let at = paths::root().join(part);
        archive.tree(&at, &at)?;
    }
    let mut list = String::new();
    for program in programs {
        archive.file(Path::new("vm").join(&program.name), 0o755, &stripped(&program.path)?)?;
        list.push_str(&format!("{0} /vm/{0}\n", program.name));
    }
    archive.file("vm/programs", 0o644, list.as_bytes())?;
    let mut environment = String::new();
    let (target, directory) = (paths::target(), paths::root().join("tests"));
    let mut variables = vec![
        ("VMTEST", "1".to_owned()),
        ("LIMIT", limit.as_secs().to_string()),
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ("HOME", "/root".to_owned()),
        ("PICOCNI_BIN", binary.display().to_string()),
        ("PICOCNI_TARGET", target.display().to_string()),
        ("PICOCNI_SKIPS", "/vm/skipped".to_owned()),
    ];
    variables.extend(std::env::var("PICOCNI_PEER").ok().map(|peer| ("PICOCNI_PEER", peer)));
    for (name, value) in variables {
        environment.push_str(&format!("export {name}={}\n", quoted(&value)));
    }
    let arguments: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
    environment.push_str(&format!("cd {}\nset -- {}\n", quoted(&directory.to_string_lossy()), arguments.join(" ")));
    archive.file("vm/environment", 0o644, environment.as_bytes())
}

/// A program without its debug information, five sixths of it; with it where there is no `strip`.
fn stripped(program: &Path) -> io::Result<Vec<u8>> {
    let small = paths::target_of("vm").join("stripped");
    let mut strip = Command::new("strip");
    strip.args(["--strip-debug", "-o"]).arg(&small).arg(program).stderr(Stdio::null());
    let done = strip.status().is_ok_and(|status| status.success());
    let contents = fs::read(if done { &small } else { program })?;
    let _ = fs::remove_file(small);
    Ok(contents)
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
