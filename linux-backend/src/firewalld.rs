//! firewalld, asked over the message bus.

use core::net::IpAddr;

use picocni_core::error::Result;
use picocni_core::observe::Ns;
use picocni_core::text::fits;

use crate::bus::{self, BUS, Bus};
use crate::host::Linux;
use crate::wire::dbus::{Answer, MethodCall};

const NAME: &str = "org.fedoraproject.FirewallD1";

/// An interface of sources: firewalld's zones.
const ZONE: MethodCall<'static> = MethodCall {
    destination: NAME,
    path: "/org/fedoraproject/FirewallD1",
    interface: "org.fedoraproject.FirewallD1.zone",
    member: "",
    arguments: &[],
};

/// Names of errors that say that a service does not run.
const ABSENT: [&str; 2] = ["org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner"];

/// What became of a call.
enum Outcome {
    Done(Option<bool>),
    /// There is no bus, or no firewalld on it.
    Absent,
    /// Its code, at the beginning of what it says.
    Refused(picocni_core::error::Error),
    /// It was so already.
    Already,
}

/// Connects at most once.
fn call(linux: &mut Linux<'_>, call: &MethodCall<'_>, member: &'static str, already: &[&str]) -> Result<Outcome> {
    linux.be_in(Ns::Host)?;
    if linux.bus.is_none() {
        linux.bus = Bus::connect(linux.environ, linux.memory)?;
    }
    let Some(bus) = &mut linux.bus else { return Ok(Outcome::Absent) };
    let answer = bus.call(&MethodCall { member, ..*call }, linux.memory);
    Ok(match answer? {
        Answer::Return { boolean } => Outcome::Done(boolean),
        Answer::Error { name, .. } if ABSENT.contains(&name) => Outcome::Absent,
        Answer::Error { text, .. } if already.iter().any(|code| text.starts_with(code)) => Outcome::Already,
        Answer::Error { name, text } => Outcome::Refused(bus::refused(member, name, text)),
    })
}

/// The address as a source of a zone.
fn source(ip: IpAddr) -> heapless::String<64> {
    let prefix: u32 = if ip.is_ipv4() { 32 } else { 128 };
    fits(&[&ip, &"/", &prefix]).unwrap_or_default()
}

/// Whether firewalld runs.
pub(crate) fn runs(linux: &mut Linux<'_>) -> Result<bool> {
    match call(linux, &MethodCall { arguments: &[NAME], ..BUS }, "NameHasOwner", &[])? {
        Outcome::Done(owned) => Ok(owned == Some(true)),
        Outcome::Refused(error) => Err(error),
        Outcome::Absent | Outcome::Already => Ok(false),
    }
}

fn absent() -> picocni_core::error::Error {
    picocni_core::err!(KERNEL, "firewalld does not run", NAME, " has no owner on the system message bus")
}

/// Binds an address to a zone; `false` if it was.
pub(crate) fn add(linux: &mut Linux<'_>, zone: &str, ip: IpAddr) -> Result<bool> {
    let arguments = [zone, &source(ip)];
    match call(linux, &MethodCall { arguments: &arguments, ..ZONE }, "addSource", &["ZONE_ALREADY_SET"])? {
        Outcome::Done(_) => Ok(true),
        Outcome::Already => Ok(false),
        Outcome::Absent => Err(absent()),
        Outcome::Refused(error) => Err(error),
    }
}

/// Takes an address from a zone. One that is not in it, and a firewalld that
/// does not run, are success: it forgets such sources when it ends.
pub(crate) fn remove(linux: &mut Linux<'_>, zone: &str, ip: IpAddr) -> Result<()> {
    let arguments = [zone, &source(ip)];
    let gone = ["UNKNOWN_SOURCE", "ZONE_CONFLICT", "INVALID_ZONE"];
    match call(linux, &MethodCall { arguments: &arguments, ..ZONE }, "removeSource", &gone)? {
        Outcome::Refused(error) => Err(error),
        _ => Ok(()),
    }
}

/// Whether an address is in a zone.
pub(crate) fn has(linux: &mut Linux<'_>, zone: &str, ip: IpAddr) -> Result<bool> {
    let arguments = [zone, &source(ip)];
    match call(linux, &MethodCall { arguments: &arguments, ..ZONE }, "querySource", &["INVALID_ZONE"])? {
        Outcome::Done(there) => Ok(there == Some(true)),
        Outcome::Already | Outcome::Absent => Ok(false),
        Outcome::Refused(error) => Err(error),
    }
}
