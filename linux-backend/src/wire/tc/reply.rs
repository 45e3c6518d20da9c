//! What the kernel tells about qdiscs and filters.

use picocni_core::shaping::Bucket;

use super::{
    BUCKET_HANDLE, EGRESS_REDIRECT, RTM_NEWQDISC, RTM_NEWTFILTER, TCA_ACT_KIND, TCA_ACT_OPTIONS, TCA_KIND,
    TCA_MIRRED_PARMS, TCA_OPTIONS, TCA_TBF_PARMS, TCA_TBF_RATE64, TCA_U32_ACT, TCA_U32_SEL, TCMSG_LEN,
};
use crate::wire::attr::{Attrs, i32_of, str_of, u32_of, u64_of};
use crate::wire::nlmsg::Message;

/// A token bucket's parameters; `None` if they are damaged.
fn bucket(options: &[u8]) -> Option<Bucket> {
    let options = Attrs::new(options);
    // struct tc_tbf_qopt: the rate is the third word, limit and buffer follow the peak rate.
    let params = options.find(TCA_TBF_PARMS)?;
    let rate = params.get(8..).and_then(u32_of)?;
    Some(Bucket {
        rate: options.find(TCA_TBF_RATE64).and_then(u64_of).unwrap_or(rate.into()),
        limit: params.get(24..).and_then(u32_of)?,
        buffer: params.get(28..).and_then(u32_of)?,
    })
}

/// What a qdisc is (`RTM_NEWQDISC`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qdisc {
    /// One that the kernel gave the link.
    Default,
    /// A token bucket with the handle that plugins give theirs.
    Bucket(Bucket),
    /// fq_codel.
    FqCodel,
    /// The plain qdisc for what a link receives.
    Ingress,
    /// Any other.
    Other,
}

impl Qdisc {
    /// Reads a qdisc; `None` if the message is of another kind or damaged.
    #[must_use]
    pub fn parse(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWQDISC {
            return None;
        }
        let handle = message.payload.get(8..).and_then(u32_of)?;
        let attrs = message.attrs(TCMSG_LEN);
        Some(match (attrs.find(TCA_KIND).and_then(str_of)?, handle) {
            ("fq_codel", _) if handle != 0 => Qdisc::FqCodel,
            (_, 0) => Qdisc::Default,
            ("tbf", BUCKET_HANDLE) => Qdisc::Bucket(bucket(attrs.find(TCA_OPTIONS)?)?),
            ("ingress", _) => Qdisc::Ingress,
            _ => Qdisc::Other,
        })
    }
}

/// What a filter does with what it catches (`RTM_NEWTFILTER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirect {
    /// It catches everything and sends it by this link; 0 if that is gone.
    All(u32),
    /// Something else.
    Other,
}

impl Redirect {
    /// Reads a filter; `None` if the message is of another kind or only a table
    /// that u32 keeps its filters in.
    #[must_use]
    pub fn parse(message: &Message<'_>) -> Option<Self> {
        if message.kind != RTM_NEWTFILTER {
            return None;
        }
        let attrs = message.attrs(TCMSG_LEN);
        let is_u32 = attrs.find(TCA_KIND).and_then(str_of) == Some("u32");
        let options = attrs.nested(TCA_OPTIONS);
        match (is_u32, options.find(TCA_U32_SEL)) {
            (true, None) => None,
            (true, Some(selector)) if catches_all(selector) => {
                Some(redirection(options).map_or(Redirect::Other, Redirect::All))
            }
            _ => Some(Redirect::Other),
        }
    }
}

/// One key (byte 2 of the selector) whose mask, after 16 bytes, is empty.
fn catches_all(selector: &[u8]) -> bool {
    selector.get(2) == Some(&1) && selector.get(16..).and_then(u32_of) == Some(0)
}

/// Where the first action sends packets.
fn redirection(options: Attrs<'_>) -> Option<u32> {
    let action = options.nested(TCA_U32_ACT).nested(1);
    if action.find(TCA_ACT_KIND).and_then(str_of) != Some("mirred") {
        return None;
    }
    let params = action.nested(TCA_ACT_OPTIONS).find(TCA_MIRRED_PARMS)?;
    let kind = params.get(20..).and_then(i32_of)?;
    params.get(24..).and_then(u32_of).filter(|_| kind == EGRESS_REDIRECT)
}
