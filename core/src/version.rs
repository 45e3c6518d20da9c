//! Spec versions and what each allows.

use crate::err;
use crate::error::{Phrase, Result};
use crate::text::{Put, Sink, parse_u32};

/// A version of the CNI specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Version {
    /// 0.1.0, also the meaning of an absent or empty `cniVersion`.
    V0_1_0,
    /// 0.2.0: VERSION.
    V0_2_0,
    /// 0.3.0: chaining, `interfaces` and `ips`.
    V0_3_0,
    /// 0.3.1.
    V0_3_1,
    /// 0.4.0: CHECK, prevResult on DEL.
    V0_4_0,
    /// 1.0.0: `ips` loses `version`.
    V1_0_0,
    /// 1.1.0: GC, STATUS, route attributes.
    V1_1_0,
}

/// The newest version.
pub const CURRENT: Version = Version::V1_1_0;

impl Version {
    /// Every version, oldest first.
    pub const ALL: &'static [Version] = &[
        Version::V0_1_0,
        Version::V0_2_0,
        Version::V0_3_0,
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];

    /// As it is written in a config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// The version that `text` names exactly; "" is 0.1.0.
    #[must_use]
    pub fn exact(text: &str) -> Option<Version> {
        if text.is_empty() {
            return Some(Version::V0_1_0);
        }
        Version::ALL.iter().copied().find(|v| v.as_str() == text)
    }

    /// Results of versions in one family have one shape.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Version::V0_1_0 | Version::V0_2_0 => Family::F020,
            Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => Family::F040,
            Version::V1_0_0 | Version::V1_1_0 => Family::F100,
        }
    }
}

impl Put for Version {
    fn put(&self, out: &mut dyn Sink) {
        out.text(self.as_str());
    }
}

/// Versions that share a result shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Family {
    /// `ip4` and `ip6` objects.
    F020,
    /// `ips` with `version`.
    F040,
    /// `ips` without `version`.
    F100,
}

/// `major.minor.patch` of any text, for comparisons ("1" is 1.0.0, "" is 0.1.0).
///
/// # Errors
/// Code 6 when the text is not 1 to 3 dot-separated numbers.
pub fn parse(text: &str) -> Result<(u32, u32, u32)> {
    if text.is_empty() {
        return Ok((0, 1, 0));
    }
    let mut numbers = [0u32; 3];
    let mut parts = text.split('.');
    let mut slots = numbers.iter_mut();
    loop {
        match (parts.next(), slots.next()) {
            (None, _) => break,
            (Some(part), Some(slot)) => {
                *slot = parse_u32(part).ok_or_else(|| invalid(text))?;
            }
            (Some(_), None) => return Err(invalid(text)),
        }
    }
    let [major, minor, patch] = numbers;
    Ok((major, minor, patch))
}

fn invalid(text: &str) -> crate::error::Error {
    err!(DECODE, "invalid cniVersion", "\"", text, "\" is not like 1.1.0")
}

/// A command of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Command {
    /// Add an attachment.
    Add,
    /// Check an attachment.
    Check,
    /// Remove an attachment.
    Del,
    /// Remove what belongs to no valid attachment.
    Gc,
    /// Can ADD be served?
    Status,
    /// Which versions are supported?
    Version,
}

impl Command {
    /// The exact, upper-case word of CNI_COMMAND.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "ADD" => Command::Add,
            "CHECK" => Command::Check,
            "DEL" => Command::Del,
            "GC" => Command::Gc,
            "STATUS" => Command::Status,
            "VERSION" => Command::Version,
            _ => return None,
        })
    }

    /// The word of CNI_COMMAND.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Check => "CHECK",
            Command::Del => "DEL",
            Command::Gc => "GC",
            Command::Status => "STATUS",
            Command::Version => "VERSION",
        }
    }
}

/// Tests whether a config of version `text` may use `command` with a plugin
/// that supports `supported`; gives the version to answer in.
///
/// # Errors
/// Code 1 (`incompatible CNI versions`, `config version does not allow CHECK`…),
/// code 6 for text that is no version.
pub fn gate(text: &str, command: Command, supported: &[Version]) -> Result<Version> {
    let since: Option<((u32, u32, u32), Phrase, Phrase)> = match command {
        Command::Check => {
            Some(((0, 4, 0), &"config version does not allow CHECK", &"plugin version does not allow CHECK"))
        }
        Command::Gc => Some(((1, 1, 0), &"config version does not allow GC", &"plugin version does not allow GC")),
        Command::Status => {
            Some(((1, 1, 0), &"config version does not allow STATUS", &"plugin version does not allow STATUS"))
        }
        Command::Add | Command::Del | Command::Version => None,
    };
    if let Some((least, config_phrase, plugin_phrase)) = since {
        if parse(text)? < least {
            return Err(err!(
                VERSION,
                config_phrase,
                "config is \"",
                text,
                "\", needs at least ",
                if least.0 == 0 { "0.4.0" } else { "1.1.0" }
            ));
        }
        if !supported.iter().any(|v| parse(v.as_str()).is_ok_and(|v| v >= least)) {
            return Err(err!(VERSION, plugin_phrase));
        }
    }
    match Version::exact(text) {
        Some(version) if supported.contains(&version) => Ok(version),
        _ => {
            let error = err!(VERSION, "incompatible CNI versions", "config is \"", text, "\", plugin supports [");
            for (at, version) in supported.iter().enumerate() {
                crate::put!(&mut error.more(), if at > 0 { " \"" } else { "\"" }, *version, "\"");
            }
            Err(error.with(&"]"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(parse("").unwrap(), (0, 1, 0));
        assert_eq!(parse("1").unwrap(), (1, 0, 0));
        assert_eq!(parse("1.2.3").unwrap(), (1, 2, 3));
        for bad in ["1.2.3.4", "a", "1..2", "1.2.", "-1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn gates() {
        let gate = |text, command| gate(text, command, Version::ALL);
        assert_eq!(gate("", Command::Add).unwrap(), Version::V0_1_0);
        assert_eq!(gate("1.0.0", Command::Check).unwrap(), Version::V1_0_0);
        assert_eq!(gate("0.3.1", Command::Check).unwrap_err().msg(), "config version does not allow CHECK");
        assert_eq!(gate("1.0.0", Command::Gc).unwrap_err().msg(), "config version does not allow GC");
        assert_eq!(gate("1.0.0", Command::Status).unwrap_err().msg(), "config version does not allow STATUS");
        let error = gate("9.8.7", Command::Add).unwrap_err();
        assert_eq!(error.msg(), "incompatible CNI versions");
        assert!(error.details().starts_with("config is \"9.8.7\", plugin supports [\"0.1.0\" \"0.2.0\""));
        assert_eq!(gate("9.8.7", Command::Check).unwrap_err().msg(), "incompatible CNI versions");
    }
}
