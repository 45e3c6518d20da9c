//! Traffic control: token buckets, fq_codel, ingress qdiscs, and the filter that
//! redirects everything.
//!
//! Source: `include/uapi/linux/pkt_sched.h`, `pkt_cls.h`, `rtnetlink.h`,
//! `tc_act/tc_mirred.h`.

mod reply;

pub use reply::{Qdisc, Redirect};

use picocni_core::shaping::Bucket;

use super::nlmsg::{Batch, Mode, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, NLM_F_REPLACE, NLM_F_REQUEST};

/// Create or change a qdisc; also the kind of every qdisc in a reply (`RTM_NEWQDISC`).
pub const RTM_NEWQDISC: u16 = 36;
/// Delete a qdisc (`RTM_DELQDISC`).
pub const RTM_DELQDISC: u16 = 37;
/// Ask for a qdisc (`RTM_GETQDISC`).
pub const RTM_GETQDISC: u16 = 38;
/// Create a filter; also the kind of every filter in a reply (`RTM_NEWTFILTER`).
pub const RTM_NEWTFILTER: u16 = 44;
/// Ask for filters (`RTM_GETTFILTER`).
pub const RTM_GETTFILTER: u16 = 46;
/// Create actions (`RTM_NEWACTION`).
pub const RTM_NEWACTION: u16 = 48;

/// Parent of the qdisc that a link sends through (`TC_H_ROOT`).
pub const ROOT: u32 = 0xffff_ffff;
/// Parent of the qdisc that classifies what a link receives (`TC_H_INGRESS`).
pub const INGRESS: u32 = 0xffff_fff1;
/// Handle of that qdisc: `ffff:`.
pub const INGRESS_HANDLE: u32 = 0xffff_0000;
/// Handle of the token bucket, `1:`, as the reference plugins have it.
pub const BUCKET_HANDLE: u32 = 0x0001_0000;
/// The only class of a token bucket, `1:1`.
pub const BUCKET_CLASS: u32 = 0x0001_0001;

/// Bytes of `struct tcmsg`.
pub(crate) const TCMSG_LEN: usize = 20;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
/// `TC_LINKLAYER_ETHERNET`: without it the kernel asks for a table of rates.
const LINKLAYER_ETHERNET: u8 = 1;

const TCA_FQ_CODEL_TARGET: u16 = 1;
const TCA_FQ_CODEL_INTERVAL: u16 = 3;

const TCA_U32_CLASSID: u16 = 1;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
/// `TC_U32_TERMINAL`: a match ends the search.
const U32_TERMINAL: u8 = 1;

const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
/// `TCA_ACT_TAB`: the list of actions of a request about actions.
const TCA_ACT_TAB: u16 = 1;
const TCA_MIRRED_PARMS: u16 = 2;
/// `TCA_EGRESS_REDIR`.
const EGRESS_REDIRECT: i32 = 1;
/// `TC_ACT_STOLEN`: the packet has gone elsewhere.
const STOLEN: i32 = 4;

/// `ETH_P_ALL`: every protocol.
const EVERY_PROTOCOL: u16 = 3;

fn tcmsg(link: u32, handle: u32, parent: u32, info: u32) -> [u8; TCMSG_LEN] {
    let mut out = [0; TCMSG_LEN];
    for (to, from) in out.as_chunks_mut::<4>().0.iter_mut().zip([0, link, handle, parent, info]) {
        *to = from.to_ne_bytes();
    }
    out
}

/// Begins a request for a qdisc of this kind.
fn begin(batch: &mut Batch<'_>, seq: u32, flags: u16, [link, handle, parent]: [u32; 3], kind: &str) {
    batch.begin(RTM_NEWQDISC, flags, seq);
    batch.put_header(&tcmsg(link, handle, parent, 0));
    batch.attr_str0(TCA_KIND, kind);
}

/// Puts a token bucket at the root of what a link sends through; fails with
/// `EEXIST` if another qdisc with a handle is there.
pub fn add_bucket(batch: &mut Batch<'_>, seq: u32, link: u32, bucket: &Bucket) {
    begin(batch, seq, Mode::Exclusive.flags(), [link, BUCKET_HANDLE, ROOT], "tbf");
    let options = batch.nest_begin(TCA_OPTIONS);
    batch.attr(TCA_TBF_PARMS, &params(bucket));
    if u32::try_from(bucket.rate).is_err() {
        batch.attr_u64(TCA_TBF_RATE64, bucket.rate);
    }
    batch.nest_end(options);
    batch.end();
}

/// `struct tc_tbf_qopt`: two `struct tc_ratespec`, the second (of peaks) empty,
/// and three numbers.
fn params(bucket: &Bucket) -> [u8; 36] {
    let mut out = [0; 36];
    let rate = u32::try_from(bucket.rate).unwrap_or(u32::MAX);
    let link_layer = [0, LINKLAYER_ETHERNET, 0, 0];
    let numbers = [bucket.limit, bucket.buffer].map(u32::to_ne_bytes);
    let [limit, buffer] = numbers;
    let fields = [link_layer, [0; 4], rate.to_ne_bytes(), [0; 4], [0; 4], [0; 4], limit, buffer];
    for (slot, field) in out.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
        *slot = field;
    }
    out
}

/// Puts fq_codel behind the token bucket; 0 leaves a time to the kernel.
pub fn add_fq_codel(batch: &mut Batch<'_>, seq: u32, link: u32, target_us: u32, interval_us: u32) {
    begin(batch, seq, Mode::Create.flags(), [link, 0, BUCKET_CLASS], "fq_codel");
    let options = batch.nest_begin(TCA_OPTIONS);
    for (attribute, us) in [(TCA_FQ_CODEL_TARGET, target_us), (TCA_FQ_CODEL_INTERVAL, interval_us)] {
        if us > 0 {
            batch.attr_u32(attribute, us);
        }
    }
    batch.nest_end(options);
    batch.end();
}

/// Lets filters see what a link receives; fails with `EEXIST` if they can already.
pub fn add_ingress(batch: &mut Batch<'_>, seq: u32, link: u32) {
    begin(batch, seq, Mode::Exclusive.flags(), [link, INGRESS_HANDLE, INGRESS], "ingress");
    batch.end();
}

/// Deletes a qdisc, with all below it, if it has this handle.
pub fn delete(batch: &mut Batch<'_>, seq: u32, link: u32, handle: u32, parent: u32) {
    batch.begin(RTM_DELQDISC, NLM_F_REQUEST | NLM_F_ACK, seq);
    batch.put_header(&tcmsg(link, handle, parent, 0));
    batch.end();
}

/// Sends all that a link receives by another one first.
pub fn add_redirect(batch: &mut Batch<'_>, seq: u32, link: u32, to: u32) {
    batch.begin(RTM_NEWTFILTER, Mode::Exclusive.flags(), seq);
    // Priority 1, then the protocol in network order.
    let info = 1 << 16 | u32::from(EVERY_PROTOCOL.to_be());
    batch.put_header(&tcmsg(link, 0, INGRESS_HANDLE, info));
    batch.attr_str0(TCA_KIND, "u32");
    let options = batch.nest_begin(TCA_OPTIONS);
    batch.attr_u32(TCA_U32_CLASSID, 0x0001_0001);
    let actions = batch.nest_begin(TCA_U32_ACT);
    let first = batch.nest_begin(1);
    batch.attr_str0(TCA_ACT_KIND, "mirred");
    let mirred = batch.nest_begin(TCA_ACT_OPTIONS);
    batch.attr(TCA_MIRRED_PARMS, &redirection(to));
    batch.nest_end(mirred);
    batch.nest_end(first);
    batch.nest_end(actions);
    batch.attr(TCA_U32_SEL, &match_all());
    batch.nest_end(options);
    batch.end();
}

/// `struct tc_mirred`: index, capabilities, verdict, two counts, kind, link.
fn redirection(to: u32) -> [u8; 28] {
    let mut out = [0; 28];
    let fields =
        [[0; 4], [0; 4], STOLEN.to_ne_bytes(), [0; 4], [0; 4], EGRESS_REDIRECT.to_ne_bytes(), to.to_ne_bytes()];
    for (slot, field) in out.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
        *slot = field;
    }
    out
}

/// `struct tc_u32_sel` with one key whose mask is empty.
const fn match_all() -> [u8; 32] {
    let mut out = [0; 32];
    let [terminal, _, keys, ..] = &mut out;
    *terminal = U32_TERMINAL;
    *keys = 1;
    out
}

/// Asks for the qdisc of a link with this parent. The answer is the qdisc, if it
/// is one that the kernel shows, and an acknowledgement.
pub fn get(batch: &mut Batch<'_>, seq: u32, link: u32, parent: u32) {
    // Without the echo the kernel answers to subscribers only.
    batch.begin(RTM_GETQDISC, NLM_F_REQUEST | NLM_F_ACK | NLM_F_ECHO, seq);
    batch.put_header(&tcmsg(link, 0, parent, 0));
    batch.end();
}

/// Asks for the filters of what a link receives.
pub fn dump_filters(batch: &mut Batch<'_>, seq: u32, link: u32) {
    batch.begin(RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, seq);
    batch.put_header(&tcmsg(link, 0, INGRESS_HANDLE, 0));
    batch.end();
}

/// A qdisc that no kernel makes: its first option is a byte where at least four
/// have to be. `ENOENT` if the kind is unknown, another refusal if it is known.
pub fn probe_qdisc(batch: &mut Batch<'_>, seq: u32, link: u32, kind: &str) {
    /// None that a link has.
    const HANDLE: u32 = 0x7069_0000;
    // Replacing, so that a qdisc that is there is no answer.
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    begin(batch, seq, flags, [link, HANDLE, ROOT], kind);
    let options = batch.nest_begin(TCA_OPTIONS);
    batch.attr_u8(1, 0);
    batch.nest_end(options);
    batch.end();
}

/// An action that no kernel makes, since it has no options; answers as [`probe_qdisc`].
pub fn probe_action(batch: &mut Batch<'_>, seq: u32, kind: &str) {
    batch.begin(RTM_NEWACTION, Mode::Exclusive.flags(), seq);
    // struct tcamsg: the family and padding.
    batch.put_header(&[0; 4]);
    let list = batch.nest_begin(TCA_ACT_TAB);
    let first = batch.nest_begin(1);
    batch.attr_str0(TCA_ACT_KIND, kind);
    batch.nest_end(first);
    batch.nest_end(list);
    batch.end();
}
