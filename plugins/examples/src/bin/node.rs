//! One program for several plugins: it is the one by whose name it is called.
use picocni::{bridge::Bridge, host_local::HostLocal};

fn main() -> std::process::ExitCode {
    picocni::program::main(&[&tcp_keepalive::TcpKeepalive, &Bridge, &HostLocal])
}
