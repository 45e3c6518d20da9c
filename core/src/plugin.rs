//! What a plugin is.

use crate::conf::NetConf;
use crate::env::{Environment, Invocation};
use crate::err;
use crate::error::Result;
use crate::json::Key;
use crate::owner::Owner;
use crate::result::AddResult;
use crate::session::Session;
use crate::version::{Command, Version};

/// One valid call: environment, config, prevResult.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Call<'a> {
    /// The CNI variables.
    pub env: &'a Invocation<'a>,
    /// Keys that every config may have.
    pub conf: &'a NetConf<'a>,
    /// The config as canonical JSON, by the plugin's own keys.
    pub text: &'a str,
    /// The config as it came on stdin; delegates get these bytes.
    pub raw: &'a [u8],
    /// The config's version: results are printed in it.
    pub version: Version,
    /// prevResult, if the config has one.
    pub prev: Option<&'a AddResult>,
    /// Map keys that stood twice in the config (offset of the first).
    pub repeated_key: Option<usize>,
}

impl<'a> Call<'a> {
    /// Reads the plugin's own config struct.
    ///
    /// # Errors
    /// Code 7: the text does not fit the type (a list over its capacity).
    pub fn config<T: serde::Deserialize<'a>>(&self) -> Result<T> {
        crate::json::from_canonical(self.text)
            .map_err(|_| err!(CONFIG, "config does not fit", "a list or a string is longer than this plugin allows"))
    }

    /// Reads the plugin's own config struct, if it is one of [`fields!`](crate::fields):
    /// the same as [`Call::config`], in a tenth of the code.
    ///
    /// # Errors
    /// Code 7: the text does not fit the type.
    pub fn fields<T: crate::json::Fields<'a> + Default>(&self) -> Result<T> {
        crate::json::read(self.text).map_err(|_| err!(CONFIG, "config does not fit"))
    }

    /// The value at a path of keys as canonical text; "" if it is not there,
    /// which has no members and no elements.
    #[must_use]
    pub fn at(&self, path: &[&str]) -> &'a str {
        crate::json::raw::at(self.text, path)
    }

    /// Whose attachment this is.
    #[must_use]
    pub fn owner(&self) -> Owner<'a> {
        Owner { network: self.conf.name, container: self.env.container_id, ifname: self.env.ifname }
    }

    /// prevResult, which a chained plugin and CHECK need.
    ///
    /// # Errors
    /// Code 7 `Required prevResult missing`.
    pub fn required_prev(&self) -> Result<&'a AddResult> {
        self.prev.ok_or_else(|| {
            err!(
                CONFIG,
                "Required prevResult missing",
                "this plugin must be called as chained plugin, after one that makes an interface"
            )
        })
    }

    /// The environment of a delegated call.
    #[must_use]
    pub fn environment(&self, command: Command) -> Environment<'a> {
        let attachment = !matches!(command, Command::Gc | Command::Status);
        Environment {
            command: command.as_str(),
            container_id: self.env.container_id,
            netns: self.env.netns,
            ifname: if attachment { self.env_ifname() } else { "" },
            args: self.env.args,
            path: self.env.path,
            netns_override: if self.env.same_netns_allowed { "1" } else { "" },
        }
    }

    fn env_ifname(&self) -> &'a str {
        self.env.ifname.as_str()
    }
}

/// A CNI plugin: its config keys, and what it plans for each command.
///
/// A plugin observes through `session.backend`, builds a
/// [`Plan`](crate::op::Plan), and hands it to [`Session::apply`]. Failure of
/// ADD is undone by the caller from the journal; no plugin undoes anything.
pub trait Plugin: Sync {
    /// The name it is called by (`type` in a config, argv\[0\]).
    fn name(&self) -> &'static str;

    /// Every config key it reads, [`conf::COMMON`](crate::conf::COMMON)
    /// included, which are all that a plugin without keys of its own needs.
    fn keys(&self) -> &'static [Key] {
        const { &crate::conf::COMMON }
    }

    /// Spec versions it supports.
    fn versions(&self) -> &'static [Version] {
        Version::ALL
    }

    /// Whether it can only stand behind another plugin of a list.
    fn is_chained(&self) -> bool {
        false
    }

    /// Whether it gives addresses (its ADD needs no sandbox of its own).
    fn is_ipam(&self) -> bool {
        false
    }

    /// ADD: makes the attachment and fills `result`.
    ///
    /// # Errors
    /// Any CNI error; what was applied is undone by the caller.
    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()>;

    /// CHECK: the attachment is as ADD left it.
    ///
    /// # Errors
    /// Code 104 when it is not.
    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()>;

    /// Puts back what ADD set on the host and somebody else removed, such as the
    /// rules that a reload of the packet filter swept away, by
    /// [`Session::repair`]. What is right is left alone.
    ///
    /// # Errors
    /// Any CNI error; what was put back before it is undone.
    fn reconcile(&self, _call: &Call<'_>, _session: &mut Session<'_>) -> Result<()> {
        Ok(())
    }

    /// DEL: removes the attachment; what is gone already is success.
    ///
    /// # Errors
    /// The first failure, after everything was tried.
    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()>;

    /// GC: removes what carries this network's tag and belongs to no valid attachment.
    ///
    /// # Errors
    /// The first failure, after everything was tried.
    fn gc(&self, _call: &Call<'_>, _session: &mut Session<'_>) -> Result<()> {
        Ok(())
    }

    /// STATUS: ADD can be served.
    ///
    /// # Errors
    /// Codes 50 and 51.
    fn status(&self, _call: &Call<'_>, _session: &mut Session<'_>) -> Result<()> {
        Ok(())
    }
}

impl core::fmt::Debug for dyn Plugin {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
