//! The plugin alone.

fn main() -> std::process::ExitCode {
    picocni::program::main(&[&tcp_keepalive::TcpKeepalive])
}
