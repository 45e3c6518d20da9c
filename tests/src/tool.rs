//! picocni on the command line, as an operator types it, and plugins of somebody else's: shell scripts that write down
//! what they were asked.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::paths;
use crate::sandbox::Sandbox;

/// Where scripts write what they were asked.
const ASKED: &str = "/run/asked";

/// The program with cnitool's environment: networks from `/etc/cni/net.d`, plugins from the sandbox.
#[derive(Debug, Clone)]
pub struct Tool {
    environment: BTreeMap<String, String>,
}

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Said {
    /// Exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it said on stderr.
    pub err: String,
    /// From start to end.
    pub elapsed: Duration,
}

impl Tool {
    /// The tool on this host.
    pub fn new(host: &Sandbox) -> Self {
        fs::create_dir_all("/etc/cni/net.d").expect("the directory of networks");
        let environment = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("CNI_PATH", host.plugin_dir().to_str().expect("UTF-8")),
        ];
        Self { environment: environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into() }
    }

    /// Sets an environment variable.
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Runs it in the calling thread's namespaces.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(&self, words: &[&str]) -> Said {
        self.start(Command::new(paths::binary()).args(words))
    }

    /// Runs `command` with the same environment.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self, command: &mut Command) -> Said {
        let started = Instant::now();
        let output = command.env_clear().envs(&self.environment).current_dir("/").output();
        let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Said {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            elapsed: started.elapsed(),
        }
    }
}

impl Said {
    /// Asserts success and returns what was printed.
    #[track_caller]
    pub fn expect_success(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.out
    }

    /// Asserts success and returns the printed JSON.
    #[track_caller]
    pub fn expect_json(&self) -> Value {
        serde_json::from_str(self.expect_success()).unwrap_or_else(|e| panic!("{self:?}: {e}"))
    }

    /// Asserts exit code 1, nothing on stdout, and each phrase on stderr.
    #[track_caller]
    pub fn expect_failure(&self, phrases: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(1), ""), "{self:?}");
        for phrase in phrases {
            assert!(self.err.contains(phrase), "{self:?}: does not say {phrase:?}");
        }
    }
}

/// Writes a network to `/etc/cni/net.d/<file>`.
///
/// # Panics
/// When it cannot be written.
pub fn network(file: &str, conf: &Value) {
    let path = Path::new("/etc/cni/net.d").join(file);
    fs::create_dir_all(path.parent().expect("a directory")).expect("the directory of networks");
    fs::write(path, serde_json::to_vec_pretty(conf).expect("JSON")).expect("a network");
}

/// One call of a script.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// `NAME COMMAND`.
    pub call: String,
    /// The CNI variables.
    pub env: BTreeMap<String, String>,
    /// What was on stdin.
    pub request: Value,
}

/// Makes a plugin `name` that prints `result` on ADD. With [`fail`] it fails.
///
/// # Panics
/// When it cannot be written.
pub fn script(host: &Sandbox, name: &str, result: &Value) {
    fs::create_dir_all(ASKED).expect("a directory");
    let versions = r#"{"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]}"#;
    let text = format!(
        "#!/bin/sh
[ \"$CNI_COMMAND\" = VERSION ] && {{ echo '{versions}'; exit; }}
file={ASKED}/$(date +%s%N)-{name}-$CNI_COMMAND
env | grep ^CNI_ > $file.env
cat > $file.json
if [ -f {ASKED}/fail-{name}-$CNI_COMMAND ]; then cat {ASKED}/fail-{name}-$CNI_COMMAND; exit 1; fi
[ \"$CNI_COMMAND\" != ADD ] || echo '{result}'
"
    );
    install(host, name, &text);
}

/// Makes an executable file in the plugin directory.
///
/// # Panics
/// When it cannot be written.
pub fn install(host: &Sandbox, name: &str, text: &str) {
    let path = host.plugin_dir().join(name);
    fs::write(&path, text).expect("a script");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a script that can be run");
}

/// Lets the script `name` fail on `command`, with this on stdout; `None` lets it succeed again.
///
/// # Panics
/// When it cannot be said to it.
pub fn fail(name: &str, command: &str, output: Option<&str>) {
    let path = format!("{ASKED}/fail-{name}-{command}");
    match output {
        Some(text) => fs::write(path, text).expect("a file"),
        None => fs::remove_file(path).expect("a file"),
    }
}

/// What the scripts were asked since the last look, oldest first.
///
/// # Panics
/// When a script wrote what cannot be read.
pub fn asked() -> Vec<Asked> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(ASKED).expect("a directory").map(|e| e.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "json"));
    files.sort();
    files.iter().map(|path| take(path)).collect()
}

fn take(path: &Path) -> Asked {
    let stem = path.file_stem().and_then(|s| s.to_str()).expect("UTF-8");
    let (name, command) = stem.split_once('-').and_then(|(_, call)| call.rsplit_once('-')).expect("time-name-command");
    let env = fs::read_to_string(path.with_extension("env")).expect("the environment");
    let request = fs::read(path).expect("the request");
    let asked = Asked {
        call: format!("{name} {command}"),
        env: env.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        request: serde_json::from_slice(&request).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
    };
    fs::remove_file(path).expect("the file is ours");
    asked
}

/// The calls alone.
pub fn calls(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|a| a.call.as_str()).collect()
}
