//! The machine: qemu by software emulation, and what the guest says on its console.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::image::Image;
use super::libraries;
use crate::paths;
use crate::runner::Runner;

/// An emulated kernel dies before its first process once in a while. Tests are never run again.
const BOOTS: usize = 3;

/// How far a guest came.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// All programs ran; whether all of them succeeded.
    ByItself { well: bool },
    /// Before the first process.
    NotBooted,
    /// In the middle.
    Early,
    /// It took too long.
    AtTheLimit,
}

/// Boots the guest and hands what it says to `run`.
///
/// # Errors
/// When a program in the guest failed, or the guest did not get to its end.
pub fn run(run: &mut Runner, image: &Image, limit: Duration) -> Result<(), String> {
    for boot in 1..=BOOTS {
        match once(run, image, limit)? {
            Ended::ByItself { well: true } => return Ok(()),
            Ended::ByItself { well: false } => return Err("tests failed in the guest".to_owned()),
            Ended::Early => return Err("the guest died in the middle".to_owned()),
            Ended::AtTheLimit => return Err(format!("the guest took longer than {} s", limit.as_secs())),
            Ended::NotBooted => println!("the guest did not boot ({boot} of {BOOTS})"),
        }
    }
    Err("no guest booted".to_owned())
}

fn once(run: &mut Runner, image: &Image, limit: Duration) -> Result<Ended, String> {
    let started = Instant::now();
    let mut machine = machine(image)?.spawn().map(Machine).map_err(|e| format!("qemu: {e}"))?;
    let console = machine.0.stdout.take().ok_or("qemu has no stdout")?;
    let (say, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(console).split(b'\n').map_while(Result::ok);
        // It ends with the machine, or with the listener.
        lines.all(|line| say.send(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()).is_ok())
    });
    let mut ended = Ended::NotBooted;
    loop {
        let line = match said.recv_timeout(limit.saturating_sub(started.elapsed())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Ok(Ended::AtTheLimit),
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match line.strip_prefix("VM").map(|_| line.split_once(' ').unwrap_or((&line, ""))) {
            Some(("VM-BOOTED", rest)) => {
                println!("guest: Linux {rest}, {:.1} s here", started.elapsed().as_secs_f64());
                ended = Ended::Early;
            }
            Some(("VM-RAN", rest)) => println!("guest: {}", took(rest)),
            Some(("VM-SKIPPED", rest)) => run.skip_early(rest),
            Some(("VM-LIMIT", _)) => return Ok(Ended::AtTheLimit),
            Some(("VMTEST-EXIT", rest)) => ended = Ended::ByItself { well: rest == "0" },
            _ => run.note(&line),
        }
    }
    Ok(ended)
}

/// `NAME STARTED ENDED` as a sentence.
fn took(words: &str) -> String {
    let mut words = words.split(' ');
    let name = words.next().unwrap_or_default();
    let mut seconds = words.filter_map(|word| word.parse::<f64>().ok());
    match (seconds.next(), seconds.next()) {
        (Some(started), Some(ended)) => format!("{name} took {:.1} s", ended - started),
        _ => name.to_owned(),
    }
}

/// A running emulator; it ends with this.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn machine(image: &Image) -> Result<Command, String> {
    let packages = paths::packages(paths::MACHINE);
    let size = fs::metadata(&image.initramfs).map_err(|e| format!("{}: {e}", image.initramfs.display()))?.len();
    // The archive, what is unpacked from it into half of the memory at most, and the tests' own.
    let memory = 512 + 3 * (size >> 20);
    let mut qemu = libraries::loader();
    qemu.arg(packages.join("usr/bin/qemu-system-x86_64"));
    // It would look beside its own executable, which here is the loader.
    qemu.env("QEMU_MODULE_DIR", packages.join("usr/lib/x86_64-linux-gnu/qemu"));
    for share in ["qemu", "seabios"] {
        qemu.arg("-L").arg(packages.join("usr/share").join(share));
    }
    // Only by software: KVM is not everywhere, and where it is nested it may not work.
    qemu.args(["-accel", "tcg,thread=multi", "-smp", "2", "-m", &memory.to_string()]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot"]);
    qemu.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initramfs);
    // A kernel that panics ends the machine; what guards against other tenants of a CPU only costs time here.
    qemu.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off"]);
    qemu.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(qemu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_took_its_time() {
        assert_eq!(took("bridge 3.25 10.75"), "bridge took 7.5 s");
        assert_eq!(took("bridge"), "bridge");
    }
}
