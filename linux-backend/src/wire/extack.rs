//! Extended acknowledgements: the kernel's sentence about what was wrong.
//!
//! Source: `include/uapi/linux/netlink.h` (`enum nlmsgerr_attrs`). The kernel
//! sends them on sockets that have set `NETLINK_EXT_ACK`, in messages that
//! carry `NLM_F_ACK_TLVS`.

use super::attr::{Attrs, align, str_of, u32_of};
use super::nlmsg;

/// Human readable reason (`NLMSGERR_ATTR_MSG`).
const NLMSGERR_ATTR_MSG: u16 = 1;
/// Offset of the offending attribute in the request (`NLMSGERR_ATTR_OFFS`).
const NLMSGERR_ATTR_OFFS: u16 = 2;
/// Kind of an attribute that is missing (`NLMSGERR_ATTR_MISS_TYPE`).
const NLMSGERR_ATTR_MISS_TYPE: u16 = 5;

/// What the kernel told beyond the errno. Everything may be absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extack<'a> {
    /// The kernel's sentence, for example `Device does not exist`. It may come
    /// with success too: then it is a warning.
    pub message: Option<&'a str>,
    /// Bytes from the start of the request (its `nlmsghdr`) to the attribute
    /// that was refused.
    pub offset: Option<u32>,
    /// Kind of the attribute that the request lacked.
    pub missing_kind: Option<u32>,
}

impl<'a> Extack<'a> {
    /// Reads the attribute list that follows the acknowledgement proper.
    #[must_use]
    pub fn parse(tlvs: &'a [u8]) -> Self {
        let mut out = Self::default();
        for (kind, payload) in Attrs::new(tlvs) {
            match kind {
                NLMSGERR_ATTR_MSG => out.message = str_of(payload),
                NLMSGERR_ATTR_OFFS => out.offset = u32_of(payload),
                NLMSGERR_ATTR_MISS_TYPE => out.missing_kind = u32_of(payload),
                _ => {}
            }
        }
        out
    }

    /// Reads them from the payload of an `NLMSG_ERROR` with these header flags.
    ///
    /// After the errno comes the request: its header only when
    /// `NLM_F_CAPPED` is set, the whole of it otherwise.
    #[must_use]
    pub fn of_error(flags: u16, payload: &'a [u8]) -> Self {
        if flags & nlmsg::NLM_F_ACK_TLVS == 0 {
            return Self::default();
        }
        let request = payload.get(4..).unwrap_or(&[]);
        let skip = if flags & nlmsg::NLM_F_CAPPED == 0 {
            // nlmsg_len of the echoed request, as the sender wrote it.
            let len = u32_of(request).and_then(|n| usize::try_from(n).ok());
            align(len.unwrap_or(usize::MAX)).max(nlmsg::HEADER_LEN)
        } else {
            nlmsg::HEADER_LEN
        };
        Self::parse(request.get(skip..).unwrap_or(&[]))
    }
}
