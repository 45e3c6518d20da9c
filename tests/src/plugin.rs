//! One call of a CNI plugin, as a runtime makes it: environment, configuration on stdin, JSON on stdout.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// A plugin that has not answered by then is killed and the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A plugin call to be made.
#[derive(Debug, Clone)]
pub struct Call {
    program: PathBuf,
    environment: BTreeMap<String, String>,
    stdin: Vec<u8>,
    hold_stdin: bool,
}

impl Call {
    /// A call of `plugin` from `plugin_dir`, for container `c1` and interface `eth0`, without namespace and config.
    pub fn new(plugin_dir: &Path, command: &str, plugin: &str) -> Self {
        let mut environment = BTreeMap::new();
        environment.insert("PATH".into(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
        environment.insert("CNI_PATH".into(), plugin_dir.display().to_string());
        environment.insert("CNI_CONTAINERID".into(), "c1".into());
        environment.insert("CNI_IFNAME".into(), "eth0".into());
        environment.insert("CNI_COMMAND".into(), command.into());
        Self { program: plugin_dir.join(plugin), environment, stdin: Vec::new(), hold_stdin: false }
    }

    /// Sets `CNI_CONTAINERID`.
    pub fn id(self, id: &str) -> Self {
        self.env("CNI_CONTAINERID", id)
    }

    /// Sets `CNI_NETNS`.
    pub fn netns(self, path: &Path) -> Self {
        self.env("CNI_NETNS", path.to_str().expect("an UTF-8 path"))
    }

    /// Sets `CNI_IFNAME`.
    pub fn ifname(self, name: &str) -> Self {
        self.env("CNI_IFNAME", name)
    }

    /// Sets `CNI_ARGS`.
    pub fn args(self, args: &str) -> Self {
        self.env("CNI_ARGS", args)
    }

    /// Sets any environment variable.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.insert(key.into(), value.into());
        self
    }

    /// An environment variable as it will be sent.
    pub fn variable(&self, key: &str) -> Option<&str> {
        self.environment.get(key).map(String::as_str)
    }

    /// Takes an environment variable away.
    pub fn without(mut self, key: &str) -> Self {
        self.environment.remove(key);
        self
    }

    /// The configuration on stdin.
    pub fn conf(self, conf: &Value) -> Self {
        self.stdin(conf.to_string().into_bytes())
    }

    /// The configuration with the result of an earlier plugin, or of ADD.
    pub fn conf_after(self, conf: &Value, prev_result: &Value) -> Self {
        let mut conf = conf.clone();
        conf["prevResult"] = prev_result.clone();
        self.conf(&conf)
    }

    /// Bytes on stdin, whatever they are.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Keeps stdin open until the plugin has ended: one that waits for its end hangs and fails the test.
    pub fn hold_stdin(mut self) -> Self {
        self.hold_stdin = true;
        self
    }

    /// Runs the plugin in the calling thread's namespaces and waits for it.
    ///
    /// # Panics
    /// When it cannot be started, or has not ended within a minute.
    pub fn run(&self) -> Outcome {
        let started = Instant::now();
        let mut child = Command::new(&self.program)
            .env_clear()
            .envs(&self.environment)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", self.program.display()));
        let (mut stdin, mut out, mut err) = (
            child.stdin.take().expect("piped"),
            child.stdout.take().expect("piped"),
            child.stderr.take().expect("piped"),
        );
        let pid = i32::try_from(child.id()).expect("a process ID fits");
        let (finished, watch) = mpsc::channel::<()>();
        let (released, hold) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                if watch.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                    // SAFETY: kill takes plain numbers; the child is not reaped before `finished` is dropped.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                }
            });
            let feeder = scope.spawn(move || {
                let taken = stdin.write_all(&self.stdin).is_ok();
                if self.hold_stdin {
                    let _ = hold.recv();
                }
                taken
            });
            let stderr = scope.spawn(move || {
                let mut b = Vec::new();
                let _ = err.read_to_end(&mut b);
                b
            });
            let mut stdout = Vec::new();
            let _ = out.read_to_end(&mut stdout);
            let stderr = stderr.join().expect("stderr reader");
            let status = child.wait().expect("the plugin is our child");
            drop((finished, released));
            let stdin_taken = feeder.join().expect("stdin writer");
            let call = format!(
                "{} {}",
                self.environment.get("CNI_COMMAND").map_or("-", String::as_str),
                self.program.display()
            );
            Outcome {
                call,
                code: status.code(),
                stdout,
                stderr: String::from_utf8_lossy(&stderr).into_owned(),
                stdin_taken,
                elapsed: started.elapsed(),
            }
        })
    }
}

/// What is sent: the variables of the protocol and stdin.
impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let variables = self.environment.iter().filter(|(key, _)| key.starts_with("CNI_"));
        for (key, value) in variables {
            write!(f, "{key}={value:?} ")?;
        }
        let name = self.program.file_name().unwrap_or_default().to_string_lossy();
        write!(f, "{name} <<< '{}'", String::from_utf8_lossy(&self.stdin))
    }
}

/// How a call ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Command and program, for messages.
    pub call: String,
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it said beside that.
    pub stderr: String,
    /// All of stdin could be written (an early exit gives the runtime EPIPE instead of our error).
    pub stdin_taken: bool,
    /// From spawn to wait.
    pub elapsed: Duration,
}

/// A CNI error object, as a runtime reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniError {
    /// The spec's or the plugin's error code.
    pub code: u64,
    /// The short phrase.
    pub msg: String,
    /// The rest of it; empty if absent.
    pub details: String,
    /// The version named in the object, if any.
    pub cni_version: Option<String>,
}

impl Outcome {
    /// The printed text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Asserts success with nothing printed (CHECK, DEL, GC, STATUS).
    #[track_caller]
    pub fn expect_quiet(&self) {
        assert_eq!(self.code, Some(0), "{self}");
        assert_eq!(self.text(), "", "{self}: success of this command prints nothing");
    }

    /// Asserts success and returns the printed JSON (ADD, VERSION).
    #[track_caller]
    pub fn expect_result(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self}");
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{self}: not JSON: {e}"))
    }

    /// Asserts failure with one well-formed error object on stdout, and returns it.
    #[track_caller]
    pub fn expect_failure(&self) -> CniError {
        assert_eq!(self.code, Some(1), "{self}: a failed plugin exits with 1");
        let value: Value =
            serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("{self}: not one JSON object: {e}"));
        let object = value.as_object().unwrap_or_else(|| panic!("{self}: an error is an object"));
        let unknown: Vec<&String> =
            object.keys().filter(|k| !matches!(k.as_str(), "cniVersion" | "code" | "msg" | "details")).collect();
        assert!(unknown.is_empty(), "{self}: keys {unknown:?} are not in the specification");
        let text = |key: &str| {
            object.get(key).map(|v| v.as_str().unwrap_or_else(|| panic!("{self}: {key} is a string")).to_owned())
        };
        CniError {
            code: object
                .get("code")
                .and_then(Value::as_u64)
                .unwrap_or_else(|| panic!("{self}: code is an unsigned number")),
            msg: text("msg").filter(|m| !m.is_empty()).unwrap_or_else(|| panic!("{self}: msg is missing")),
            details: text("details").unwrap_or_default(),
            cni_version: text("cniVersion"),
        }
    }

    /// Asserts failure with this code, and with each phrase somewhere in `msg` or `details`.
    #[track_caller]
    pub fn expect_error(&self, code: u64, phrases: &[&str]) -> CniError {
        let error = self.expect_phrases(phrases);
        assert_eq!(error.code, code, "{self}");
        error
    }

    /// Asserts failure with whatever code, and with each phrase somewhere in `msg` or `details`.
    #[track_caller]
    pub fn expect_phrases(&self, phrases: &[&str]) -> CniError {
        let error = self.expect_failure();
        let said = format!("{} {}", error.msg, error.details);
        for phrase in phrases {
            assert!(said.contains(phrase), "{self}: does not say {phrase:?}");
        }
        error
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.map_or_else(|| "by a signal".to_owned(), |c| format!("with {c}"));
        write!(
            f,
            "{} ended {code}\n  stdout: {}\n  stderr: {}",
            self.call,
            self.text().trim_end(),
            self.stderr.trim_end()
        )
    }
}
