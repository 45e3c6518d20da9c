//! Whose rules are made: those of the kernel's nf_tables, asked directly, or of
//! iptables, by its programs.

use picocni_core::error::Result;
use picocni_core::session::Session;

/// What a config asks for, or its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// nf_tables if the kernel has it, else iptables.
    Any,
    /// nf_tables.
    Native,
    /// The programs of iptables.
    Iptables,
}

impl Backend {
    /// Whether iptables is to be executed. Unlike the reference plugins, which
    /// take iptables if there is one.
    pub fn is_iptables(self, session: &mut Session<'_>) -> bool {
        match self {
            Backend::Iptables => true,
            Backend::Native => false,
            Backend::Any => session.backend.probe_filter().is_err(),
        }
    }

    /// Whether what is asked for can be had.
    ///
    /// # Errors
    /// Code 50 names what is missing.
    pub fn probe(self, session: &mut Session<'_>) -> Result<()> {
        match self {
            Backend::Native => session.backend.probe_filter(),
            Backend::Iptables => session.backend.iptables_rules(false, "nat", &mut |_| {}),
            Backend::Any => session.backend.probe_filter().or_else(|error| {
                let other = session.backend.iptables_rules(false, "nat", &mut |_| {});
                other.map_err(|other| error.with(&"; ").with(&other))
            }),
        }
    }
}
