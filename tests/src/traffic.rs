//! Real packets: servers that say who they are and from where they were asked, and clients that ask them.
//!
//! A server belongs to the network namespace of the thread that starts it, a question to that of the thread that asks.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an answer is waited for. Everything is on one machine; only what never comes takes so long.
const PATIENCE: Duration = Duration::from_millis(700);

/// Between two looks of a server at its socket.
const PAUSE: Duration = Duration::from_millis(2);

/// The protocol of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// One connection for a question.
    Tcp,
    /// One datagram each way, sent three times at most.
    Udp,
}

/// Both protocols, to be gone through.
pub const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];

impl Protocol {
    /// As port mappings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who answered.
    pub who: String,
    /// Where the server saw the question come from.
    pub seen_from: IpAddr,
}

/// A server on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers every question at `at` with `who`.
    ///
    /// # Panics
    /// When the address is taken or is none of this namespace.
    pub fn start(protocol: Protocol, at: &str, who: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, who) = (Arc::clone(&stop), who.to_owned());
        let thread = match protocol {
            Protocol::Tcp => {
                let listener = TcpListener::bind(at).unwrap_or_else(|e| panic!("TCP {at}: {e}"));
                listener.set_nonblocking(true).expect("a listener that does not block");
                std::thread::spawn(move || serve_tcp(&listener, &who, &stopped))
            }
            Protocol::Udp => {
                let socket = UdpSocket::bind(at).unwrap_or_else(|e| panic!("UDP {at}: {e}"));
                socket.set_nonblocking(true).expect("a socket that does not block");
                std::thread::spawn(move || serve_udp(&socket, &who, &stopped))
            }
        };
        Self { stop, thread: Some(thread) }
    }

    /// Answers both protocols on one port of all addresses of this namespace, IPv4 and IPv6.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn both(port: u16, who: &str) -> [Self; 2] {
        PROTOCOLS.map(|protocol| Self::start(protocol, &format!("[::]:{port}"), who))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn line(who: &str, from: SocketAddr) -> String {
    format!("{who} {}", from.ip().to_canonical())
}

fn serve_tcp(listener: &TcpListener, who: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, from)) => {
                let _ = stream.write_all(line(who, from).as_bytes());
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn serve_udp(socket: &UdpSocket, who: &str, stop: &AtomicBool) {
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        match socket.recv_from(&mut buffer) {
            Ok((_, from)) => {
                let _ = socket.send_to(line(who, from).as_bytes(), from);
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Asks the server at `to` and returns its answer, or why there is none.
///
/// # Errors
/// A text with the address asked.
pub fn ask(protocol: Protocol, to: &str) -> Result<Answer, String> {
    let address: SocketAddr = to.parse().unwrap_or_else(|e| panic!("{to}: {e}"));
    let text = match protocol {
        Protocol::Tcp => ask_tcp(address),
        Protocol::Udp => Client::new(address).ask(),
    };
    let text = text.map_err(|e| format!("{} {to}: {e}", protocol.name()))?;
    let (who, from) = text.split_once(' ').ok_or_else(|| format!("{to} answered {text:?}"))?;
    let seen_from = from.parse().map_err(|e| format!("{to} answered {text:?}: {e}"))?;
    Ok(Answer { who: who.to_owned(), seen_from })
}

/// Who answers at `to`; the reason is in the panic if nobody does.
///
/// # Panics
/// When nobody answers.
#[track_caller]
pub fn who(protocol: Protocol, to: &str) -> String {
    ask(protocol, to).unwrap_or_else(|e| panic!("{e}")).who
}

fn ask_tcp(to: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// A UDP client that keeps its port, so that all its questions are one flow.
#[derive(Debug)]
pub struct Client {
    socket: UdpSocket,
}

impl Client {
    /// A client of the server at `to`, in the calling thread's namespace.
    ///
    /// # Panics
    /// When there is no route.
    pub fn new(to: SocketAddr) -> Self {
        let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).expect("a UDP socket");
        socket.set_read_timeout(Some(PATIENCE / 3)).expect("a time limit");
        socket.connect(to).unwrap_or_else(|e| panic!("{to}: {e}"));
        Self { socket }
    }

    /// One question; it is sent again twice.
    ///
    /// # Errors
    /// Refused, unreachable or no answer.
    pub fn ask(&self) -> std::io::Result<String> {
        let mut buffer = [0; 256];
        let mut last = std::io::Error::from(ErrorKind::TimedOut);
        for _ in 0..3 {
            let answered = self.socket.send(b"who").and_then(|_| self.socket.recv(&mut buffer));
            match answered {
                Ok(length) => return Ok(String::from_utf8_lossy(&buffer[..length]).into_owned()),
                Err(e) => last = e,
            }
        }
        Err(last)
    }
}

/// Sends to `stream` until it is closed or `time` is over.
pub fn pour(mut stream: TcpStream, time: Duration) {
    let until = Instant::now() + time;
    stream.set_write_timeout(Some(PATIENCE)).expect("a time limit");
    let bytes = [0x5a; 16 * 1024];
    while Instant::now() < until && stream.write(&bytes).is_ok_and(|written| written > 0) {}
}

/// Reads what comes: for `settle` without counting it, then for `window`. Gives bytes a second in that time.
///
/// # Panics
/// When nothing comes any more.
pub fn drain(mut stream: TcpStream, settle: Duration, window: Duration) -> f64 {
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let mut bytes = [0; 16 * 1024];
    let mut read_for = |time: Duration| {
        let (started, mut sum) = (Instant::now(), 0_u32);
        while started.elapsed() < time {
            let read = stream.read(&mut bytes).expect("bytes keep coming");
            assert!(read > 0, "the sender has stopped");
            sum += u32::try_from(read).expect("a few bytes");
        }
        f64::from(sum) / started.elapsed().as_secs_f64()
    };
    read_for(settle);
    read_for(window)
}
