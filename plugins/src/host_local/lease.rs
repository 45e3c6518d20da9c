//! Lease files of one network, under the network's lock.

use core::net::IpAddr;

use picocni_core::conf::ValidAttachments;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::net::parse_ip;
use picocni_core::op::{Plan, Removal};
use picocni_core::owner::Owner;
use picocni_core::session::Session;
use picocni_core::text::fits;

/// Leases an attachment may hold: one per range set.
pub(super) type Held = heapless::Vec<IpAddr, { limits::RANGE_SETS }>;

/// The lease directory of a network, locked.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) dir: heapless::String<{ limits::PATH }>,
}

/// Whose lease a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holder<'c> {
    container: &'c str,
    /// Absent in files of releases before interface names were kept.
    ifname: Option<&'c str>,
}

impl<'c> Holder<'c> {
    /// Reads `<container ID>\r\n<ifname>`; `None` for a file that names nobody
    /// (empty or torn by a power cut).
    pub(super) fn read(content: &'c [u8]) -> Option<Self> {
        let text = core::str::from_utf8(content).ok()?.trim();
        if text.is_empty() {
            return None;
        }
        Some(match text.split_once('\n') {
            Some((container, ifname)) => Holder { container: container.trim(), ifname: Some(ifname.trim()) },
            None => Holder { container: text, ifname: None },
        })
    }

    /// Whether this is the attachment's own lease.
    pub(super) fn is(&self, owner: &Owner<'_>) -> bool {
        self.container == owner.container && self.ifname == Some(owner.ifname.as_str())
    }
}

impl Store {
    /// Locks the network's directory, which is made if it is missing.
    ///
    /// # Errors
    /// Code 5; code 100 for a path that is too long.
    pub(super) fn open(session: &mut Session<'_>, data_dir: &str, network: &str) -> Result<Self> {
        let too_long = || Error::limit("PATH", limits::PATH);
        let dir = fits(&[&data_dir.trim_end_matches('/'), &"/", &network]).ok_or_else(too_long)?;
        let lock: heapless::String<{ limits::PATH }> = fits(&[&dir, &"/lock"]).ok_or_else(too_long)?;
        session.backend.lock(&lock)?;
        Ok(Store { dir })
    }

    /// The addresses an attachment holds; files without an interface name count
    /// only if no file names the interface.
    ///
    /// # Errors
    /// Code 5.
    pub(super) fn held_by(&self, session: &mut Session<'_>, owner: &Owner<'_>) -> Result<Held> {
        let (mut exact, mut legacy) = (Held::new(), Held::new());
        session.backend.leases(&self.dir, &mut |ip, content| {
            let Some(holder) = Holder::read(content).filter(|h| h.container == owner.container) else { return };
            match holder.ifname {
                Some(ifname) if ifname == owner.ifname.as_str() => {
                    let _ = exact.push(ip);
                }
                None => {
                    let _ = legacy.push(ip);
                }
                Some(_) => {}
            }
        })?;
        Ok(if exact.is_empty() { legacy } else { exact })
    }

    /// Gives leases back.
    ///
    /// # Errors
    /// Code 5.
    pub(super) fn release(&self, session: &mut Session<'_>, ips: &[IpAddr]) -> Result<()> {
        let mut plan = Plan::new();
        for ip in ips {
            plan.remove(Removal::ReleaseLease { dir: &self.dir, ip: *ip })?;
        }
        session.remove(&plan)
    }

    /// Gives back what belongs to no valid attachment, in slices. A file that
    /// names nobody belongs to nobody.
    ///
    /// # Errors
    /// Code 5.
    pub(super) fn release_stale(&self, session: &mut Session<'_>, valid: &ValidAttachments<'_>) -> Result<()> {
        loop {
            let mut stale: heapless::Vec<IpAddr, { limits::PLAN }> = heapless::Vec::new();
            session.backend.leases(&self.dir, &mut |ip, content| {
                let keep = match Holder::read(content) {
                    Some(Holder { container, ifname: Some(ifname) }) => valid.contains(container, ifname),
                    Some(Holder { container, ifname: None }) => valid.contains_container(container),
                    None => false,
                };
                if !keep {
                    let _ = stale.push(ip);
                }
            })?;
            if stale.is_empty() {
                return Ok(());
            }
            self.release(session, &stale)?;
        }
    }

    /// The address given last out of set number `set`.
    ///
    /// # Errors
    /// Code 5.
    pub(super) fn last(&self, session: &mut Session<'_>, set: usize) -> Result<Option<IpAddr>> {
        let path: heapless::String<{ limits::PATH }> =
            fits(&[&self.dir, &"/last_reserved_ip.", &set]).ok_or_else(|| Error::limit("PATH", limits::PATH))?;
        let mut bytes = [0u8; 64];
        let length = session.backend.read_file(&path, &mut bytes)?.unwrap_or(0);
        let text = bytes.get(..length).and_then(|b| core::str::from_utf8(b).ok());
        Ok(text.and_then(|text| parse_ip(text.trim())))
    }
}
