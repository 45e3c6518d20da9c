//! Typed values from and to JSON without a panic site.
//!
//! The same two functions as in the parent module, where `serde-json-core` does
//! the work. That crate indexes slices in every string and number it reads or
//! writes, and the optimiser cannot prove the indices in range: a binary that
//! must link without the panic machinery uses these instead. The tests hold the
//! two against each other.

mod read;
mod write;

use super::DecodeError;
use super::write::{Overflow, Writer};

/// Reads a typed value from canonical text.
///
/// Recursion is as deep as the type, not as the text.
///
/// # Errors
/// [`DecodeError`] where the text does not fit `T`. Floating point numbers,
/// enumerations with values and self-describing types are not supported, and
/// never fit.
pub fn from_canonical<'a, T>(text: &'a str) -> Result<T, DecodeError>
where
    T: serde::Deserialize<'a>,
{
    read::from_str(text)
}

/// Writes a typed value. Returns the number of bytes.
///
/// # Errors
/// [`Overflow`] if `out` is too small, or the type has no JSON form here
/// (floating point numbers, byte strings, map keys that are not strings).
pub fn to_slice<T: serde::Serialize + ?Sized>(
    value: &T,
    out: &mut [u8],
) -> Result<usize, Overflow> {
    let mut writer = Writer::new(out);
    value.serialize(&mut writer)?;
    writer.finish()
}
