//! What an attachment has in the packet filter: a file for each, by its tag.
//!
//! ```text
//! backend nftables
//! pod 10.88.0.2
//! isolated cni0
//! port 7
//! ```

use core::net::IpAddr;
use core::ops::ControlFlow;

use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::name::{IfIndex, IfName};
use picocni_core::net::parse_ip;
use picocni_core::owner::Tag;
use picocni_core::put;
use picocni_core::session::Session;
use picocni_core::text::{Put, Sink, fits, parse_u32};

use super::conf::{Backend, Policy, ZONE};

/// Records, one file per attachment, named by its tag.
pub(crate) const DIR: &str = "/run/cni/picocni/firewall/attachments";

/// Bytes of a record: a line per address, and five more.
const RECORD: usize = limits::IPS * 48 + 256;

/// The text of a record.
pub(super) type Text = heapless::String<RECORD>;

/// A bridge that is kept apart for an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Isolation {
    pub(super) bridge: IfName,
    /// Not only from other bridges, from itself too.
    pub(super) closed: bool,
    /// The pod's port, if it is to be cut off from others.
    pub(super) port: Option<IfIndex>,
}

impl Isolation {
    /// As configs write it.
    pub(super) const fn policy(&self) -> &'static str {
        if self.closed { "isolated" } else { "same-bridge" }
    }

    /// Whether it is what a config asks for.
    pub(super) fn is(this: Option<&Self>, policy: Policy) -> bool {
        match (this, policy) {
            (None, Policy::Open) => true,
            (Some(isolation), Policy::SameBridge) => !isolation.closed,
            (Some(isolation), Policy::Isolated) => isolation.closed,
            _ => false,
        }
    }
}

/// Whether a bridge is kept apart for an attachment.
///
/// # Errors
/// Code 5.
pub(crate) fn isolates(session: &mut Session<'_>, tag: &Tag) -> Result<bool> {
    Ok(Record::read(session, tag)?.is_some_and(|record| record.isolation.is_some()))
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) backend: Backend,
    /// firewalld's zone, "" with another backend.
    pub(super) zone: heapless::String<ZONE>,
    pub(super) pods: heapless::Vec<IpAddr, { limits::IPS }>,
    pub(super) isolation: Option<Isolation>,
}

impl Record {
    /// With nothing in it yet.
    pub(super) const fn new(backend: Backend) -> Self {
        Record { backend, zone: heapless::String::new(), pods: heapless::Vec::new(), isolation: None }
    }

    /// Where the record of an attachment lies.
    ///
    /// # Errors
    /// Code 100.
    pub(super) fn path(tag: &Tag) -> Result<heapless::String<{ limits::PATH }>> {
        crate::record::path(DIR, tag)
    }

    /// The record of an attachment; one that is torn has what could be read of it.
    ///
    /// # Errors
    /// Code 5.
    pub(super) fn read(session: &mut Session<'_>, tag: &Tag) -> Result<Option<Self>> {
        let mut bytes = [0u8; RECORD];
        let Some(length) = session.backend.read_file(&Self::path(tag)?, &mut bytes)? else { return Ok(None) };
        let text = bytes.get(..length).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("");
        let mut record = Record::new(Backend::Nftables);
        for (key, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            record.line(key, value);
        }
        Ok(Some(record))
    }

    fn line(&mut self, key: &str, value: &str) {
        match key {
            "backend" => self.backend = Backend::of(value).unwrap_or(self.backend),
            "zone" => {
                let _ = self.zone.push_str(value);
            }
            "pod" => {
                if let Some(ip) = parse_ip(value) {
                    let _ = self.pods.push(ip);
                }
            }
            "same-bridge" | "isolated" => {
                let bridge = IfName::new(value).ok();
                self.isolation = bridge.map(|bridge| Isolation { bridge, closed: key == "isolated", port: None });
            }
            "port" => {
                if let (Some(isolation), Some(port)) = (&mut self.isolation, parse_u32(value)) {
                    isolation.port = Some(IfIndex(port));
                }
            }
            _ => {}
        }
    }

    /// The record as text.
    ///
    /// # Errors
    /// Code 100.
    pub(super) fn text(&self) -> Result<Text> {
        fits(&[self]).ok_or_else(|| Error::limit("RECORD", RECORD))
    }
}

/// Whether any attachment has recorded this address.
///
/// # Errors
/// Code 5.
pub(super) fn holds(session: &mut Session<'_>, ip: IpAddr) -> Result<bool> {
    let mut held = false;
    crate::record::each(session, DIR, &mut |session, tag| {
        held = Record::read(session, tag)?.is_some_and(|record| record.pods.contains(&ip));
        Ok(if held { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(held)
}

impl Put for Record {
    fn put(&self, out: &mut dyn Sink) {
        put!(out, "backend ", self.backend.as_str(), "\n");
        if !self.zone.is_empty() {
            put!(out, "zone ", self.zone, "\n");
        }
        for ip in &self.pods {
            put!(out, "pod ", *ip, "\n");
        }
        if let Some(isolation) = &self.isolation {
            put!(out, isolation.policy(), " ", isolation.bridge, "\n");
            if let Some(port) = isolation.port {
                put!(out, "port ", port.0, "\n");
            }
        }
    }
}
