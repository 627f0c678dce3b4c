//! An HTTP server for tests that answers as its script says, however badly.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrived {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// By name in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Arrived {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What to answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Break the connection after so many bytes of the body, whatever was announced.
    cut: Option<usize>,
    /// Never end the body.
    endless: bool,
    /// Say nothing for so long.
    silence: Duration,
}

impl Script {
    pub(super) fn new(status: u16, body: impl Into<Vec<u8>>) -> Script {
        Script { status, body: body.into(), ..Script::default() }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> Script {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(super) fn redirect(location: impl Into<String>) -> Script {
        Script::new(307, "").header("location", location)
    }

    pub(super) fn cut(mut self, after: usize) -> Script {
        self.cut = Some(after);
        self
    }

    pub(super) fn endless(mut self) -> Script {
        self.endless = true;
        self
    }

    pub(super) fn silence(mut self, silence: Duration) -> Script {
        self.silence = silence;
        self
    }
}

/// A server on a port of 127.0.0.1; each connection carries one exchange. It ends with the value.
pub(super) struct Server {
    address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(script: impl Fn(&Arrived) -> Script + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
        let address = listener.local_addr().expect("an address");
        let (arrived, stop) = (Arc::<Mutex<Vec<Arrived>>>::default(), Arc::<AtomicBool>::default());
        let script = Arc::new(script);
        let (log, stopped) = (arrived.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (script, log) = (script.clone(), log.clone());
                // A client that hangs up in the middle is part of the tests.
                std::thread::spawn(move || stream.and_then(|stream| serve(stream, &*script, &log)));
            }
        });
        Server { address, arrived, stop, thread: Some(thread) }
    }

    /// `127.0.0.1:<port>`.
    pub(super) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The URL of a path.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Every request so far.
    pub(super) fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().expect("no poison").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(stream: TcpStream, script: &dyn Fn(&Arrived) -> Script, log: &Mutex<Vec<Arrived>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let Some(arrived) = read_request(&mut reader)? else { return Ok(()) };
    log.lock().expect("no poison").push(arrived.clone());
    let script = script(&arrived);
    std::thread::sleep(script.silence);
    let mut head = format!("HTTP/1.1 {} Scripted\r\nconnection: close\r\n", script.status);
    for (name, value) in &script.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let announced = script.headers.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding");
    if script.endless {
        head += if announced { "" } else { "transfer-encoding: chunked\r\n" };
    } else if !announced {
        head += &format!("content-length: {}\r\n", script.body.len());
    }
    let mut stream = stream;
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if arrived.method != "HEAD" {
        stream.write_all(&script.body[..script.cut.unwrap_or(script.body.len())])?;
    }
    if !script.endless {
        return Ok(());
    }
    loop {
        stream.write_all(b"10000\r\n")?;
        stream.write_all(&[b' '; 0x10000])?;
        stream.write_all(b"\r\n")?;
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Arrived>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut arrived = Arrived { method, target, ..Arrived::default() };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        arrived.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = arrived.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    arrived.body.resize(length, 0);
    reader.read_exact(&mut arrived.body)?;
    Ok(Some(arrived))
}
