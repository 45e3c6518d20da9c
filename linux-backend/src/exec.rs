//! Other programs: foreign plugins and iptables, with a stdin of ours, and pipes for what they write.

use core::ffi::CStr;

use picocni_core::backend::Exit;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::text::fits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, setpgid, waitpid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::errno;
use crate::files::with_path;
use crate::socket::retry;
use crate::sys::{self, Environ, Pointers};

/// Variables handed on: everything inherited and the CNI variables.
const VARIABLES: usize = 512;
/// Variables that are set: those of CNI.
const SET: usize = 6;
/// Bytes of one of them with its name.
const VARIABLE: usize = 4096;
/// Path, arguments, and the null.
const ARGUMENTS: usize = 6;
/// Bytes that are read from a pipe at once.
const CHUNK: usize = 4096;
/// Seconds a plugin may take. kubelet gives a sandbox 2 minutes (its runtime
/// request timeout); IPAM daemons are given longer than that by nobody.
const TIMEOUT_S: i64 = 120;
/// A program that is being written (`ETXTBSY`) is tried this often …
const BUSY_TRIES: u32 = 6;
/// … this many milliseconds apart: file systems tell nobody when a writer is done.
const BUSY_MS: i64 = 100;

/// A program that is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    /// Its path.
    pub(crate) path: &'a str,
    /// Its arguments after the first, which is the path.
    pub(crate) arguments: &'a [&'a CStr],
    /// The environment it inherits …
    pub(crate) environ: Environ,
    /// … but for these variables.
    pub(crate) set: &'a [(&'a str, &'a str)],
    /// What it says on stderr is passed on, as the specification asks for (section 4).
    pub(crate) pass_on: bool,
}

/// Runs a program with `stdin`; what it writes goes to `take` as it comes.
/// Nothing more is taken after `take` says `false`, and the program is killed.
pub(crate) fn run(program: &Program<'_>, stdin: &[u8], take: &mut dyn FnMut(&[u8]) -> bool) -> Result<Exit> {
    let failed = |errno| errno::file(&"failed to run a program", program.path, errno);
    for _ in 0..BUSY_TRIES {
        let mut child = Child::start(program).map_err(failed)?;
        let outcome = child.talk(program, stdin, take);
        if !matches!(&outcome, Ok(exit) if exit.code == EXEC_FAILED && exit.stdout == 0 && child.exec_errno == Errno::TXTBSY.raw_os_error())
        {
            if let Ok(exit) = &outcome
                && exit.code == EXEC_FAILED
                && child.exec_errno != 0
            {
                return Err(failed(Errno::from_raw_os_error(child.exec_errno)));
            }
            return outcome;
        }
        let pause = Timespec { tv_sec: 0, tv_nsec: BUSY_MS.saturating_mul(1_000_000) };
        let _ = poll(&mut [], Some(&pause));
    }
    Err(failed(Errno::TXTBSY))
}

/// What the child exits with when it could not become the program.
const EXEC_FAILED: u32 = 127;

struct Child {
    pid: Pid,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    /// Closed by exec; carries the error number when there was none.
    status: OwnedFd,
    exec_errno: i32,
    reaped: bool,
}

impl Child {
    fn start(program: &Program<'_>) -> core::result::Result<Child, Errno> {
        let (in_read, in_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (out_read, out_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (err_read, err_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let (status_read, status_write) = pipe_with(PipeFlags::CLOEXEC)?;
        let Some(pid) = sys::fork()? else {
            let errno = become_program(program, [&in_read, &out_write, &err_write]);
            let _ = write(&status_write, &errno.raw_os_error().to_ne_bytes());
            sys::exit(127);
        };
        rustix::fs::fcntl_setfl(&in_write, rustix::fs::OFlags::NONBLOCK)?;
        Ok(Child {
            pid,
            stdin: Some(in_write),
            stdout: Some(out_read),
            stderr: Some(err_read),
            status: status_read,
            exec_errno: 0,
            reaped: false,
        })
    }

    /// Feeds stdin and drains both outputs in one loop: 64 KiB each way must
    /// not dead-lock. A child that writes too much or takes too long is killed
    /// with its group; it is reaped in any case.
    fn talk(&mut self, program: &Program<'_>, stdin: &[u8], take: &mut dyn FnMut(&[u8]) -> bool) -> Result<Exit> {
        let mut fed = 0usize;
        let mut length = 0usize;
        let mut stderr = heapless::String::new();
        while self.stdout.is_some() || self.stderr.is_some() {
            self.wait(program.path)?;
            self.feed(stdin, &mut fed);
            if !self.drain_stdout(take, &mut length) {
                self.kill();
                return Err(Error::limit("REQUEST", limits::REQUEST)
                    .with(&" bytes of a plugin's output: ")
                    .with(&program.path));
            }
            self.drain_stderr(&mut stderr, program.pass_on);
        }
        self.stdin = None;
        let mut errno = [0u8; 4];
        if matches!(retry(|| read(&self.status, &mut errno)), Ok(4)) {
            self.exec_errno = i32::from_ne_bytes(errno);
        }
        let code = self.reap();
        Ok(Exit { code, stdout: length, stderr })
    }

    /// Waits until one of the pipes can be used.
    fn wait(&mut self, program: &str) -> Result<()> {
        let ready = self.poll().map_err(|errno| errno::file(&"failed to wait for a program", program, errno))?;
        if ready {
            return Ok(());
        }
        self.kill();
        Err(err!(TRY_AGAIN, "program timed out", program, " was silent for ", TIMEOUT_S, " s and was killed"))
    }

    fn poll(&self) -> core::result::Result<bool, Errno> {
        let mut fds: heapless::Vec<PollFd<'_>, 3> = heapless::Vec::new();
        if let Some(fd) = &self.stdin {
            let _ = fds.push(PollFd::new(fd, PollFlags::OUT));
        }
        for fd in [&self.stdout, &self.stderr].into_iter().flatten() {
            let _ = fds.push(PollFd::new(fd, PollFlags::IN));
        }
        let limit = Timespec { tv_sec: TIMEOUT_S, tv_nsec: 0 };
        retry(|| poll(&mut fds, Some(&limit))).map(|ready| ready > 0)
    }

    fn feed(&mut self, stdin: &[u8], fed: &mut usize) {
        let Some(fd) = &self.stdin else { return };
        let rest = stdin.get(*fed..).unwrap_or_default();
        if !rest.is_empty() {
            match write(fd, rest) {
                Ok(more) => *fed = fed.saturating_add(more),
                Err(Errno::AGAIN | Errno::INTR) => return,
                // It does not want to read on; what it prints still counts.
                Err(_) => *fed = stdin.len(),
            }
        }
        if *fed >= stdin.len() {
            self.stdin = None;
        }
    }

    /// `false` when nobody takes what it wrote.
    fn drain_stdout(&mut self, take: &mut dyn FnMut(&[u8]) -> bool, length: &mut usize) -> bool {
        let Some(fd) = self.stdout.as_ref().filter(|fd| readable(fd)) else { return true };
        let mut bytes = [0u8; CHUNK];
        match read(fd, &mut bytes) {
            Ok(0) => self.stdout = None,
            Ok(more) => {
                *length = length.saturating_add(more);
                return take(bytes.get(..more).unwrap_or_default());
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.stdout = None,
        }
        true
    }

    /// The beginning is kept for our error.
    fn drain_stderr(&mut self, text: &mut heapless::String<{ limits::DETAILS }>, pass_on: bool) {
        let Some(fd) = self.stderr.as_ref().filter(|fd| readable(fd)) else { return };
        let mut bytes = [0u8; CHUNK];
        match read(fd, &mut bytes) {
            Ok(0) => self.stderr = None,
            Ok(more) => {
                let said = bytes.get(..more).unwrap_or_default();
                if pass_on {
                    let _ = write(sys::stderr(), said);
                }
                for byte in said {
                    let shown = if byte.is_ascii_graphic() { char::from(*byte) } else { ' ' };
                    let _ = text.push(shown);
                }
            }
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => self.stderr = None,
        }
    }

    fn kill(&mut self) {
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.reap();
    }

    fn reap(&mut self) -> u32 {
        if self.reaped {
            return 0;
        }
        self.reaped = true;
        match retry(|| waitpid(Some(self.pid), WaitOptions::empty())) {
            Ok(Some((_, status))) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => u32::try_from(code).unwrap_or(1),
                (None, Some(signal)) => u32::try_from(signal).unwrap_or(0).saturating_add(128),
                (None, None) => 1,
            },
            _ => 1,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
        }
    }
}

fn readable(fd: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let [one] = &mut fds;
    matches!(poll(core::slice::from_mut(one), Some(&now)), Ok(1..))
}

/// The child's side: never returns but with an error.
fn become_program(program: &Program<'_>, ends: [&OwnedFd; 3]) -> Errno {
    let outcome = prepare(ends).and_then(|()| {
        let mut own: heapless::Vec<heapless::String<VARIABLE>, SET> = heapless::Vec::new();
        for (key, value) in program.set {
            let variable = fits(&[key, &"=", value, &"\0"]).ok_or(Errno::TOOBIG)?;
            own.push(variable).map_err(|_| Errno::TOOBIG)?;
        }
        let mut variables = Pointers::<VARIABLES>::new();
        for variable in &own {
            variables.push(CStr::from_bytes_with_nul(variable.as_bytes()).map_err(|_| Errno::INVAL)?)?;
        }
        let replaced = |entry: &CStr| {
            program.set.iter().any(|(key, _)| {
                entry.to_bytes().strip_prefix(key.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'='))
            })
        };
        for entry in program.environ.iter().filter(|entry| !replaced(entry)) {
            variables.push(entry)?;
        }
        with_path(program.path, |path| {
            let mut arguments = Pointers::<ARGUMENTS>::new();
            arguments.push(path)?;
            for argument in program.arguments {
                arguments.push(argument)?;
            }
            Err::<(), Errno>(sys::execve(path, &mut arguments, &mut variables))
        })
    });
    outcome.err().unwrap_or(Errno::INVAL)
}

fn prepare(ends: [&OwnedFd; 3]) -> core::result::Result<(), Errno> {
    let [stdin, stdout, stderr] = ends;
    setpgid(None, None)?;
    sys::die_with_parent();
    sys::default_sigpipe();
    dup2_stdin(stdin.as_fd())?;
    dup2_stdout(stdout.as_fd())?;
    dup2_stderr(stderr.as_fd())
}
