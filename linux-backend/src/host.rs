//! [`Linux`]: the backend over this kernel.

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::observe::Ns;
use rustix::fd::{AsRawFd, OwnedFd};

use crate::bus::Bus;
use crate::errno;
use crate::socket::{NetlinkFamily, RECEIVE, SEND, Socket};
use crate::sys::Environ;
use crate::{netns, parting};

/// Buffers of the backend, owned by the entry point.
#[derive(Debug)]
pub struct Memory {
    /// Requests.
    pub(crate) send: [u8; SEND],
    /// Replies.
    pub(crate) receive: [u8; RECEIVE],
}

impl Memory {
    /// Empty buffers; `const`, so that they can be static.
    #[must_use]
    pub const fn new() -> Self {
        Memory { send: [0; SEND], receive: [0; RECEIVE] }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// The backend over this kernel. The calling thread is moved to the sandbox
/// and back; other threads of the process are not.
#[derive(Debug)]
pub struct Linux<'m> {
    pub(crate) memory: &'m mut Memory,
    pub(crate) environ: Environ,
    pub(crate) host: Option<Socket>,
    pub(crate) inner: Option<Socket>,
    pub(crate) netfilter: Option<Socket>,
    pub(crate) bus: Option<Bus>,
    pub(crate) own: Option<OwnedFd>,
    pub(crate) sandbox: Option<OwnedFd>,
    pub(crate) inside: bool,
    pub(crate) lock: Option<OwnedFd>,
    pub(crate) locked_sandbox: bool,
    pub(crate) machine: Option<u64>,
}

impl<'m> Linux<'m> {
    /// A backend that has opened nothing yet.
    #[must_use]
    pub const fn new(memory: &'m mut Memory, environ: Environ) -> Self {
        Linux {
            memory,
            environ,
            host: None,
            inner: None,
            netfilter: None,
            bus: None,
            own: None,
            sandbox: None,
            inside: false,
            lock: None,
            locked_sandbox: false,
            machine: None,
        }
    }

    /// Closes what the kernel would make the end of this process wait for.
    pub fn part(&mut self) {
        if let Some(socket) = self.netfilter.take() {
            parting::close(socket);
        }
    }

    /// Moves this process into a namespace of the current call.
    ///
    /// # Errors
    /// Code 8.
    pub(crate) fn be_in(&mut self, ns: Ns) -> Result<()> {
        if (ns == Ns::Sandbox) == self.inside {
            return Ok(());
        }
        if self.own.is_none() {
            self.own = Some(netns::own()?);
        }
        let target = if self.inside { &self.own } else { &self.sandbox };
        let target = target.as_ref().ok_or_else(|| err!(NETNS, "no sandbox is open"))?;
        netns::enter(target)?;
        self.inside = !self.inside;
        Ok(())
    }

    /// The descriptor of the namespace that this program runs in.
    ///
    /// # Errors
    /// Code 8.
    pub(crate) fn own_descriptor(&mut self) -> Result<u32> {
        if self.own.is_none() {
            self.be_in(Ns::Host)?;
            self.own = Some(netns::own()?);
        }
        let fd = self.own.as_ref().and_then(|fd| u32::try_from(fd.as_raw_fd()).ok());
        fd.ok_or_else(|| err!(INTERNAL, "own namespace is not open"))
    }

    /// Opens the namespace's rtnetlink socket if it is not open yet.
    ///
    /// # Errors
    /// Code 101.
    pub(crate) fn connect(&mut self, ns: Ns) -> Result<()> {
        let open = match ns {
            Ns::Host => self.host.is_some(),
            Ns::Sandbox => self.inner.is_some(),
        };
        if open {
            return Ok(());
        }
        self.be_in(ns)?;
        let socket = Socket::open(NetlinkFamily::Route)
            .map_err(|errno| errno::kernel("open", &"rtnetlink socket", errno.raw_os_error(), ""))?;
        match ns {
            Ns::Host => self.host = Some(socket),
            Ns::Sandbox => self.inner = Some(socket),
        }
        Ok(())
    }

    /// The namespace's rtnetlink socket and the buffers.
    ///
    /// # Errors
    /// Code 101.
    pub(crate) fn route_parts(&mut self, ns: Ns) -> Result<(&mut Socket, &mut Memory)> {
        self.connect(ns)?;
        let socket = match ns {
            Ns::Host => self.host.as_mut(),
            Ns::Sandbox => self.inner.as_mut(),
        };
        match socket {
            Some(socket) => Ok((socket, &mut *self.memory)),
            None => Err(err!(INTERNAL, "rtnetlink socket is not open")),
        }
    }

    /// The host's netfilter socket and the buffers.
    ///
    /// # Errors
    /// Code 101.
    pub(crate) fn filter_parts(&mut self) -> Result<(&mut Socket, &mut Memory)> {
        if self.netfilter.is_none() {
            self.be_in(Ns::Host)?;
            let socket = Socket::open(NetlinkFamily::Netfilter)
                .map_err(|errno| errno::kernel("open", &"netfilter socket", errno.raw_os_error(), ""))?;
            self.netfilter = Some(socket);
        }
        match self.netfilter.as_mut() {
            Some(socket) => Ok((socket, &mut *self.memory)),
            None => Err(err!(INTERNAL, "netfilter socket is not open")),
        }
    }
}

/// A program that embeds us goes on in the namespace it came from, also after
/// a call that failed inside the sandbox.
impl Drop for Linux<'_> {
    fn drop(&mut self) {
        // Nobody is left to tell; the next call would say that its own namespace is the sandbox.
        let _ = self.be_in(Ns::Host);
        self.part();
    }
}

/// Code 100 for a batch that is over the send buffer.
pub(crate) fn over_send() -> Error {
    Error::limit("SEND", SEND)
}
