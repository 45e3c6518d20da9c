//! The entry point: no C runtime stands between the kernel and this program.
#![allow(unsafe_code, reason = "the entry point, and the memory functions the compiler calls")]

use core::cell::UnsafeCell;
use core::ffi::c_char;

use picocni_linux::sys::{self, Environ};

use crate::memory::Memory;
use crate::words::Words;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {entry}",
    "ud2",
    entry = sym entry,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "b {entry}",
    entry = sym entry,
);

struct Static(UnsafeCell<Memory>);

// SAFETY: one thread, and `entry` runs once.
unsafe impl Sync for Static {}

static MEMORY: Static = Static(UnsafeCell::new(Memory::new()));

/// `stack` points to what the kernel pushed: argc, argv, null, envp, null.
extern "C" fn entry(stack: *const usize) -> ! {
    // SAFETY: the kernel put argc there (System V ABI, process initialisation).
    let argc = unsafe { stack.read() };
    // SAFETY: argv follows argc.
    let argv = unsafe { stack.add(1) }.cast::<*const c_char>();
    // SAFETY: envp follows argv's null.
    let envp = unsafe { argv.add(argc.wrapping_add(1)) };
    // SAFETY: null-terminated arrays of C strings that live as long as the process.
    let words = Words::new(unsafe { Environ::from_raw(argv) });
    // SAFETY: as above.
    let environ = unsafe { Environ::from_raw(envp) };
    // SAFETY: the only reference ever made; this function runs once.
    let memory = unsafe { &mut *MEMORY.0.get() };
    sys::exit(crate::run(words, environ, memory))
}

/// Memory functions that compiled code calls. They are written so that the
/// compiler cannot turn them into calls of themselves.
mod mem {
    #[cfg(target_arch = "x86_64")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        // SAFETY: the caller's buffers, `length` bytes each, which do not overlap.
        unsafe {
            core::arch::asm!("rep movsb", inout("rcx") length => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags));
        }
        to
    }

    #[cfg(target_arch = "x86_64")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
        // SAFETY: the caller's buffer of `length` bytes.
        unsafe {
            core::arch::asm!("rep stosb", inout("rcx") length => _, inout("rdi") to => _, in("al") byte.to_le_bytes()[0], options(nostack, preserves_flags));
        }
        to
    }

    #[cfg(target_arch = "x86_64")]
    #[unsafe(no_mangle)]
    unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
        if (to as usize).wrapping_sub(from as usize) >= length {
            // SAFETY: the destination does not begin inside the source, so forward is right.
            return unsafe { memcpy(to, from, length) };
        }
        // SAFETY: the caller's buffers; backward, from their last bytes, with the flag restored.
        unsafe {
            core::arch::asm!("std", "rep movsb", "cld", inout("rcx") length => _,
                inout("rdi") to.wrapping_add(length).wrapping_sub(1) => _,
                inout("rsi") from.wrapping_add(length).wrapping_sub(1) => _, options(nostack));
        }
        to
    }

    #[cfg(not(target_arch = "x86_64"))]
    mod portable {
        //! Volatile accesses are never merged into a call of `memcpy`.

        #[unsafe(no_mangle)]
        unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
            for at in 0..length {
                // SAFETY: within the caller's source.
                let byte = unsafe { from.wrapping_add(at).read_volatile() };
                // SAFETY: within the caller's destination.
                unsafe { to.wrapping_add(at).write_volatile(byte) };
            }
            to
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn memset(to: *mut u8, byte: i32, length: usize) -> *mut u8 {
            for at in 0..length {
                // SAFETY: within the caller's buffer.
                unsafe { to.wrapping_add(at).write_volatile(byte.to_le_bytes()[0]) };
            }
            to
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
            if (to as usize).wrapping_sub(from as usize) >= length {
                // SAFETY: the destination does not begin inside the source.
                return unsafe { memcpy(to, from, length) };
            }
            for at in (0..length).rev() {
                // SAFETY: within the caller's source.
                let byte = unsafe { from.wrapping_add(at).read_volatile() };
                // SAFETY: within the caller's destination.
                unsafe { to.wrapping_add(at).write_volatile(byte) };
            }
            to
        }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
        for at in 0..length {
            // SAFETY: within the caller's first buffer.
            let x = unsafe { a.wrapping_add(at).read() };
            // SAFETY: within the caller's second buffer.
            let y = unsafe { b.wrapping_add(at).read() };
            if x != y {
                return i32::from(x).wrapping_sub(i32::from(y));
            }
        }
        0
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, length: usize) -> i32 {
        // SAFETY: the same contract.
        unsafe { memcmp(a, b, length) }
    }

    #[unsafe(no_mangle)]
    unsafe extern "C" fn strlen(text: *const c_char) -> usize {
        let mut length = 0usize;
        // SAFETY: the caller's string, up to its NUL.
        while unsafe { text.wrapping_add(length).read_volatile() } != 0 {
            length = length.wrapping_add(1);
        }
        length
    }

    use core::ffi::c_char;

    /// Named by debug builds of `core`; never called, since panics abort.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}

    /// As `rust_eh_personality`.
    #[unsafe(no_mangle)]
    extern "C" fn _Unwind_Resume() {}
}
