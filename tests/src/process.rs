//! Processes started with posix_spawn and timed from there to wait, and one traced run that tells memory, page faults
//! and system calls.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

mod trace;

pub use trace::Inspection;

/// A command made ready, so that nothing but the kernel's work lies between start and end of a measurement.
#[derive(Debug)]
pub struct Prepared {
    program: CString,
    argv: Vec<CString>,
    envp: Vec<CString>,
    stdin: File,
    stdout: File,
}

/// How one run ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// From posix_spawn to the end of wait.
    pub elapsed: Duration,
    /// Exit code; negative if a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: Vec<u8>,
}

fn memory_file(content: &[u8]) -> File {
    // SAFETY: the name is a C string; the result is checked.
    let fd = unsafe { libc::memfd_create(c"stdio".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new and ours.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.write_all(content).expect("memory");
    file
}

fn text(text: &str) -> CString {
    CString::new(text).expect("no NUL in arguments and environment")
}

fn pointers(list: &[CString]) -> Vec<*mut libc::c_char> {
    list.iter().map(|s| s.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

impl Prepared {
    /// `argv[0]` is the first of `arguments`; the environment is exactly `environment`.
    pub fn new(program: &Path, arguments: &[&str], environment: &[(&str, &str)], stdin: &[u8]) -> Self {
        Self {
            program: text(program.to_str().expect("an UTF-8 path")),
            argv: arguments.iter().map(|a| text(a)).collect(),
            envp: environment.iter().map(|(k, v)| text(&format!("{k}={v}"))).collect(),
            stdin: memory_file(stdin),
            stdout: memory_file(b""),
        }
    }

    fn rewind(&mut self) {
        self.stdin.rewind().expect("a memory file");
        self.stdout.set_len(0).expect("a memory file");
        self.stdout.rewind().expect("a memory file");
    }

    fn printed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stdout.seek(SeekFrom::Start(0)).expect("a memory file");
        self.stdout.read_to_end(&mut bytes).expect("a memory file");
        bytes
    }

    /// The descriptors the child gets as 0, 1 and 2.
    fn descriptors(&self) -> [(RawFd, RawFd); 3] {
        [(self.stdin.as_raw_fd(), 0), (self.stdout.as_raw_fd(), 1), (2, 2)]
    }

    /// Runs it once and measures the whole process.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&mut self) -> Run {
        self.rewind();
        let (argv, envp) = (pointers(&self.argv), pointers(&self.envp));
        // SAFETY: zeroed memory is what the init function takes.
        let mut actions: libc::posix_spawn_file_actions_t = unsafe { std::mem::zeroed() };
        // SAFETY: `actions` outlives its use and is destroyed below.
        unsafe { libc::posix_spawn_file_actions_init(&raw mut actions) };
        for (from, to) in self.descriptors() {
            // SAFETY: `actions` is initialised.
            unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut actions, from, to) };
        }
        let mut pid = 0;
        let mut status = 0;
        let started = Instant::now();
        // SAFETY: program, lists and actions live until the call returns; the lists end with null.
        let error = unsafe {
            libc::posix_spawn(
                &raw mut pid,
                self.program.as_ptr(),
                &raw const actions,
                ptr::null(),
                argv.as_ptr(),
                envp.as_ptr(),
            )
        };
        assert_eq!(error, 0, "{:?}: {}", self.program, std::io::Error::from_raw_os_error(error));
        // SAFETY: the child is ours; `status` is a place to write to.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        let elapsed = started.elapsed();
        assert_eq!(waited, pid, "waitpid: {}", std::io::Error::last_os_error());
        // SAFETY: initialised above and not used again.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut actions) };
        Run { elapsed, code: exit_code(status), stdout: self.printed() }
    }

    /// Runs it once under ptrace.
    ///
    /// # Panics
    /// When it cannot be started or traced.
    pub fn inspect(&mut self) -> Inspection {
        self.rewind();
        let (argv, envp) = (pointers(&self.argv), pointers(&self.envp));
        let inspection = trace::run(&self.program, &argv, &envp, self.descriptors());
        Inspection { stdout: self.printed(), ..inspection }
    }
}

fn exit_code(status: i32) -> i32 {
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
}
