//! Token buckets and redirected ingress of the host's links.

use super::network::HOST;
use super::{EEXIST, EINVAL, LINKS, SimBackend, keep, refused};
use crate::err;
use crate::error::Result;
use crate::name::{IfIndex, IfName, Mac};
use crate::observe::{LinkKind, Ns};
use crate::op::{LinkChange, Removal};
use crate::shaping::{Bucket, Ingress, Queue, Root, Shaping};

/// ENOENT.
const ENOENT: i32 = 2;

/// Links that are shaped, and what the kernel lacks.
#[derive(Debug)]
pub(crate) struct Shaped {
    links: heapless::Vec<(IfIndex, Shaping), LINKS>,
    /// The kernel has no token bucket.
    pub(crate) missing: bool,
    /// The kernel has no fq_codel.
    pub(crate) without_fq_codel: bool,
}

impl Shaped {
    pub(crate) const fn new() -> Self {
        Shaped { links: heapless::Vec::new(), missing: false, without_fq_codel: false }
    }

    pub(crate) fn clear(&mut self) {
        self.links.clear();
        self.missing = false;
        self.without_fq_codel = false;
    }

    pub(crate) fn of(&self, index: IfIndex) -> Shaping {
        self.links.iter().find(|(link, _)| *link == index).map_or(Shaping::NONE, |(_, shaping)| *shaping)
    }

    pub(crate) fn set(&mut self, index: IfIndex, shaping: Shaping) -> Result<()> {
        self.links.retain(|(link, _)| *link != index);
        if shaping == Shaping::NONE {
            return Ok(());
        }
        keep(&mut self.links, (index, shaping), "LINKS")
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (IfIndex, Shaping)> {
        self.links.iter().copied()
    }

    /// What was redirected to a link that is gone leads nowhere.
    pub(crate) fn link_gone(&mut self, index: IfIndex) {
        self.links.retain(|(link, _)| *link != index);
        for (_, shaping) in self.links.iter_mut().filter(|(_, known)| known.ingress == Ingress::Redirect(index)) {
            shaping.ingress = Ingress::Redirect(IfIndex(0));
        }
    }
}

impl SimBackend {
    /// As [`Backend::probe_shaping`](crate::backend::Backend::probe_shaping).
    pub(super) fn probe_shaped(&self, fq_codel: bool) -> Result<()> {
        let shaped = &self.net.shaped;
        if shaped.missing {
            return Err(err!(NOT_AVAILABLE, "kernel has no sch_tbf"));
        }
        if fq_codel && shaped.without_fq_codel {
            return Err(err!(NOT_AVAILABLE, "kernel has no sch_fq_codel"));
        }
        Ok(())
    }

    /// Takes the token bucket, or fq_codel, out of the modelled kernel.
    pub fn set_shaping_missing(&mut self, missing: bool, without_fq_codel: bool) {
        self.net.shaped.missing = missing;
        self.net.shaped.without_fq_codel = without_fq_codel;
    }

    /// Shapes a link of the host by somebody else's hand.
    ///
    /// # Errors
    /// Code 101: there is no such link.
    pub fn set_shaping(&mut self, link: IfIndex, shaping: Shaping) -> Result<()> {
        self.net.need(HOST, link)?;
        self.net.shaped.set(link, shaping)
    }

    pub(super) fn create_ifb(&mut self, name: IfName, mac: Mac, mtu: u32) -> Result<Option<Removal<'static>>> {
        let index = self.net.add_link(HOST, name, mac, LinkKind::Ifb)?;
        let set = LinkChange { mtu: Some(mtu), txqlen: Some(0), ..LinkChange::NONE };
        self.net.set_link(HOST, index, &set)?;
        Ok(Some(Removal::DeleteLink { ns: Ns::Host, name }))
    }

    pub(super) fn shape(&mut self, link: IfIndex, bucket: Bucket, queue: Queue) -> Result<Option<Removal<'static>>> {
        self.net.need(HOST, link)?;
        let fq_codel = queue != Queue::Fifo;
        self.probe_shaped(fq_codel).map_err(|_| refused(ENOENT, "unknown qdisc"))?;
        if bucket.bytes() == 0 {
            return Err(refused(EINVAL, "bucket"));
        }
        let shaping = self.net.shaped.of(link);
        if shaping.root != Root::Default {
            return Err(refused(EEXIST, "qdisc"));
        }
        self.net.shaped.set(link, Shaping { root: Root::Bucket(bucket, fq_codel), ..shaping })?;
        Ok(Some(Removal::Unshape { link }))
    }

    pub(super) fn redirect(&mut self, link: IfIndex, to: IfIndex) -> Result<Option<Removal<'static>>> {
        self.net.need(HOST, link)?;
        self.net.need(HOST, to)?;
        let shaping = self.net.shaped.of(link);
        if shaping.ingress != Ingress::None {
            return Err(refused(EEXIST, "ingress qdisc"));
        }
        self.net.shaped.set(link, Shaping { ingress: Ingress::Redirect(to), ..shaping })?;
        Ok(Some(Removal::ReleaseIngress { link }))
    }

    pub(super) fn unshape(&mut self, link: IfIndex) -> Result<()> {
        let shaping = self.net.shaped.of(link);
        let root = if let Root::Bucket(..) = shaping.root { Root::Default } else { shaping.root };
        self.net.shaped.set(link, Shaping { root, ..shaping })
    }

    pub(super) fn release_ingress(&mut self, link: IfIndex) -> Result<()> {
        let shaping = self.net.shaped.of(link);
        self.net.shaped.set(link, Shaping { ingress: Ingress::None, ..shaping })
    }
}
