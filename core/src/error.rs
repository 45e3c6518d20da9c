//! CNI errors: a code of the spec, a stable phrase, and details that help.

use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16};

use crate::limits;
use crate::text::{Put, Sink, put_template};
use crate::{err, put};

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
    /// Ours: a capacity of [`limits`] was exceeded.
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

/// A stable short phrase: a literal, by a thin pointer.
pub type Phrase = &'static &'static str;

/// A failure as CNI prints it.
///
/// `msg` never changes between releases; values, limits and the fix are in
/// `details`. An error is two machine words, because it is returned from almost
/// every function: with its text inside, an eighth of the program was code that
/// moved errors. The text is in a slot of this module, the only static of core,
/// which the error owns until it is dropped; while all [`SLOTS`] are owned, new
/// errors have no details.
pub struct Error {
    msg: Phrase,
    code: u16,
    errno: i16,
    slot: u8,
    /// A delegated plugin's own error object is kept by the session and is
    /// printed instead of this one.
    pub foreign: bool,
}

/// Result with a CNI error.
pub type Result<T> = core::result::Result<T, Error>;

/// Errors that can have details at the same time. One call holds two or three;
/// the rest is for programs that serve several calls at once.
pub const SLOTS: usize = 16;

/// Details of one error. Only its owner reads and writes; the cells are atomic
/// because that is what a static may hold without unsafe code.
struct Slot {
    owned: AtomicBool,
    length: AtomicU16,
    text: [AtomicU8; limits::DETAILS],
}

static TEXTS: [Slot; SLOTS] = [const {
    Slot {
        owned: AtomicBool::new(false),
        length: AtomicU16::new(0),
        text: [const { AtomicU8::new(0) }; limits::DETAILS],
    }
}; SLOTS];

impl Slot {
    /// Takes the slot if it is free.
    fn take(&self) -> bool {
        #[cfg(target_has_atomic = "8")]
        let free = !self.owned.swap(true, Acquire);
        // A processor without atomic exchange has one core, and its interrupts make no CNI calls.
        #[cfg(not(target_has_atomic = "8"))]
        let free = {
            let free = !self.owned.load(Acquire);
            self.owned.store(true, Relaxed);
            free
        };
        if free {
            self.length.store(0, Relaxed);
        }
        free
    }
}

/// Appends to an error's details.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct More(u8);

impl Sink for More {
    #[inline(never)]
    fn text(&mut self, text: &str) {
        let Some(slot) = TEXTS.get(usize::from(self.0)) else { return };
        let length = slot.length.load(Relaxed);
        let mut room = slot.text.iter().skip(usize::from(length));
        let mut written = 0u16;
        // Whole characters only.
        for c in text.chars() {
            let mut bytes = [0u8; 4];
            let encoded = c.encode_utf8(&mut bytes).as_bytes();
            if room.len() < encoded.len() {
                break;
            }
            for (byte, cell) in encoded.iter().zip(room.by_ref()) {
                cell.store(*byte, Relaxed);
                written = written.wrapping_add(1);
            }
        }
        slot.length.store(length.wrapping_add(written), Relaxed);
    }
}

impl Error {
    /// An error with details made of parts, see [`err!`](crate::err).
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn of(code: Code, msg: Phrase, template: &str, values: &[&dyn Put]) -> Self {
        let slot = (0u8..).zip(&TEXTS).find(|(_, slot)| slot.take()).map_or(u8::MAX, |(at, _)| at);
        // Codes above 65535 are nobody's: the spec's are below 100, ours below 1000.
        let error = Error { msg, code: u16::try_from(code.0).unwrap_or(999), errno: 0, slot, foreign: false };
        put_template(template, values, &mut error.more());
        error
    }

    /// A capacity was exceeded; `limit` is the constant's name in `limits.rs`.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn limit(limit: &'static str, allowed: usize) -> Self {
        err!(LIMIT, "limit exceeded", limit, " allows ", allowed)
    }

    /// What kind of failure.
    #[must_use]
    pub const fn code(&self) -> Code {
        Code(self.code as u32)
    }

    /// The same failure, printed as this program's own.
    #[must_use]
    pub fn own(mut self) -> Self {
        self.foreign = false;
        self
    }

    /// The same failure with other details.
    #[must_use]
    #[cold]
    pub fn with_details(self, parts: &[&dyn Put]) -> Self {
        let mut other = Error::of(self.code(), self.msg, "", &[]).with_errno(self.errno());
        other.foreign = self.foreign;
        parts.iter().for_each(|part| part.put(&mut other.more()));
        other
    }

    /// The same failure under another phrase, its details kept.
    #[must_use]
    pub fn as_phrase(mut self, msg: Phrase) -> Self {
        self.msg = msg;
        self
    }

    /// Stable short phrase.
    #[must_use]
    pub const fn msg(&self) -> &'static str {
        self.msg
    }

    /// The operating system's error number, 0 if none.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        self.errno as i32
    }

    /// Value seen, what is allowed, what to do.
    #[must_use]
    pub fn details(&self) -> Details {
        let mut text = Details::new();
        self.put_details(&mut text);
        text
    }

    /// Where more details go.
    #[must_use]
    pub const fn more(&self) -> More {
        More(self.slot)
    }

    /// Adds one part to the details.
    #[must_use]
    #[cold]
    pub fn with(self, part: &dyn Put) -> Self {
        part.put(&mut self.more());
        self
    }

    /// The same error under another code (STATUS turns failures into 50).
    #[must_use]
    pub fn as_code(mut self, code: Code) -> Self {
        self.code = u16::try_from(code.0).unwrap_or(999);
        self
    }

    /// The same error with the operating system's error number (at most 4095).
    #[must_use]
    pub fn with_errno(mut self, errno: i32) -> Self {
        self.errno = i16::try_from(errno).unwrap_or(i16::MAX);
        self
    }

    fn put_details(&self, out: &mut dyn Sink) {
        let Some(slot) = TEXTS.get(usize::from(self.slot)) else { return };
        let mut bytes = [0u8; limits::DETAILS];
        for (byte, cell) in bytes.iter_mut().zip(&slot.text) {
            *byte = cell.load(Relaxed);
        }
        let text = bytes.get(..usize::from(slot.length.load(Relaxed))).unwrap_or_default();
        out.text(core::str::from_utf8(text).unwrap_or(""));
    }
}

impl Drop for Error {
    fn drop(&mut self) {
        if let Some(slot) = TEXTS.get(usize::from(self.slot)) {
            slot.owned.store(false, Release);
        }
    }
}

impl Clone for Error {
    #[cold]
    fn clone(&self) -> Self {
        let mut other = Error::of(self.code(), self.msg, "", &[]).with(&self.details()).with_errno(self.errno());
        other.foreign = self.foreign;
        other
    }
}

impl PartialEq for Error {
    /// The same kind of failure: the details do not count.
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code && self.msg() == other.msg()
    }
}

impl Eq for Error {}

impl core::fmt::Debug for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.code)
            .field("msg", &self.msg)
            .field("details", &self.details())
            .finish()
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Error {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=u16}: {=str}: {=str}", self.code, self.msg(), self.details().as_str());
    }
}

/// Builds an [`Error`]: `err!(CONFIG, "missing network name")` or
/// `err!(CONFIG, "invalid VLAN ID", vlan, " (must be between 0 and 4094)")`.
/// The phrase is a literal or a [`Phrase`](crate::error::Phrase).
#[macro_export]
macro_rules! err {
    ($code:ident, $msg:literal $(, $($part:tt)*)?) => {
        $crate::template!([$crate::error::Error::of, $crate::error::Code::$code, &$msg] [] [] $($($part)*)?,)
    };
    ($code:ident, $msg:expr $(, $($part:tt)*)?) => {
        $crate::template!([$crate::error::Error::of, $crate::error::Code::$code, $msg] [] [] $($($part)*)?,)
    };
}

/// Many failures of one teardown: the first is reported, the others are named
/// in its details, so that DEL and GC go on past errors.
#[derive(Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Failures {
    first: Option<Error>,
}

impl Failures {
    /// No failure yet.
    #[must_use]
    pub const fn new() -> Self {
        Failures { first: None }
    }

    /// Notes the failure of a step, if it failed.
    pub fn note(&mut self, step: Result<()>) {
        let Err(error) = step else { return };
        match &self.first {
            None => self.first = Some(error),
            Some(first) => put!(&mut first.more(), "; also: ", error),
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
        out.text(self.msg());
        let details = self.details();
        if !details.is_empty() {
            put!(out, ": ", details);
        }
    }
}
