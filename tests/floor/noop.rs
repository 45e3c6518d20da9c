//! A process that does nothing: what starting and reaping any static, freestanding program costs.
#![no_std]
#![no_main]

core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov edi, 0",
    "mov eax, 60",
    "syscall"
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
