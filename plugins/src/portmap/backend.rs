//! What of a config decides whose rules publish ports.

use picocni_core::err;
use picocni_core::error::Result;
use picocni_core::json::Str;
use picocni_core::json::raw::Elements;

use crate::backend::Backend;

/// Bit that the reference plugin marks with.
const MARK_BIT: u32 = 13;

/// Options that only one of the two has decide, if `backend` does not.
///
/// # Errors
/// Code 7: an unknown name, or options of the other one.
pub(super) fn read(name: Str<'_>, mark: &Mark<'_>, conditions: &[Conditions<'_>; 2]) -> Result<Backend> {
    let [v4, v6] = conditions.map(Conditions::backend);
    let external = if matches!(mark, Mark::External(_)) { Backend::Iptables } else { Backend::Any };
    let options = [("externalSetMarkChain", external), ("conditionsV4", v4), ("conditionsV6", v6)];
    let asked = match name.plain() {
        Some("nftables") => Backend::Native,
        Some("iptables") => Backend::Iptables,
        // The reference plugin looks for what only iptables has first.
        Some("") => [Backend::Iptables, Backend::Native]
            .into_iter()
            .find(|backend| options.iter().any(|(_, of)| of == backend))
            .unwrap_or(Backend::Any),
        _ => {
            return Err(err!(CONFIG, "unrecognized backend", "\"", name.canonical(), "\" (nftables, iptables)"));
        }
    };
    let mut wrong = options.iter().filter(|(_, of)| *of != Backend::Any && *of != asked).map(|(key, _)| *key);
    let Some(first) = wrong.next() else {
        if asked == Backend::Native && conditions.iter().any(|conditions| conditions.words().next().is_some()) {
            return Err(err!(
                UNSUPPORTED,
                "unsupported conditions",
                "\"conditionsV4\" and \"conditionsV6\" are served in the words of iptables, as [\"-i\",\"eth0\"]"
            ));
        }
        return Ok(asked);
    };
    let error = match asked {
        Backend::Iptables => {
            err!(CONFIG, "iptables backend was requested but configuration contains nftables-specific options")
        }
        _ => err!(CONFIG, "nftables backend was requested but configuration contains iptables-specific options"),
    };
    Err(wrong.fold(error.with(&"[").with(&first), |error, key| error.with(&" ").with(&key)).with(&"]"))
}

/// How iptables marks packets whose source is to be translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark<'a> {
    /// By this bit, and by chains of ours.
    Bit(u32),
    /// By a chain of somebody else, who masquerades too.
    External(&'a str),
}

impl<'a> Mark<'a> {
    /// # Errors
    /// Code 7.
    pub(super) fn read(external: Str<'a>, bit: Option<i64>) -> Result<Self> {
        if external.is_empty() {
            let bit = bit.unwrap_or(i64::from(MARK_BIT));
            return u32::try_from(bit)
                .ok()
                .filter(|bit| *bit <= 31)
                .map(Mark::Bit)
                .ok_or_else(|| err!(CONFIG, "MasqMarkBit must be between 0 and 31", "\"markMasqBit\" is ", bit));
        }
        if bit.is_some() {
            return Err(err!(CONFIG, "Cannot specify externalSetMarkChain and markMasqBit"));
        }
        external.plain().map(Mark::External).ok_or_else(|| {
            err!(CONFIG, "invalid externalSetMarkChain", "\"", external.canonical(), "\" is no name of a chain")
        })
    }
}

/// What else a packet must match: words of one of the two languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Conditions<'a>(&'a str);

impl<'a> Conditions<'a> {
    /// A list of strings in canonical text; "" for none.
    pub(super) const fn new(list: &'a str) -> Self {
        Conditions(list)
    }

    /// The words.
    pub(super) fn words(self) -> impl Iterator<Item = Str<'a>> {
        let inner = |text: &'a str| text.strip_prefix('"')?.strip_suffix('"').map(Str::from_canonical);
        Elements::new(self.0).filter_map(inner)
    }

    /// Whose words they are, which the first one tells.
    fn backend(self) -> Backend {
        match self.words().next().map(|word| word.canonical().chars().next()) {
            None => Backend::Any,
            Some(Some('-' | '!')) => Backend::Iptables,
            Some(_) => Backend::Native,
        }
    }
}
