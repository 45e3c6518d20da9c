//! Words that the caller or a file gives: CNI_ARGS, capability arguments, plain JSON strings.

use crate::err;
use crate::error::Result;
use crate::json;
use crate::json::raw::member;

/// Checks capability arguments: "" or a JSON object.
///
/// # Errors
/// Code 4.
pub(super) fn check_capability_args(text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    json::validate(text.as_bytes()).map_err(|fault| err!(ENVIRONMENT, "invalid capability arguments", fault))?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(err!(ENVIRONMENT, "invalid capability arguments", "expected a JSON object of capability to value"));
    }
    Ok(())
}

/// The pairs of CNI_ARGS, checked as libcni's tool checks them.
///
/// # Errors
/// Code 4: a pair without a key or a value.
pub(super) fn check_cni_args(text: &str) -> Result<()> {
    for pair in pairs(text) {
        match pair.split_once(is_equals) {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => {}
            _ => {
                return Err(err!(ENVIRONMENT, "invalid CNI_ARGS", "invalid CNI_ARGS pair \"", pair, "\""));
            }
        }
    }
    Ok(())
}

/// The pairs of CNI_ARGS.
pub(super) fn pairs(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_semicolon).filter(|_| !text.is_empty())
}

/// The key and the value of a pair.
pub(super) fn key_and_value(pair: &str) -> Option<(&str, &str)> {
    pair.split_once(is_equals)
}

// Functions, because searching for a `char` as a pattern leaves a panic path.
fn is_semicolon(character: char) -> bool {
    character == ';'
}

fn is_equals(character: char) -> bool {
    character == '='
}

/// A string member of canonical text, if it holds no escape.
pub(super) fn plain<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    member(text, key).and_then(unquoted)
}

/// The value of a JSON string, if it holds no escape.
pub(super) fn unquoted(value: &str) -> Option<&str> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    (!inner.contains('\\')).then_some(inner)
}
