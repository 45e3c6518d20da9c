//! Every buffer of the program, in one static value.

use picocni::program;
#[cfg(feature = "operator")]
use picocni_core::runtime::RuntimeMemory;

/// Pages that a call does not touch are never resident.
pub(crate) struct Memory {
    /// Called as a plugin; the runtime side uses the backend's and the session's part.
    pub(crate) plugin: program::Memory,
    #[cfg(feature = "operator")]
    pub(crate) runtime: RuntimeMemory,
}

impl Memory {
    pub(crate) const fn new() -> Self {
        Memory {
            plugin: program::Memory::new(),
            #[cfg(feature = "operator")]
            runtime: RuntimeMemory::new(),
        }
    }
}
