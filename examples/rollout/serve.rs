//! The web server that is deployed: a handful of threads, one request a connection, a graceful end.

use nix::sys::signal::{SigSet, Signal};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const THREADS: usize = 8;

/// Serves until SIGTERM, then answers what is in flight.
///
/// `behaviour` is `well`, `sick` (its health check fails) or `crash` (it ends by itself after a tenth of a second).
pub fn serve(port: u16, version: &str, behaviour: &str) -> std::io::Result<()> {
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTERM);
    // Before any thread: they inherit it, and the signal waits for whoever asks.
    stop.thread_block()?;
    let listener = Arc::new(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?);
    let in_flight = Arc::new(AtomicUsize::new(0));
    let name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let body = format!("version {version} on {}\n", name.trim());
    for _ in 0..THREADS {
        let (listener, in_flight, body) = (listener.clone(), in_flight.clone(), body.clone());
        let sick = behaviour == "sick";
        std::thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                in_flight.fetch_add(1, Ordering::SeqCst);
                // A client that goes away is its own affair.
                let _ = answer(client, &body, sick);
                in_flight.fetch_sub(1, Ordering::SeqCst);
            }
        });
    }
    if behaviour == "crash" {
        std::thread::sleep(Duration::from_millis(100));
        std::process::exit(1);
    }
    stop.wait()?;
    let end = Instant::now() + Duration::from_secs(5);
    while in_flight.load(Ordering::SeqCst) > 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn answer(mut client: TcpStream, body: &str, sick: bool) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = [0; 1024];
    let mut length = 0;
    while length < request.len() && !request[..length].ends_with(b"\r\n\r\n") {
        match client.read(&mut request[length..])? {
            0 => return Ok(()),
            count => length += count,
        }
    }
    let status = if sick && request.starts_with(b"GET /healthy ") { "503 Service Unavailable" } else { "200 OK" };
    let length = body.len();
    write!(client, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
