//! One HTTP exchange at a time: connections, TLS, timeouts. No redirects, no authentication, no second attempt here.

use super::address::{Origin, Url};
use super::options::RegistryOptions;
use super::refusal::{REFUSAL_BUDGET, Refusal};
use crate::error::During;
use crate::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::{self, Read};
use std::net::ToSocketAddrs;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::time::Duration;
use ureq::http::{self, HeaderMap, HeaderValue, Method, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, SendBody};

/// The largest file of certificates that is read, in bytes.
const CERTIFICATES_BUDGET: u64 = 16 << 20;

/// The connections of one [`Registry`](super::Registry).
pub(super) struct Transport {
    plain: Agent,
    /// Made at the first use: reading the system's certificates takes milliseconds.
    secure: Mutex<Option<Agent>>,
}

/// A request, able to be sent more than once.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(header::HeaderName, String)>,
    pub(super) body: Body<'a>,
}

/// The body of a request.
#[derive(Clone, Copy)]
pub(super) enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    /// The first `size` bytes of the file; `sent` is told how many went out so far.
    File {
        file: &'a File,
        size: u64,
        sent: &'a dyn Fn(u64),
    },
}

/// The answer to a request, its body not yet read.
pub(super) struct Answer {
    pub(super) status: u16,
    /// The URL that answered.
    pub(super) url: Url,
    headers: HeaderMap,
    body: ureq::Body,
}

/// Why there is no usable answer, and whether another attempt makes sense.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) cause: Cause,
}

/// See [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nothing will change it.
    Final,
    /// No connection came about.
    Unreachable,
    /// The connection broke, or fell silent.
    Broken,
    /// The registry is overloaded or failing, and may say for how long.
    Busy(Option<Duration>),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { error, cause: Cause::Final }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}

impl Transport {
    pub(super) fn new(options: &RegistryOptions) -> Transport {
        // No proxy: it would receive the credentials of loopback registries in clear text.
        let plain = config(options).proxy(None).build().new_agent();
        Transport { plain, secure: Mutex::new(None) }
    }

    /// Sends `request` to `url` and waits for the head of the answer.
    pub(super) fn exchange(
        &self,
        options: &RegistryOptions,
        request: &Request<'_>,
        url: &Url,
        authorization: Option<&str>,
    ) -> Result<Answer, Failure> {
        let agent = self.agent(options, url.origin())?;
        let mut builder = http::Request::builder().method(request.method.clone()).uri(url.to_request());
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(authorization) = authorization {
            let mut value = HeaderValue::from_str(authorization)
                .map_err(|_| Error::invalid("credentials hold characters that HTTP cannot carry"))?;
            value.set_sensitive(true);
            builder = builder.header(header::AUTHORIZATION, value);
        }
        let mut reader: Box<dyn Read + '_> = match request.body {
            Body::None => Box::new(io::empty()),
            Body::Bytes(bytes) => Box::new(bytes),
            Body::File { file, size, sent } => Box::new(FileReader { file, at: 0, size, sent }),
        };
        let length = match request.body {
            Body::None => 0,
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { size, .. } => size,
        };
        let bare = matches!(request.method, Method::GET | Method::HEAD);
        if !bare {
            builder = builder.header(header::CONTENT_LENGTH, length);
        }
        let unwritable =
            |error: http::Error| Error::invalid(format!("request to {url} cannot be written")).source_error(error);
        let response = if bare {
            agent.run(builder.body(SendBody::none()).map_err(unwritable)?)
        } else {
            agent.run(builder.body(SendBody::from_reader(&mut *reader)).map_err(unwritable)?)
        };
        let response = response.map_err(|error| failed(error, url.origin()))?;
        let (parts, body) = response.into_parts();
        Ok(Answer { status: parts.status.as_u16(), url: url.clone(), headers: parts.headers, body })
    }

    fn agent(&self, options: &RegistryOptions, origin: &Origin) -> Result<Agent> {
        if !origin.is_https() {
            check_loopback(origin)?;
            return Ok(self.plain.clone());
        }
        let mut secure = self.secure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(agent) = &*secure {
            return Ok(agent.clone());
        }
        let tls = TlsConfig::builder().root_certs(RootCerts::from(authorities(options)?)).build();
        let agent = config(options).https_only(true).tls_config(tls).build().new_agent();
        Ok(secure.insert(agent).clone())
    }
}

impl Answer {
    /// The value of a header, where it is there once and is text.
    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All values of a header that are text.
    pub(super) fn headers(&self, name: header::HeaderName) -> impl Iterator<Item = &str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// The length of the body, where the answer states it.
    pub(super) fn length(&self) -> Option<u64> {
        self.header(header::CONTENT_LENGTH).and_then(|value| value.parse().ok())
    }

    /// Refuses a body that is not the bytes themselves: digests are of those.
    pub(super) fn check_plain(&self) -> Result<()> {
        match self.header(header::CONTENT_ENCODING) {
            None | Some("identity") => Ok(()),
            Some(_) => {
                Err(Error::new(ErrorKind::Unavailable, format!("{} answers with a compressed body", self.url.origin())))
            }
        }
    }

    /// The body, without limit: the caller counts.
    pub(super) fn into_reader(self) -> impl Read {
        self.body.into_reader()
    }

    /// The whole body, of at most `budget` bytes.
    pub(super) fn read(self, budget: u64) -> Result<Vec<u8>, Failure> {
        let too_large = || {
            Error::new(ErrorKind::LimitExceeded, format!("the answer of {} is larger than {budget} bytes", self.url))
        };
        if self.length().is_some_and(|length| length > budget) {
            return Err(too_large().into());
        }
        let error = too_large();
        let (origin, mut bytes) = (self.url.origin().clone(), Vec::new());
        self.body
            .into_reader()
            .take(budget + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(ureq::Error::from(error), &origin))?;
        if bytes.len() as u64 > budget { Err(error.into()) } else { Ok(bytes) }
    }

    /// What the registry says in refusing; nothing is left of the connection's trouble in reading it.
    pub(super) fn into_refusal(self) -> Refusal {
        let status = self.status;
        let mut bytes = Vec::new();
        let _ = self.body.into_reader().take(REFUSAL_BUDGET).read_to_end(&mut bytes);
        Refusal::parse(status, &bytes)
    }

    /// Whether the status says that another attempt may succeed.
    pub(super) fn busy(&self) -> Option<Cause> {
        matches!(self.status, 429 | 500 | 502 | 503 | 504).then(|| {
            let seconds = self.header(header::RETRY_AFTER).and_then(|value| value.trim().parse().ok());
            Cause::Busy(seconds.map(Duration::from_secs))
        })
    }
}

/// The failure of an exchange with `origin`, with a remedy where there is one.
pub(super) fn failed(error: ureq::Error, origin: &Origin) -> Failure {
    use ureq::{Error as Http, Timeout};
    let cause = match &error {
        Http::Io(error) if is_certificate_error(error) => Cause::Final,
        Http::Io(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::AddrNotAvailable => Cause::Unreachable,
            _ => Cause::Broken,
        },
        Http::HostNotFound | Http::ConnectionFailed | Http::ConnectProxyFailed(_) => Cause::Unreachable,
        Http::Timeout(Timeout::Connect | Timeout::Resolve) => Cause::Unreachable,
        Http::Timeout(_) => Cause::Broken,
        _ => Cause::Final,
    };
    let tls = matches!(&error, Http::Tls(_) | Http::Pem(_) | Http::Rustls(_))
        || matches!(&error, Http::Io(error) if is_certificate_error(error));
    let (said, hint) = match cause {
        _ if tls => (
            "no trusted encrypted connection",
            "a private certificate authority is given by the option certificate_authority or by SSL_CERT_FILE; \
             unencrypted registries are used on loopback only"
                .to_owned(),
        ),
        Cause::Unreachable => ("cannot be reached", format!("is the registry running at {origin}?")),
        Cause::Broken => ("the connection broke", format!("is the registry at {origin} well?")),
        _ => ("the answer is not HTTP as expected", format!("is it a registry that runs at {origin}?")),
    };
    let error = Error::new(ErrorKind::Unavailable, format!("{origin}: {said}")).source_error(error).hint(hint);
    Failure { error, cause }
}

fn is_certificate_error(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

fn config(options: &RegistryOptions) -> ureq::config::ConfigBuilder<ureq::typestate::AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(options.connect_timeout))
        .timeout_recv_response(Some(options.idle_timeout))
        .timeout_per_read(Some(options.idle_timeout))
        .timeout_per_write(Some(options.idle_timeout))
}

/// `localhost` is a name, and a name resolves to what the system's administrator says: hold it to loopback.
fn check_loopback(origin: &Origin) -> Result<()> {
    let refused = || Error::new(ErrorKind::PermissionDenied, format!("{origin} is neither https nor on loopback"));
    if !origin.is_loopback() {
        return Err(refused());
    }
    let mut addresses = origin.host_and_port().to_socket_addrs().during(|| format!("resolve {origin}"))?;
    if addresses.all(|address| address.ip().is_loopback()) { Ok(()) } else { Err(refused()) }
}

fn authorities(options: &RegistryOptions) -> Result<Vec<Certificate<'static>>> {
    let system = rustls_native_certs::load_native_certs();
    let mut all: Vec<_> =
        system.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    if let Some(path) = &options.certificate_authority {
        let what = || format!("read certificates from {}", path.display());
        let mut text = Vec::new();
        File::open(path).and_then(|file| file.take(CERTIFICATES_BUDGET).read_to_end(&mut text)).during(what)?;
        let before = all.len();
        for item in ureq::tls::parse_pem(&text) {
            match item {
                Ok(PemItem::Certificate(certificate)) => all.push(certificate),
                Ok(_) => {}
                Err(error) => return Err(Error::invalid(what()).source_error(error)),
            }
        }
        if all.len() == before {
            return Err(Error::invalid(format!("{}: there is none in it", what())));
        }
    }
    if all.is_empty() {
        let error = Error::new(ErrorKind::Unavailable, "the system has no certificate authorities to trust")
            .hint("install ca-certificates, set SSL_CERT_FILE, or give the option certificate_authority");
        return Err(match system.errors.into_iter().next() {
            Some(cause) => error.source_error(cause),
            None => error,
        });
    }
    Ok(all)
}

/// Reads by position, so that one open file serves every attempt from its beginning.
struct FileReader<'a> {
    file: &'a File,
    at: u64,
    size: u64,
    sent: &'a dyn Fn(u64),
}

impl Read for FileReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.size - self.at).unwrap_or(usize::MAX));
        let got = self.file.read_at(&mut buffer[..most], self.at)?;
        self.at += got as u64;
        (self.sent)(self.at);
        Ok(got)
    }
}
