//! One value: a scalar, or the opening bracket of what follows.

use super::{DEPTH, ErrorKind, Expected, Frame, Kind, Scanner, Shape, Stop, lex};

impl Scanner<'_, '_> {
    /// Reads a scalar to its end, or an opening bracket.
    pub(super) fn value(&mut self, kind: Kind) -> Result<(), Stop> {
        let kind = kind.inner();
        match self.peek() {
            Some(b'{') => {
                let shape = match kind {
                    Kind::Object(keys) => Shape::Keys(keys),
                    Kind::Map(of, limit) => Shape::Map(of, limit),
                    Kind::Any => Shape::Object { write: true },
                    Kind::Raw => Shape::Object { write: false },
                    _ => return self.wrong_type(kind),
                };
                self.open(shape, b'{')
            }
            Some(b'[') => {
                let shape = match kind {
                    Kind::Array(of, limit) => Shape::List(of, limit),
                    Kind::Any => Shape::Array { write: true },
                    Kind::Raw => Shape::Array { write: false },
                    _ => return self.wrong_type(kind),
                };
                self.open(shape, b'[')
            }
            Some(b'"') => self.string_value(kind),
            Some(b'-' | b'0'..=b'9') => self.number_value(kind),
            Some(b't') => self.bool_value(kind, b"true"),
            Some(b'f') => self.bool_value(kind, b"false"),
            Some(b'n') => {
                if !lex::word(self.text, self.pos, b"null") {
                    return self.bad_word(kind);
                }
                match kind {
                    Kind::Any => self.put(b"null")?,
                    Kind::Raw => {}
                    _ => return self.wrong_type(kind),
                }
                self.advance(4);
                Ok(())
            }
            Some(_) => self.stop_with(self.pos, ErrorKind::Syntax, kind.expected()),
            None => self.stop_with(self.pos, ErrorKind::Truncated, kind.expected()),
        }
    }

    /// An array element or map entry: as in Go, `null` is the zero value there.
    pub(super) fn element(&mut self, kind: Kind) -> Result<(), Stop> {
        if !lex::word(self.text, self.pos, b"null") {
            return self.value(kind);
        }
        let zero: &[u8] = match kind {
            Kind::Str => b"\"\"",
            Kind::Bool | Kind::BoolOrStr => b"false",
            Kind::Int { min, max } if min <= 0 && max >= 0 => b"0",
            Kind::Uint { min: 0, .. } => b"0",
            Kind::Object(_) | Kind::Map(..) => b"{}",
            Kind::Array(..) => b"[]",
            Kind::Any | Kind::Raw => b"null",
            Kind::Int { .. } | Kind::Uint { .. } | Kind::Spanned(_) => {
                return self.stop_with(self.pos, ErrorKind::OutOfRange, kind.expected());
            }
        };
        self.put(zero)?;
        self.advance(4);
        Ok(())
    }

    fn open(&mut self, shape: Shape, bracket: u8) -> Result<(), Stop> {
        if shape.writes() {
            self.put(&[bracket])?;
        }
        let frame =
            Frame { shape, first: true, written: 0, seen: 0, body: self.len, raw: self.pos, span: None, key: self.key };
        if self.stack.push(frame).is_err() {
            let kind = ErrorKind::Limit { name: "json::DEPTH", max: DEPTH };
            return self.stop_with(self.pos, kind, Expected::Text("levels of brackets"));
        }
        self.advance(1);
        Ok(())
    }

    fn string_value(&mut self, kind: Kind) -> Result<(), Stop> {
        let start = self.pos;
        let token = self.string()?;
        match kind {
            Kind::Str | Kind::Any => self.put_string(token),
            Kind::Raw => Ok(()),
            Kind::BoolOrStr => {
                if self.spells(token, "true") {
                    self.put(b"true")
                } else if self.spells(token, "false") {
                    self.put(b"false")
                } else {
                    self.stop_with(start, ErrorKind::WrongType, kind.expected())
                }
            }
            _ => self.stop_with(start, ErrorKind::WrongType, kind.expected()),
        }
    }

    fn bool_value(&mut self, kind: Kind, word: &'static [u8]) -> Result<(), Stop> {
        if !lex::word(self.text, self.pos, word) {
            return self.bad_word(kind);
        }
        match kind {
            Kind::Bool | Kind::BoolOrStr | Kind::Any => self.put(word)?,
            Kind::Raw => {}
            _ => return self.wrong_type(kind),
        }
        self.advance(word.len());
        Ok(())
    }

    fn number_value(&mut self, kind: Kind) -> Result<(), Stop> {
        let start = self.pos;
        let (end, integer) = match lex::number(self.text, start) {
            Ok(found) => found,
            Err(error) => return self.lexical(error),
        };
        let digits = self.source.get(start..end).unwrap_or_default();
        let fits = match kind {
            Kind::Int { min, max } if integer => digits.parse::<i64>().is_ok_and(|value| (min..=max).contains(&value)),
            Kind::Uint { min, max } if integer => digits.parse::<u64>().is_ok_and(|value| (min..=max).contains(&value)),
            Kind::Any | Kind::Raw => true,
            _ => return self.wrong_type(kind),
        };
        if !fits {
            return self.stop_with(start, ErrorKind::OutOfRange, kind.expected());
        }
        self.pos = end;
        match kind {
            Kind::Raw => Ok(()),
            // The one integer with two spellings.
            Kind::Int { .. } if digits == "-0" => self.put(b"0"),
            _ => self.put(digits.as_bytes()),
        }
    }

    fn wrong_type(&mut self, kind: Kind) -> Result<(), Stop> {
        self.stop_with(self.pos, ErrorKind::WrongType, kind.expected())
    }

    /// Letters that are no literal of JSON, or the start of one.
    fn bad_word(&mut self, kind: Kind) -> Result<(), Stop> {
        let rest = self.text.get(self.pos..).unwrap_or_default();
        let cut = [&b"true"[..], b"false", b"null"].iter().any(|word| word.starts_with(rest));
        let fault = if cut { ErrorKind::Truncated } else { ErrorKind::Syntax };
        self.stop_with(self.pos, fault, kind.expected())
    }
}
