//! The environment of a call (spec 1.1.0, "Parameters").

use crate::err;
use crate::error::{Details, Result};
use crate::limits;
use crate::name::{IfName, is_identifier};
use crate::put;
use crate::version::Command;

/// The CNI variables as they were found. Empty means missing.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Environment<'a> {
    /// CNI_COMMAND.
    pub command: &'a str,
    /// CNI_CONTAINERID.
    pub container_id: &'a str,
    /// CNI_NETNS.
    pub netns: &'a str,
    /// CNI_IFNAME.
    pub ifname: &'a str,
    /// CNI_ARGS.
    pub args: &'a str,
    /// CNI_PATH.
    pub path: &'a str,
    /// CNI_NETNS_OVERRIDE.
    pub netns_override: &'a str,
}

/// A call whose environment is complete and valid for its command.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Invocation<'a> {
    /// What is asked.
    pub command: Command,
    /// The container; "" for GC and STATUS.
    pub container_id: &'a str,
    /// Path of the sandbox; "" when absent (DEL allows that).
    pub netns: &'a str,
    /// Interface name inside the sandbox; "lo" stands in for GC and STATUS.
    pub ifname: IfName,
    /// `K=V;K=V`.
    pub args: &'a str,
    /// Where plugins are, colon-separated.
    pub path: &'a str,
    /// The sandbox may be the plugin's own namespace.
    pub same_netns_allowed: bool,
}

/// Which commands require a variable: ADD, CHECK, DEL, GC, STATUS, VERSION.
struct Rule {
    name: &'static str,
    required: &'static [Command],
}

use Command::{Add, Check, Del, Gc, Status};

const CONTAINER_ID: Rule = Rule { name: "CNI_CONTAINERID", required: &[Add, Check, Del] };
const NETNS: Rule = Rule { name: "CNI_NETNS", required: &[Add, Check] };
const IFNAME: Rule = Rule { name: "CNI_IFNAME", required: &[Add, Check, Del] };
const PATH: Rule = Rule { name: "CNI_PATH", required: &[Add, Check, Del, Gc, Status] };

impl<'a> Environment<'a> {
    /// Validates for the command; all missing variables are named in one error.
    ///
    /// An unknown command gives `Ok(None)`: the config is still validated, so
    /// that a bad config wins over `unknown CNI_COMMAND` as the peer has it.
    ///
    /// # Errors
    /// Code 4.
    pub fn validate(&self) -> Result<Option<Invocation<'a>>> {
        let command = Command::parse(self.command);
        let mut missing = Details::new();
        let mut need = |rule: &Rule, value: &str| {
            let required = command.is_some_and(|c| rule.required.contains(&c));
            if required && value.is_empty() {
                put!(&mut missing, if missing.is_empty() { "" } else { "," }, rule.name);
            }
            required && !value.is_empty()
        };
        if self.command.is_empty() {
            put!(&mut missing, "CNI_COMMAND");
            return Err(missing_variables(&missing));
        }
        if need(&CONTAINER_ID, self.container_id) && !is_identifier(self.container_id) {
            return Err(err!(ENVIRONMENT, "invalid characters in containerID", self.container_id));
        }
        need(&NETNS, self.netns);
        let mut ifname = IfName::of("lo");
        if need(&IFNAME, self.ifname) {
            ifname = IfName::new(self.ifname)?;
        }
        need(&PATH, self.path);
        if !missing.is_empty() {
            return Err(missing_variables(&missing));
        }
        if self.netns.len() > limits::SANDBOX {
            return Err(crate::error::Error::limit("SANDBOX", limits::SANDBOX).with(&" bytes in CNI_NETNS"));
        }
        let override_word = self.netns_override;
        Ok(command.map(|command| Invocation {
            command,
            container_id: self.container_id,
            netns: self.netns,
            ifname,
            args: self.args,
            path: self.path,
            same_netns_allowed: override_word == "1" || override_word.eq_ignore_ascii_case("true"),
        }))
    }
}

fn missing_variables(names: &Details) -> crate::error::Error {
    err!(ENVIRONMENT, "required env variables missing", "required env variables [", names.as_str(), "] missing")
}

/// CNI_ARGS: `;`-separated `K=V` pairs (spec 1.1.0; parity with the peer's parser).
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Args<'a>(&'a str);

impl<'a> Args<'a> {
    /// Checks the form of every pair and that each key is in `known` unless
    /// `IgnoreUnknown` is true.
    ///
    /// # Errors
    /// Code 4 `ARGS: invalid pair "…"`, `ARGS: unknown args ["…"]`.
    pub fn parse(text: &'a str, known: &[&str]) -> Result<Self> {
        let args = Args(text);
        let mut ignore_unknown = false;
        for pair in args.pairs() {
            let Some((key, value)) = pair.split_once('=').filter(|(_, value)| !value.contains('=')) else {
                return Err(err!(
                    ENVIRONMENT,
                    "invalid CNI_ARGS",
                    "ARGS: invalid pair \"",
                    pair,
                    "\" (one K=V between semicolons)"
                ));
            };
            if key == "IgnoreUnknown" {
                ignore_unknown = parse_bool(value).ok_or_else(|| {
                    err!(ENVIRONMENT, "invalid CNI_ARGS", "IgnoreUnknown is \"", value, "\" (1, 0, true or false)")
                })?;
            }
        }
        if !ignore_unknown {
            let mut unknown = Details::new();
            for (key, _) in args.iter() {
                if key != "IgnoreUnknown" && !known.contains(&key) {
                    put!(&mut unknown, if unknown.is_empty() { "\"" } else { " \"" }, key, "\"");
                }
            }
            if !unknown.is_empty() {
                return Err(err!(
                    ENVIRONMENT,
                    "invalid CNI_ARGS",
                    "ARGS: unknown args [",
                    unknown.as_str(),
                    "] (set IgnoreUnknown=1 to allow them)"
                ));
            }
        }
        Ok(args)
    }

    fn pairs(self) -> impl Iterator<Item = &'a str> {
        self.0.split(';').filter(|_| !self.0.is_empty())
    }

    /// The pairs in order.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pairs().filter_map(|pair| pair.split_once('='))
    }

    /// The value of `key`, the last if it stands there twice.
    #[must_use]
    pub fn get(self, key: &str) -> Option<&'a str> {
        self.iter().filter(|(k, _)| *k == key).map(|(_, v)| v).last()
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    if text == "1" || text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text == "0" || text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const ADD: Environment<'static> = Environment {
        command: "ADD",
        container_id: "c1",
        netns: "/n",
        ifname: "eth0",
        args: "",
        path: "/opt",
        netns_override: "",
    };

    #[test]
    fn missing_ones_are_all_named() {
        let error = Environment { command: "ADD", ..Environment::default() }.validate().unwrap_err();
        assert_eq!(
            error.details().as_str(),
            "required env variables [CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME,CNI_PATH] missing"
        );
        let error = Environment { netns: "", command: "DEL", ..ADD }.validate();
        assert!(error.is_ok());
        assert!(Environment { netns: "", ..ADD }.validate().is_err());
        assert!(Environment { command: "GC", path: "/opt", ..Environment::default() }.validate().is_ok());
        assert!(Environment { command: "VERSION", ..Environment::default() }.validate().is_ok());
        assert!(Environment::default().validate().unwrap_err().details().contains("[CNI_COMMAND]"));
    }

    #[test]
    fn validation_comes_before_the_missing_list() {
        let error = Environment { container_id: "1234/a", netns: "", ..ADD }.validate().unwrap_err();
        assert_eq!(error.msg(), "invalid characters in containerID");
        assert_eq!(error.details().as_str(), "1234/a");
        let error = Environment { ifname: "a/b", ..ADD }.validate().unwrap_err();
        assert_eq!(error.msg(), "interface name contains / or : or whitespace characters");
        assert!(Environment { command: "add", ..ADD }.validate().unwrap().is_none());
    }

    #[test]
    fn args() {
        let known = ["IP", "MAC"];
        assert_eq!(Args::parse("IP=1.2.3.4;MAC=x", &known).unwrap().get("MAC"), Some("x"));
        assert_eq!(Args::parse("", &known).unwrap().get("MAC"), None);
        assert!(Args::parse("IP=1;K8S_POD_NAME=a", &known).is_err());
        for yes in ["1", "true", "TRUE", "True"] {
            let mut text = heapless::String::<64>::new();
            put!(&mut text, "K8S_POD_NAME=a;IgnoreUnknown=", yes);
            assert!(Args::parse(&text, &known).is_ok());
        }
        assert!(Args::parse("IgnoreUnknown=0;K8S_POD_NAME=a", &known).is_err());
        assert!(Args::parse("IgnoreUnknown=2", &known).is_err());
        for bad in ["IP", "IP=1=2", "IP=1;;MAC=2", ";"] {
            assert!(Args::parse(bad, &known).is_err(), "{bad}");
        }
    }
}
