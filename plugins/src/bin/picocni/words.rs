//! Command-line arguments.

use core::ffi::CStr;

use picocni_linux::sys::Environ;

/// The arguments as the kernel laid them out (the same form as an environment).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words(Environ);

impl Words {
    pub(crate) const fn new(block: Environ) -> Self {
        Words(block)
    }

    /// Argument number `at`; "" if there is none or it is no UTF-8.
    pub(crate) fn get(self, at: usize) -> &'static str {
        self.c_str(at).and_then(|word| word.to_str().ok()).unwrap_or("")
    }

    /// Argument number `at` as a C string.
    pub(crate) fn c_str(self, at: usize) -> Option<&'static CStr> {
        self.0.iter().nth(at)
    }

    /// The arguments from number `at` on.
    #[cfg(feature = "operator")]
    pub(crate) fn from(self, at: usize) -> impl Iterator<Item = &'static CStr> {
        self.0.iter().skip(at)
    }
}
