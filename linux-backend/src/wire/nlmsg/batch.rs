//! Writes requests into a fixed buffer.

use crate::wire::attr::{self, align};

/// The messages did not fit into the buffer, or an attribute did not fit its
/// 16-bit length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// An open nested attribute; hand it back to [`Batch::nest_end`].
#[derive(Debug)]
#[must_use = "a nest that is not ended has a wrong length"]
pub struct Nest {
    start: usize,
}

/// Writes netlink messages one after another into a fixed buffer.
///
/// ```text
/// batch.begin(kind, flags, seq); batch.put_header(&ifinfomsg);
/// batch.attr_u32(IFLA_MTU, 1500); batch.end();
/// send(batch.finish()?)
/// ```
///
/// Running out of room is remembered, everything after it is ignored, and
/// [`Batch::finish`] reports it: no call in between needs a check. Messages,
/// family headers and attributes are padded to 4 bytes with zeros.
#[derive(Debug)]
pub struct Batch<'b> {
    buf: &'b mut [u8],
    len: usize,
    /// Start of the message that is open.
    open: Option<usize>,
    count: usize,
    overflow: bool,
}

impl<'b> Batch<'b> {
    /// An empty batch over `buf`, whose content does not matter.
    #[must_use]
    pub const fn new(buf: &'b mut [u8]) -> Self {
        Self { buf, len: 0, open: None, count: 0, overflow: false }
    }

    /// Forgets everything, the overflow too.
    pub const fn clear(&mut self) {
        self.len = 0;
        self.open = None;
        self.count = 0;
        self.overflow = false;
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True when nothing has been written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Messages begun so far.
    #[must_use]
    pub const fn message_count(&self) -> usize {
        self.count
    }

    /// True once something did not fit.
    #[must_use]
    pub const fn overflowed(&self) -> bool {
        self.overflow
    }

    /// Starts a message. One that is still open is ended first.
    pub fn begin(&mut self, msg_type: u16, flags: u16, seq: u32) {
        self.end();
        self.open = Some(self.len);
        self.count = self.count.saturating_add(1);
        self.put(&0u32.to_ne_bytes());
        self.put(&msg_type.to_ne_bytes());
        self.put(&flags.to_ne_bytes());
        self.put(&seq.to_ne_bytes());
        // Port 0: the kernel fills in the socket's own.
        self.put(&0u32.to_ne_bytes());
    }

    /// Ends the open message by writing its length. No-op if none is open.
    pub fn end(&mut self) {
        let Some(start) = self.open.take() else {
            return;
        };
        match u32::try_from(self.len.saturating_sub(start)) {
            Ok(len) => self.patch(start, &len.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
    }

    /// Writes a family header (`ifinfomsg`, `nfgenmsg`, ...), padded. Also
    /// used for the header inside a nest, such as that of `VETH_INFO_PEER`.
    pub fn put_header(&mut self, header: &[u8]) {
        self.put(header);
        self.pad();
    }

    /// Writes one attribute. `kind` may carry `NLA_F_NET_BYTEORDER`.
    pub fn attr(&mut self, kind: u16, payload: &[u8]) {
        self.attr_parts(kind, payload, &[]);
    }

    /// Writes an attribute of one byte.
    pub fn attr_u8(&mut self, kind: u16, value: u8) {
        self.attr(kind, &[value]);
    }

    /// Writes an attribute in host order.
    pub fn attr_u16(&mut self, kind: u16, value: u16) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// Writes an attribute in host order.
    pub fn attr_u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// Writes an attribute in host order.
    pub fn attr_u64(&mut self, kind: u16, value: u64) {
        self.attr(kind, &value.to_ne_bytes());
    }

    /// Writes an attribute in network order.
    pub fn attr_be16(&mut self, kind: u16, value: u16) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// Writes an attribute in network order.
    pub fn attr_be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// Writes an attribute in network order.
    pub fn attr_be64(&mut self, kind: u16, value: u64) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// Writes text with a NUL at its end.
    pub fn attr_str0(&mut self, kind: u16, text: &str) {
        self.attr_parts(kind, text.as_bytes(), &[0]);
    }

    /// Writes an address in its 4 or 16 bytes.
    pub fn attr_ip(&mut self, kind: u16, ip: core::net::IpAddr) {
        match ip {
            core::net::IpAddr::V4(v4) => self.attr(kind, &v4.octets()),
            core::net::IpAddr::V6(v6) => self.attr(kind, &v6.octets()),
        }
    }

    /// Opens a nested attribute. `NLA_F_NESTED` is added: nfnetlink and newer
    /// rtnetlink attributes ask for it, the others ignore it.
    pub fn nest_begin(&mut self, kind: u16) -> Nest {
        let start = self.len;
        self.put(&0u16.to_ne_bytes());
        self.put(&(kind | attr::NLA_F_NESTED).to_ne_bytes());
        Nest { start }
    }

    /// Closes a nested attribute by writing its length.
    #[allow(clippy::needless_pass_by_value, reason = "a nest is ended once; the caller must not keep it")]
    pub fn nest_end(&mut self, nest: Nest) {
        match u16::try_from(self.len.saturating_sub(nest.start)) {
            Ok(len) => self.patch(nest.start, &len.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
    }

    /// The bytes to send. A message still open is ended.
    ///
    /// # Errors
    /// [`Overflow`] if anything did not fit since the last [`Batch::clear`].
    pub fn finish(&mut self) -> Result<&[u8], Overflow> {
        self.end();
        if self.overflow {
            return Err(Overflow);
        }
        self.buf.get(..self.len).ok_or(Overflow)
    }

    fn attr_parts(&mut self, kind: u16, head: &[u8], tail: &[u8]) {
        let len = attr::HEADER_LEN.saturating_add(head.len()).saturating_add(tail.len());
        let Ok(len) = u16::try_from(len) else {
            self.overflow = true;
            return;
        };
        self.put(&len.to_ne_bytes());
        self.put(&kind.to_ne_bytes());
        self.put(head);
        self.put(tail);
        self.pad();
    }

    fn put(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        match self.buf.get_mut(self.len..end) {
            // After an overflow nothing is appended, not even what would fit.
            Some(room) if !self.overflow => {
                // A zip has no length check that could panic.
                for (to, from) in room.iter_mut().zip(bytes) {
                    *to = *from;
                }
                self.len = end;
            }
            _ => self.overflow = true,
        }
    }

    fn pad(&mut self) {
        let missing = align(self.len).saturating_sub(self.len);
        self.put([0u8; 3].get(..missing).unwrap_or(&[]));
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        if self.overflow {
            return;
        }
        let room = self.buf.get_mut(at..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
    }
}
