//! CNI errors: a code of the spec, a stable phrase, and details that help.

use crate::limits;
use crate::put;
use crate::text::{Put, Sink};

/// An error code (spec 1.1.0, section "Error").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Code(pub u32);

impl Code {
    /// The config's cniVersion is not supported, or does not allow the command.
    pub const VERSION: Code = Code(1);
    /// A field of the config is not supported.
    pub const UNSUPPORTED: Code = Code(2);
    /// The container is unknown or does not exist.
    pub const CONTAINER: Code = Code(3);
    /// An environment variable is missing or invalid.
    pub const ENVIRONMENT: Code = Code(4);
    /// Reading stdin or a file failed.
    pub const IO: Code = Code(5);
    /// The config could not be decoded.
    pub const DECODE: Code = Code(6);
    /// The config is well formed but wrong.
    pub const CONFIG: Code = Code(7);
    /// The network namespace is wrong (the peer's use of 8).
    pub const NETNS: Code = Code(8);
    /// Something is in the way for now; the runtime may try again.
    pub const TRY_AGAIN: Code = Code(11);
    /// STATUS: the plugin cannot serve ADD.
    pub const NOT_AVAILABLE: Code = Code(50);
    /// STATUS: as 50, and existing containers may have limited connectivity.
    pub const LIMITED: Code = Code(51);
    /// Ours: a capacity of [`limits`](crate::limits) was exceeded.
    pub const LIMIT: Code = Code(100);
    /// Ours: the kernel refused an operation.
    pub const KERNEL: Code = Code(101);
    /// Ours: a pool has no free address.
    pub const EXHAUSTED: Code = Code(102);
    /// Ours: an address, port or name is held by somebody else.
    pub const CONFLICT: Code = Code(103);
    /// Ours: CHECK found the attachment changed.
    pub const CHANGED: Code = Code(104);
    /// Ours: a delegated plugin failed without an error object.
    pub const DELEGATE: Code = Code(105);
    /// A defect of this program.
    pub const INTERNAL: Code = Code(999);
}

/// Bounded text for [`Error::details`].
pub type Details = heapless::String<{ limits::DETAILS }>;

/// A failure as CNI prints it.
///
/// `msg` never changes between releases; values, limits and the fix are in
/// `details`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Error {
    /// What kind of failure.
    pub code: Code,
    /// Stable short phrase.
    pub msg: &'static str,
    /// Value seen, what is allowed, what to do.
    pub details: Details,
    /// The operating system's error number, 0 if none.
    pub errno: i32,
    /// A delegated plugin's own error object is kept by the session and is
    /// printed instead of this one.
    pub foreign: bool,
}

/// Result with a CNI error.
pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    /// An error without details.
    #[must_use]
    #[cold]
    pub fn new(code: Code, msg: &'static str) -> Self {
        Error { code, msg, details: Details::new(), errno: 0, foreign: false }
    }

    /// An error with details made of parts, see [`err!`](crate::err).
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn of(code: Code, msg: &'static str, parts: &[&dyn Put]) -> Self {
        let mut error = Error::new(code, msg);
        crate::text::put_all(parts, &mut error.details);
        error
    }

    /// Adds one part to the details.
    #[must_use]
    #[cold]
    pub fn with(mut self, part: &dyn Put) -> Self {
        part.put(&mut self.details);
        self
    }

    /// A capacity was exceeded; `limit` is the constant's name in `limits.rs`.
    #[must_use]
    #[cold]
    pub fn limit(limit: &'static str, allowed: usize) -> Self {
        let mut error = Error::new(Code::LIMIT, "limit exceeded");
        put!(&mut error.details, limit, " allows ", allowed);
        error
    }

    /// The same error under another code (STATUS turns failures into 50).
    #[must_use]
    pub fn as_code(mut self, code: Code) -> Self {
        self.code = code;
        self
    }
}

/// Builds an [`Error`]: `err!(CONFIG, "missing network name")` or
/// `err!(CONFIG, "invalid VLAN ID", vlan, " (must be between 0 and 4094)")`.
#[macro_export]
macro_rules! err {
    ($code:ident, $msg:expr $(, $part:expr)* $(,)?) => {
        $crate::error::Error::of($crate::error::Code::$code, $msg, &[$(&&$part as &dyn $crate::text::Put),*])
    };
}

/// Many failures of one teardown: the first is reported, the others are counted
/// and named in its details, so that DEL and GC go on past errors.
#[derive(Debug, Default)]
pub struct Failures {
    first: Option<Error>,
    more: u32,
}

impl Failures {
    /// No failure yet.
    #[must_use]
    pub const fn new() -> Self {
        Failures { first: None, more: 0 }
    }

    /// Notes the failure of a step, if it failed.
    pub fn note(&mut self, step: Result<()>) {
        let Err(error) = step else { return };
        match &mut self.first {
            None => self.first = Some(error),
            Some(first) => {
                self.more = self.more.saturating_add(1);
                put!(&mut first.details, "; also: ", error.msg);
                if !error.details.is_empty() {
                    put!(&mut first.details, " (", error.details.as_str(), ")");
                }
            }
        }
    }

    /// The first failure with the rest in its details, or success.
    ///
    /// # Errors
    /// The first failure noted.
    pub fn into_result(self) -> Result<()> {
        self.first.map_or(Ok(()), Err)
    }
}

impl Put for Error {
    fn put(&self, out: &mut dyn Sink) {
        out.text(self.msg);
        if !self.details.is_empty() {
            put!(out, ": ", self.details.as_str());
        }
    }
}
