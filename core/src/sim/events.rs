//! What happened, and what was scripted to happen.

use core::net::IpAddr;

use super::{EVENTS, SCRIPT_STDOUT, SIM_PATH, keep};
use crate::backend::{Exit, Found};
use crate::env::Environment;
use crate::err;
use crate::error::{Error, Result};
use crate::limits;
use crate::name::{IfName, Mac};
use crate::text::fits;

/// One [`Announce`](crate::op::Change::Announce) that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// Sandbox of the link.
    pub sandbox: heapless::String<SIM_PATH>,
    /// The link.
    pub ifname: IfName,
    /// Address that was announced as the holder.
    pub mac: Mac,
}

/// One run of a foreign plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecCall {
    /// Path of the program.
    pub program: heapless::String<SIM_PATH>,
    /// CNI_COMMAND.
    pub command: heapless::String<16>,
    /// CNI_CONTAINERID, cut at 128 bytes.
    pub container: heapless::String<128>,
    /// CNI_IFNAME.
    pub ifname: heapless::String<{ limits::IFNAME }>,
    /// Bytes of its stdin.
    pub stdin: usize,
}

#[derive(Debug)]
struct Script {
    program: heapless::String<SIM_PATH>,
    code: u32,
    stdout: heapless::Vec<u8, SCRIPT_STDOUT>,
    stderr: heapless::String<{ limits::DETAILS }>,
}

/// Scripts and records of one model.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) announced: heapless::Vec<Announcement, EVENTS>,
    pub(crate) calls: heapless::Vec<ExecCall, EVENTS>,
    /// Addresses that another machine holds: detection finds them.
    pub(crate) duplicates: heapless::Vec<IpAddr, EVENTS>,
    found: heapless::Vec<(heapless::String<64>, Found), EVENTS>,
    /// Foreign plugins are few in a test; each holds its output.
    scripts: heapless::Vec<Script, 8>,
    pub(crate) purges: u32,
    /// A lock was taken while one was held.
    pub(crate) lock_faults: u32,
}

impl Events {
    pub(crate) const fn new() -> Self {
        Events {
            announced: heapless::Vec::new(),
            calls: heapless::Vec::new(),
            duplicates: heapless::Vec::new(),
            found: heapless::Vec::new(),
            scripts: heapless::Vec::new(),
            purges: 0,
            lock_faults: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.announced.clear();
        self.calls.clear();
        self.duplicates.clear();
        self.found.clear();
        self.scripts.clear();
        self.purges = 0;
        self.lock_faults = 0;
    }

    pub(crate) fn set_found(&mut self, plugin: &str, found: Found) -> Result<()> {
        let name = fits(&[&plugin]).ok_or_else(|| Error::limit("plugin name", 64))?;
        self.found.retain(|(known, _)| *known != name);
        keep(&mut self.found, (name, found), "EVENTS")
    }

    /// Everything is found in this program unless the script says otherwise.
    pub(crate) fn find(&self, plugin: &str) -> Found {
        self.found.iter().find(|(name, _)| name == plugin).map_or(Found::Own, |(_, found)| found.clone())
    }

    pub(crate) fn set_script(&mut self, program: &str, code: u32, stdout: &[u8], stderr: &str) -> Result<()> {
        let script = Script {
            program: fits(&[&program]).ok_or_else(|| Error::limit("SIM_PATH", SIM_PATH))?,
            code,
            stdout: heapless::Vec::from_slice(stdout).map_err(|_| Error::limit("SCRIPT_STDOUT", SCRIPT_STDOUT))?,
            stderr: fits(&[&stderr]).ok_or_else(|| Error::limit("DETAILS", limits::DETAILS))?,
        };
        self.scripts.retain(|known| known.program != script.program);
        keep(&mut self.scripts, script, "scripts")
    }

    /// Records the call and answers it as scripted.
    pub(crate) fn exec(&mut self, program: &str, env: &Environment<'_>, stdin: &[u8], out: &mut [u8]) -> Result<Exit> {
        let mut call = ExecCall {
            program: fits(&[&program]).ok_or_else(|| Error::limit("SIM_PATH", SIM_PATH))?,
            command: heapless::String::new(),
            container: heapless::String::new(),
            ifname: heapless::String::new(),
            stdin: stdin.len(),
        };
        crate::put!(&mut call.command, env.command);
        crate::put!(&mut call.container, env.container_id);
        crate::put!(&mut call.ifname, env.ifname);
        keep(&mut self.calls, call, "EVENTS")?;
        let Some(script) = self.scripts.iter().find(|script| script.program == program) else {
            return Err(err!(IO, "failed to start plugin", program));
        };
        let Some(room) = out.get_mut(..script.stdout.len()) else {
            return Err(Error::limit("REQUEST", limits::REQUEST));
        };
        for (slot, byte) in room.iter_mut().zip(&script.stdout) {
            *slot = *byte;
        }
        Ok(Exit { code: script.code, stdout: script.stdout.len(), stderr: script.stderr.clone() })
    }
}
