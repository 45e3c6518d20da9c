//! One run under ptrace: every system call of the process, its threads and children by name, and the memory of the
//! process at its exit stop. (ru_maxrss would not do: a spawned process inherits its parent's peak.)

use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::fs;
use std::os::fd::RawFd;

use super::exit_code;

/// What a traced run showed.
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    /// Exit code; negative if a signal ended it.
    pub code: i32,
    /// Resident memory at the exit stop, KiB.
    pub rss_kib: u64,
    /// The part of it that is this process's own (dirty pages), KiB.
    pub private_kib: u64,
    /// Resident pages of the stack, with arguments and environment, KiB: pages once touched stay.
    pub stack_kib: u64,
    /// Page faults without I/O, from exec on.
    pub faults: u64,
    /// System calls by name, of all threads and children, from exec on.
    pub calls: BTreeMap<String, usize>,
    /// Threads and processes it started.
    pub started: usize,
    /// What it printed.
    pub stdout: Vec<u8>,
}

impl Inspection {
    /// Number of system calls.
    pub fn call_count(&self) -> usize {
        self.calls.values().sum()
    }
}

const OPTIONS: libc::c_int = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACEEXIT
    | libc::PTRACE_O_TRACEEXEC
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_EXITKILL;

pub(super) fn run(
    program: &CString,
    argv: &[*mut libc::c_char],
    envp: &[*mut libc::c_char],
    descriptors: [(RawFd, RawFd); 3],
) -> Inspection {
    // SAFETY: the child makes only system calls between fork and exec.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        // SAFETY: system calls with plain numbers, then exec with lists that live in the parent's memory image.
        unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            for (from, to) in descriptors {
                libc::dup2(from, to);
            }
            libc::raise(libc::SIGSTOP);
            libc::execve(program.as_ptr(), argv.as_ptr().cast(), envp.as_ptr().cast());
            libc::_exit(127)
        }
    }
    let (_, status) = wait(pid);
    assert!(libc::WIFSTOPPED(status), "the child stops before exec");
    request(libc::PTRACE_SETOPTIONS, pid, OPTIONS.into());
    request(libc::PTRACE_SYSCALL, pid, 0);
    Tracer { pid, begun: false, first_faults: 0, seen: Inspection::default(), inside: HashMap::new() }.follow()
}

struct Tracer {
    pid: libc::pid_t,
    begun: bool,
    first_faults: u64,
    seen: Inspection,
    /// Per thread: whether the next stop is the exit of a call.
    inside: HashMap<libc::pid_t, bool>,
}

impl Tracer {
    fn follow(mut self) -> Inspection {
        let mut last_code = 0;
        loop {
            let (tid, status) = wait(-1);
            if tid < 0 {
                self.seen.code = last_code;
                return self.seen;
            }
            if !libc::WIFSTOPPED(status) {
                if tid == self.pid {
                    last_code = exit_code(status);
                }
                continue;
            }
            let deliver = self.stop(tid, status);
            request(libc::PTRACE_SYSCALL, tid, deliver.into());
        }
    }

    /// Notes what a stop means and returns the signal to go on with.
    fn stop(&mut self, tid: libc::pid_t, status: libc::c_int) -> libc::c_int {
        match (libc::WSTOPSIG(status), status >> 16) {
            (signal, _) if signal == libc::SIGTRAP | 0x80 => self.call(tid),
            (_, libc::PTRACE_EVENT_EXEC) if tid == self.pid => {
                self.begun = true;
                self.first_faults = faults(tid);
                // The stop that ends execve is still to come.
                self.inside.insert(tid, true);
            }
            (_, libc::PTRACE_EVENT_EXIT) if tid == self.pid => {
                self.seen.rss_kib = smaps(tid, "Rss:");
                self.seen.private_kib = smaps(tid, "Private_Dirty:");
                self.seen.stack_kib = stack(tid);
                self.seen.faults = faults(tid).saturating_sub(self.first_faults);
            }
            (_, libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK) => {
                self.seen.started += 1
            }
            (libc::SIGSTOP | libc::SIGTRAP, _) => {}
            (signal, _) => return signal,
        }
        0
    }

    fn call(&mut self, tid: libc::pid_t) {
        let inside = self.inside.entry(tid).or_default();
        *inside = !*inside;
        if *inside && self.begun {
            // SAFETY: the thread is stopped; all bytes of the structure may be written.
            let registers = unsafe {
                let mut registers: libc::user_regs_struct = std::mem::zeroed();
                libc::ptrace(libc::PTRACE_GETREGS, tid, 0, &raw mut registers);
                registers
            };
            *self.seen.calls.entry(name(registers.orig_rax)).or_default() += 1;
        }
    }
}

fn wait(pid: libc::pid_t) -> (libc::pid_t, libc::c_int) {
    let mut status = 0;
    // SAFETY: `status` is a place to write to.
    let tid = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    (tid, status)
}

fn request(what: libc::c_uint, tid: libc::pid_t, data: libc::c_long) {
    // SAFETY: requests that read and write no memory of ours. A thread that is gone meanwhile is no error.
    unsafe { libc::ptrace(what, tid, 0, data) };
}

fn faults(pid: libc::pid_t) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The command name in parentheses may hold spaces; minflt is the 8th field behind it.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    rest.split_whitespace().nth(7).and_then(|f| f.parse().ok()).unwrap_or(0)
}

fn smaps(pid: libc::pid_t, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    kib(text.lines(), key)
}

/// The resident part of the main thread's stack.
fn stack(pid: libc::pid_t) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap_or_default();
    kib(text.lines().skip_while(|l| !l.ends_with("[stack]")), "Rss:")
}

fn kib<'a>(mut lines: impl Iterator<Item = &'a str>, key: &str) -> u64 {
    let line = lines.find(|l| l.starts_with(key)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

macro_rules! names {
    ($number:expr, $($name:ident)*) => {
        $(if $number == i64::from(libc::$name) { return stringify!($name).trim_start_matches("SYS_").to_owned(); })*
    };
}

fn name(number: u64) -> String {
    let number = i64::try_from(number).unwrap_or(-1);
    names!(number,
        SYS_read SYS_write SYS_open SYS_close SYS_stat SYS_fstat SYS_lstat SYS_poll SYS_lseek SYS_mmap SYS_mprotect
        SYS_munmap SYS_brk SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_ioctl SYS_pread64 SYS_pwrite64
        SYS_readv SYS_writev SYS_access SYS_pipe SYS_sched_yield SYS_madvise SYS_dup SYS_dup2 SYS_nanosleep SYS_getpid
        SYS_socket SYS_connect SYS_sendto SYS_recvfrom SYS_sendmsg SYS_recvmsg SYS_bind SYS_getsockname SYS_setsockopt
        SYS_getsockopt SYS_clone SYS_fork SYS_vfork SYS_execve SYS_exit SYS_wait4 SYS_kill SYS_uname SYS_fcntl SYS_flock
        SYS_fsync SYS_fdatasync SYS_ftruncate SYS_getdents64 SYS_getcwd SYS_chdir SYS_rename SYS_mkdir SYS_rmdir
        SYS_unlink SYS_readlink SYS_chmod SYS_umask SYS_getuid SYS_getgid SYS_geteuid SYS_getegid SYS_sigaltstack
        SYS_statfs SYS_fstatfs SYS_prctl SYS_arch_prctl SYS_setrlimit SYS_mount SYS_umount2 SYS_gettid SYS_futex
        SYS_sched_getaffinity SYS_set_tid_address SYS_clock_gettime SYS_clock_nanosleep SYS_exit_group SYS_epoll_wait
        SYS_epoll_ctl SYS_tgkill SYS_waitid SYS_openat SYS_mkdirat SYS_newfstatat SYS_unlinkat SYS_renameat
        SYS_readlinkat SYS_fchmodat SYS_faccessat SYS_ppoll SYS_unshare SYS_set_robust_list SYS_utimensat
        SYS_epoll_pwait SYS_eventfd2 SYS_epoll_create1 SYS_dup3 SYS_pipe2 SYS_prlimit64 SYS_setns SYS_getrandom
        SYS_statx SYS_rseq SYS_pidfd_send_signal SYS_pidfd_open SYS_clone3 SYS_openat2 SYS_faccessat2
    );
    format!("call-{number}")
}
