//! Name resolution out of a resolv.conf(5) file.

use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::limits;
use picocni_core::result::Dns;
use picocni_core::session::Session;
use picocni_core::text::fits;

/// Bytes of a resolv.conf(5); glibc itself stops at a few hundred useful ones.
const FILE: usize = 4096;

/// Reads `path`; `search` and `options` lines add up, comments begin with `#` or `;`.
pub(super) fn read(session: &mut Session<'_>, path: &str, dns: &mut Dns) -> Result<()> {
    let mut bytes = [0u8; FILE];
    let length =
        session.backend.read_file(path, &mut bytes)?.ok_or_else(|| err!(CONFIG, "resolvConf does not exist", path))?;
    let text = bytes.get(..length).ok_or_else(|| Error::limit("resolvConf bytes", FILE))?;
    let text = core::str::from_utf8(text).map_err(|_| err!(CONFIG, "resolvConf is not text", path))?;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("nameserver") => {
                if let Some(server) = words.next() {
                    push(&mut dns.nameservers, server)?;
                }
            }
            Some("domain") => {
                if let Some(domain) = words.next() {
                    dns.domain = name(domain)?;
                }
            }
            Some("search") => words.try_for_each(|word| push(&mut dns.search, word))?,
            Some("options") => words.try_for_each(|word| push(&mut dns.options, word))?,
            _ => {}
        }
    }
    Ok(())
}

fn name<const N: usize>(text: &str) -> Result<heapless::String<N>> {
    fits(&[&text]).ok_or_else(|| Error::limit("DNS_NAME", N))
}

fn push<const N: usize>(
    list: &mut heapless::Vec<heapless::String<N>, { limits::DNS_ENTRIES }>,
    text: &str,
) -> Result<()> {
    list.push(name(text)?).map_err(|_| Error::limit("DNS_ENTRIES", limits::DNS_ENTRIES))
}
