//! A message bus and firewalld in a sandbox, with nothing of the machine's.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::packages::{self, Set};
use crate::{paths, sandbox};

/// Where the bus listens: where every program looks for it.
const SOCKET: &str = "/run/dbus/system_bus_socket";
/// How long each of the two may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running firewalld. It ends with its bus when this is dropped.
#[derive(Debug)]
pub struct Firewalld {
    processes: Vec<Child>,
}

/// Why firewalld cannot be started here.
pub fn lacking() -> Option<&'static str> {
    if !packages::are_here(Set::Firewalld) || !packages::are_here(Set::Host) {
        return Some("firewalld has not been fetched");
    }
    let programs = ["/usr/bin/python3", "/usr/bin/dbus-daemon"];
    programs.iter().any(|p| !Path::new(p).exists()).then_some("no Debian Python or dbus-daemon on this host")
}

impl Firewalld {
    /// Starts both in the calling thread's sandbox and network namespace, and waits until firewalld works.
    ///
    /// # Panics
    /// When they do not start.
    pub fn start() -> Self {
        sandbox::overlay_usr(&paths::packages(paths::FIREWALLD));
        fs::create_dir_all("/run/dbus").expect("a private /run");
        fs::create_dir_all("/run/firewalld").expect("a private /run");
        let open = "<allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/><allow user=\"*\"/>";
        let conf = format!(
            "<busconfig><type>system</type><listen>unix:path={SOCKET}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\">{open}</policy></busconfig>"
        );
        fs::write("/run/bus.conf", conf).expect("a private /run");
        let mut running = Self { processes: Vec::new() };
        running.spawn(Command::new("/usr/bin/dbus-daemon").args(["--config-file=/run/bus.conf", "--nofork"]));
        wait("the message bus", || Path::new(SOCKET).exists());
        copy(&paths::packages(paths::FIREWALLD).join("etc/firewalld"), Path::new("/run/firewalld-etc"));
        let options = ["--nofork", "--nopid", "--log-target=console", "--system-config=/run/firewalld-etc"];
        running.spawn(Command::new("/usr/bin/python3").arg("/usr/sbin/firewalld").args(options));
        wait("firewalld", || command(&["--state"]).is_ok());
        running
    }

    fn spawn(&mut self, command: &mut Command) {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.processes.push(quiet.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}")));
    }
}

impl Drop for Firewalld {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().rev() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Runs `firewall-cmd`; what it printed.
///
/// # Errors
/// What it said when it failed.
///
/// # Panics
/// When it cannot be started.
pub fn command(words: &[&str]) -> Result<String, String> {
    let output = Command::new("/usr/bin/python3").arg("/usr/bin/firewall-cmd").args(words).output();
    let output = output.expect("firewall-cmd can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn wait(what: &str, ready: impl Fn() -> bool) {
    let started = Instant::now();
    while !ready() {
        assert!(started.elapsed() < PATIENCE, "{what} does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a private /run");
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}
