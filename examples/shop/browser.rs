//! Just enough of a browser for one shopper: pages, forms, one cookie.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The services answer within their own limits, which are shorter.
const PATIENCE: Duration = Duration::from_secs(30);

/// A browser on one shop.
#[derive(Debug, Clone)]
pub struct Browser {
    address: SocketAddr,
    cookie: Option<String>,
}

/// What the shop answered.
#[derive(Debug, Clone)]
pub struct Page {
    /// The status code.
    pub status: u16,
    /// Where the shop sends the browser next.
    pub location: Option<String>,
    /// The text.
    pub body: String,
}

impl Browser {
    /// A browser without cookies.
    pub fn new(address: SocketAddr) -> Browser {
        Browser { address, cookie: None }
    }

    /// Asks for a page.
    pub fn get(&mut self, path: &str) -> Result<Page> {
        self.send("GET", path, "")
    }

    /// Sends a form.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<Page> {
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        self.send("POST", path, &fields.join("&"))
    }

    fn send(&mut self, method: &str, path: &str, form: &str) -> Result<Page> {
        let mut stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let cookie = self.cookie.as_ref().map(|cookie| format!("Cookie: {cookie}\r\n")).unwrap_or_default();
        let head = format!("{method} {path} HTTP/1.0\r\nHost: {}\r\n{cookie}", self.address);
        let body =
            format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}", form.len());
        stream.write_all((head + &body).as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let cut = || Error::new(ErrorKind::UnexpectedEof, format!("{method} {path}: an answer that is cut off"));
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(cut)?;
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if header("Content-Length:").and_then(|length| length.parse().ok()) != Some(body.len()) {
            return Err(cut());
        }
        if let Some(cookie) = header("Set-Cookie:") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(cut)?;
        Ok(Page { status, location: header("Location:").map(str::to_owned), body: body.to_owned() })
    }
}

impl Page {
    /// What stands between `before` and the next `after`.
    pub fn between(&self, before: &str, after: &str) -> Option<&str> {
        let (_, rest) = self.body.split_once(before)?;
        rest.split_once(after).map(|(found, _)| found)
    }
}

/// The value as a form carries it: everything but letters and digits as `%XX`.
fn encoded(value: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    value.bytes().map(encode).collect()
}
