//! A defect still ends as CNI ends: an error object on stdout, exit 1.

use picocni_linux::sys;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    const OBJECT: &[u8] = b"{\"cniVersion\":\"1.1.0\",\"code\":999,\"msg\":\"internal error\",\"details\":\"picocni stopped at a defect; please report the config that led here\"}";
    let _ = rustix::io::write(sys::stdout(), OBJECT);
    sys::exit(1)
}
