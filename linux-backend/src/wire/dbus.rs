//! D-Bus messages: method calls whose arguments are strings, and the replies
//! to them.
//!
//! A message is a header of 16 bytes, a list of fields, padding to 8 bytes, and
//! a body. Every value is aligned to its size, counted from the message's start.
//!
//! Source: the D-Bus Specification, "Message Protocol" and "Authentication
//! Protocol".

/// Bytes that say how long a message is.
pub const PREFIX: usize = 16;

const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const VERSION: u8 = 1;

/// Codes of header fields.
mod field {
    pub(super) const PATH: u8 = 1;
    pub(super) const INTERFACE: u8 = 2;
    pub(super) const MEMBER: u8 = 3;
    pub(super) const ERROR_NAME: u8 = 4;
    pub(super) const REPLY_SERIAL: u8 = 5;
    pub(super) const DESTINATION: u8 = 6;
    pub(super) const SIGNATURE: u8 = 8;
}

/// A call of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodCall<'a> {
    /// A name on the bus.
    pub destination: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Arguments, strings all of them.
    pub arguments: &'a [&'a str],
}

/// Writes values into a fixed buffer, aligned.
struct Writer<'b> {
    buffer: &'b mut [u8],
    length: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let room = self.buffer.get_mut(self.length..).unwrap_or_default();
        for (slot, byte) in room.iter_mut().zip(bytes) {
            *slot = *byte;
        }
        // Beyond the buffer it still counts, so that the end can tell.
        self.length = self.length.saturating_add(bytes.len());
    }

    fn align(&mut self, to: usize) {
        while self.length & to.saturating_sub(1) != 0 {
            self.put(&[0]);
        }
    }

    fn u32(&mut self, value: u32) {
        self.align(4);
        self.put(&value.to_le_bytes());
    }

    fn string(&mut self, text: &str) {
        self.u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        self.put(text.as_bytes());
        self.put(&[0]);
    }

    /// A header field whose value is of a type with the string's layout.
    fn field(&mut self, code: u8, kind: u8, text: &str) {
        self.align(8);
        self.put(&[code, 1, kind, 0]);
        self.string(text);
    }

    /// Sets four bytes that were written before.
    fn patch(&mut self, at: usize, value: usize) {
        let value = u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
        for (slot, byte) in self.buffer.iter_mut().skip(at).zip(value) {
            *slot = byte;
        }
    }
}

impl MethodCall<'_> {
    /// Writes the message; its length, or nothing if it does not fit.
    pub fn emit(&self, serial: u32, buffer: &mut [u8]) -> Option<usize> {
        let room = buffer.len();
        let mut out = Writer { buffer, length: 0 };
        // Little-endian, no flags, body and fields of a length that is known later.
        out.put(&[b'l', METHOD_CALL, 0, VERSION]);
        out.u32(0);
        out.u32(serial);
        out.u32(0);
        out.field(field::PATH, b'o', self.path);
        out.field(field::INTERFACE, b's', self.interface);
        out.field(field::MEMBER, b's', self.member);
        out.field(field::DESTINATION, b's', self.destination);
        if !self.arguments.is_empty() {
            out.align(8);
            let count = u8::try_from(self.arguments.len()).ok()?;
            out.put(&[field::SIGNATURE, 1, b'g', 0, count]);
            for _ in self.arguments {
                out.put(b"s");
            }
            out.put(&[0]);
        }
        out.patch(12, out.length.saturating_sub(PREFIX));
        out.align(8);
        let body = out.length;
        for argument in self.arguments {
            out.string(argument);
        }
        out.patch(4, out.length.saturating_sub(body));
        (out.length <= room).then_some(out.length)
    }
}

/// Reads values in the byte order of a message, aligned.
#[derive(Debug, Clone, Copy)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let bytes = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(bytes)
    }

    fn align(&mut self, to: usize) -> Option<()> {
        let over = self.at & to.saturating_sub(1);
        if over != 0 {
            self.take(to.saturating_sub(over))?;
        }
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes = *self.take(4)?.first_chunk()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    fn text(&mut self, length: usize) -> Option<&'a str> {
        let text = core::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }

    fn string(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.text(length)
    }

    fn signature(&mut self) -> Option<&'a str> {
        let length = self.byte()?;
        self.text(usize::from(length))
    }
}

fn reader(bytes: &[u8]) -> Option<Reader<'_>> {
    let big_endian = match bytes.first()? {
        b'l' => false,
        b'B' => true,
        _ => return None,
    };
    Some(Reader { bytes, at: 4, big_endian })
}

/// How long a message is, by its first [`PREFIX`] bytes; `None` if it is none.
#[must_use]
pub fn length(prefix: &[u8]) -> Option<usize> {
    let mut reader = reader(prefix)?;
    let body = usize::try_from(reader.u32()?).ok()?;
    let _serial = reader.u32()?;
    let fields = usize::try_from(reader.u32()?).ok()?;
    let padded = PREFIX.checked_add(fields)?.checked_add(7)? & !7;
    padded.checked_add(body)
}

/// What a call was answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Success.
    Return {
        /// The first value, if it is a boolean.
        boolean: Option<bool>,
    },
    /// Failure.
    Error {
        /// Its name, like `org.freedesktop.DBus.Error.ServiceUnknown`.
        name: &'a str,
        /// What it says.
        text: &'a str,
    },
}

/// The answer to the call with this serial number; `None` if the message is
/// something else, such as a signal, or cannot be read.
#[must_use]
pub fn answer(message: &[u8], serial: u32) -> Option<Answer<'_>> {
    let kind = message.get(1).copied()?;
    let mut reader = reader(message)?;
    let _body = reader.u32()?;
    let _serial = reader.u32()?;
    let fields_end = PREFIX.checked_add(usize::try_from(reader.u32()?).ok()?)?;
    let (mut reply_to, mut name, mut signature) = (None, "", "");
    while reader.at < fields_end {
        reader.align(8)?;
        let code = reader.byte()?;
        match (reader.signature()?, code) {
            ("u", field::REPLY_SERIAL) => reply_to = Some(reader.u32()?),
            ("u", _) => {
                reader.u32()?;
            }
            ("s", field::ERROR_NAME) => name = reader.string()?,
            ("s" | "o", _) => {
                reader.string()?;
            }
            ("g", field::SIGNATURE) => signature = reader.signature()?,
            // No field has another type.
            _ => return None,
        }
    }
    if reply_to != Some(serial) {
        return None;
    }
    reader.align(8)?;
    match (kind, signature.bytes().next()) {
        (METHOD_RETURN, Some(b'b')) => Some(Answer::Return { boolean: Some(reader.u32()? != 0) }),
        (METHOD_RETURN, _) => Some(Answer::Return { boolean: None }),
        (ERROR, Some(b's')) => Some(Answer::Error { name, text: reader.string()? }),
        (ERROR, _) => Some(Answer::Error { name, text: "" }),
        _ => None,
    }
}

/// The line that says who connects: `AUTH EXTERNAL` with the decimal user ID as
/// hexadecimal digits of its characters, after a NUL byte.
#[must_use]
pub fn hello(uid: u32) -> heapless::String<64> {
    let decimal: heapless::String<10> = picocni_core::text::fits(&[&uid]).unwrap_or_default();
    let mut line = heapless::String::new();
    // 16 bytes, two for each of up to ten digits, and two.
    let _ = line.push_str("\0AUTH EXTERNAL ");
    for digit in decimal.chars() {
        let _ = line.push('3');
        let _ = line.push(digit);
    }
    let _ = line.push_str("\r\n");
    line
}

/// Where a bus listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A socket in the file system.
    Path(heapless::String<108>),
    /// A socket in Linux's abstract name space.
    Abstract(heapless::Vec<u8, 108>),
}

/// The first entry of a list of server addresses that names a Unix socket:
/// `unix:path=/run/dbus/system_bus_socket,guid=…;tcp:…`.
#[must_use]
pub fn place(addresses: &str) -> Option<Place> {
    addresses.split(|c| c == ';').find_map(|address| {
        let options = address.strip_prefix("unix:")?;
        options.split(|c| c == ',').find_map(|option| {
            let (key, value) = option.split_once(|c| c == '=')?;
            match key {
                "path" => unescape(value).and_then(|path| heapless::String::from_utf8(path).ok()).map(Place::Path),
                "abstract" => unescape(value).map(Place::Abstract),
                _ => None,
            }
        })
    })
}

/// `%` and two hexadecimal digits are a byte.
fn unescape(value: &str) -> Option<heapless::Vec<u8, 108>> {
    let mut out = heapless::Vec::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
            high.checked_shl(4)? | low
        } else {
            byte
        };
        out.push(byte).ok()?;
    }
    (!out.is_empty()).then_some(out)
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests")]
    use super::*;
    extern crate std;
    use std::vec::Vec;

    const ASK: MethodCall<'static> = MethodCall {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member: "NameHasOwner",
        arguments: &["org.a.B"],
    };

    /// As dbus-send (dbus 1.14) sends it.
    const SENT: &str = include_str!("golden/dbus_call.hex");
    /// What dbus-daemon answers: yes, an error, and the signal NameAcquired.
    const ANSWERS: &str = include_str!("golden/dbus_answers.hex");

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.trim().bytes().map(|b| digit(b).unwrap()).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    #[test]
    fn a_call_is_what_dbus_send_sends() {
        let mut buffer = [0xaa; 512];
        let length = ASK.emit(2, &mut buffer).unwrap();
        let golden = bytes(SENT);
        assert_eq!(super::length(&golden), Some(golden.len()));
        assert_eq!(super::length(&buffer[..length]), Some(length));
        assert_eq!(fields(&buffer[..length]), fields(&golden));
        assert_eq!(buffer[length - 12..length], golden[golden.len() - 12..], "the body");
        for room in 0..length {
            assert_eq!(ASK.emit(2, &mut buffer[..room]), None);
        }
    }

    /// Header fields in the order of their codes, which nobody prescribes.
    fn fields(message: &[u8]) -> Vec<(u8, std::string::String)> {
        let mut reader = reader(message).unwrap();
        let end = {
            reader.u32().unwrap();
            reader.u32().unwrap();
            PREFIX + reader.u32().unwrap() as usize
        };
        let mut all = Vec::new();
        while reader.at < end {
            reader.align(8).unwrap();
            let code = reader.byte().unwrap();
            let value = match reader.signature().unwrap() {
                "g" => reader.signature(),
                _ => reader.string(),
            };
            all.push((code, value.unwrap().into()));
        }
        all.sort();
        all
    }

    #[test]
    fn answers_are_read() {
        let all: Vec<Vec<u8>> = ANSWERS.lines().filter(|l| !l.starts_with('#')).map(bytes).collect();
        let [yes, unknown, signal] = &all[..] else { std::panic!("three messages") };
        assert_eq!(answer(yes, 2), Some(Answer::Return { boolean: Some(true) }));
        assert_eq!(answer(yes, 3), None, "of another call");
        assert_eq!(answer(signal, 2), None);
        let Some(Answer::Error { name, text }) = answer(unknown, 2) else { std::panic!("an error") };
        assert_eq!(name, "org.freedesktop.DBus.Error.ServiceUnknown");
        assert!(text.contains("org.a.B"), "{text}");
        for message in &all {
            assert_eq!(length(message), Some(message.len()));
            hurt(message);
        }
    }

    /// Neither a cut nor a changed byte may do more than be refused.
    fn hurt(message: &[u8]) {
        for end in 0..message.len() {
            let _ = (length(&message[..end]), answer(&message[..end], 2));
            for value in [0, 1, b'B', 0x7f, 0xff] {
                let mut changed = message.to_vec();
                changed[end] = value;
                let _ = (length(&changed), answer(&changed, 2));
            }
        }
    }

    #[test]
    fn big_endian_answers_are_read() {
        let message = [
            b'B', 2, 0, 1, 0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 15, 5, 1, b'u', 0, 0, 0, 0, 2, 8, 1, b'g', 0, 1, b'b', 0,
            0, 0, 0, 0, 1,
        ];
        assert_eq!(length(&message), Some(message.len()));
        assert_eq!(answer(&message, 2), Some(Answer::Return { boolean: Some(true) }));
    }

    #[test]
    fn lengths_that_cannot_be_are_no_length() {
        let mut prefix = [0xff; PREFIX];
        prefix[0] = b'l';
        assert!(length(&prefix).is_none_or(|length| length > 1 << 32));
        assert_eq!(length(b"HTTP/1.1 400 Bad"), None);
        assert_eq!(length(&prefix[..15]), None);
    }

    #[test]
    fn who_connects_is_said_in_hexadecimal() {
        assert_eq!(hello(0), "\0AUTH EXTERNAL 30\r\n");
        assert_eq!(hello(1000), "\0AUTH EXTERNAL 31303030\r\n");
        assert_eq!(hello(u32::MAX).len(), 37);
    }

    #[test]
    fn the_first_unix_socket_counts() {
        let path = |text: &str| Some(Place::Path(heapless::String::try_from(text).unwrap()));
        assert_eq!(place("unix:path=/run/dbus/system_bus_socket"), path("/run/dbus/system_bus_socket"));
        assert_eq!(place("tcp:host=x,port=1;unix:guid=0,path=/a%20b"), path("/a b"));
        let name = heapless::Vec::from_slice(b"bus").unwrap();
        assert_eq!(place("unix:abstract=bus,guid=0"), Some(Place::Abstract(name)));
        for none in ["", "unix:", "unix:path=", "unix:path=/a%2", "unix:path=/a%zz", "unix:runtime=yes", "tcp:host=x"] {
            assert_eq!(place(none), None, "{none}");
        }
        let long: std::string::String = ["unix:path=/", &"x".repeat(108)].concat();
        assert_eq!(place(&long), None);
    }
}
