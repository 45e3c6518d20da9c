//! Every buffer of the program, in one static value.

use picocni_core::dispatch::CallMemory;
use picocni_core::limits;
use picocni_core::runtime::RuntimeMemory;
use picocni_core::session::Workspace;

/// Pages that a call does not touch are never resident.
pub(crate) struct Memory {
    pub(crate) linux: picocni_linux::host::Memory,
    pub(crate) session: Workspace,
    pub(crate) call: CallMemory,
    pub(crate) runtime: RuntimeMemory,
    /// One byte more than a request may have, to see that it is too long.
    pub(crate) stdin: [u8; limits::REQUEST + 1],
    pub(crate) stdout: [u8; limits::REQUEST],
}

impl Memory {
    pub(crate) const fn new() -> Self {
        Memory {
            linux: picocni_linux::host::Memory::new(),
            session: Workspace::new(),
            call: CallMemory::new(),
            runtime: RuntimeMemory::new(),
            stdin: [0; limits::REQUEST + 1],
            stdout: [0; limits::REQUEST],
        }
    }
}
