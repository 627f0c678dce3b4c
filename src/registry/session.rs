//! The conversation with one registry: authentication, redirects, further attempts.

use super::Registry;
use super::address::{Origin, Url};
use super::authorizer::{Authorizer, Step, TOKEN_BUDGET, TokenRequest};
use super::challenge::Challenge;
use super::refusal::Refusal;
use super::transport::{Answer, Body, Cause, Failure, Request};
use crate::value::Reference;
use crate::{Error, ErrorKind, Result};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use ureq::http::{Method, header};

/// The most redirects one request follows.
const REDIRECT_BUDGET: u32 = 5;

/// One pull's or push's view of a registry. Worker threads share it.
pub(super) struct Session<'a> {
    pub(super) registry: &'a Registry,
    origin: Origin,
    repository: &'a str,
    authorizer: Mutex<Authorizer>,
}

/// A whole answer of moderate size.
pub(super) struct Small {
    pub(super) status: u16,
    pub(super) content_type: Option<String>,
    /// The digest the registry believes in (`Docker-Content-Digest`).
    pub(super) digest: Option<String>,
    pub(super) bytes: Vec<u8>,
}

impl<'a> Session<'a> {
    /// A conversation about the repository of `reference`; a reference without a registry is refused.
    pub(super) fn open(registry: &'a Registry, reference: &'a Reference) -> Result<Session<'a>> {
        let host = reference.registry().ok_or_else(|| {
            Error::invalid(format!("image reference {reference} names no registry"))
                .hint(format!("there is no default registry: write it in front, as in registry.example/{reference}"))
        })?;
        let origin = Origin::of_registry(host)?;
        let found = registry.options.find_credentials(&origin)?;
        let authorizer = Mutex::new(Authorizer::new(origin.clone(), found.credentials, found.remark));
        Ok(Session { registry, origin, repository: reference.repository(), authorizer })
    }

    /// The URL of `kind` (`manifests`, `blobs`, `blobs/uploads`) and `name` in the repository.
    pub(super) fn url(&self, kind: &str, name: &str) -> Result<Url> {
        self.origin.url(&format!("/v2/{}/{kind}/{name}", self.repository))
    }

    /// What a token has to allow to read the repository.
    pub(super) fn pull_scope(&self) -> String {
        format!("repository:{}:pull", self.repository)
    }

    /// What a token has to allow to write the repository and, for mounts, to read `other`.
    pub(super) fn push_scope(&self, other: Option<&str>) -> String {
        let own = format!("repository:{}:pull,push", self.repository);
        other.map_or(own.clone(), |other| format!("{own} repository:{other}:pull"))
    }

    /// Sends `request`, answering the registry's challenge and following redirects, and waits for the answer's head.
    ///
    /// The `Authorization` header goes to the registry's own origin, and no more once a redirect has left it; see the
    /// [authorizer](super::authorizer) for why.
    pub(super) fn send(&self, request: &Request<'_>, scope: &str) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        let mut trusted = *url.origin() == self.origin;
        self.origin.check_move_to(url.origin())?;
        let mut redirects = 0;
        let mut challenged = false;
        loop {
            let header = trusted.then(|| self.authorizer().header(url.origin(), scope, Instant::now())).flatten();
            let answer = self.exchange(request, &url, header.as_deref())?;
            match answer.status {
                401 if trusted && !challenged => {
                    challenged = true;
                    self.satisfy(&answer, scope, header.as_deref())?;
                }
                301 | 302 | 303 | 307 | 308 => {
                    redirects += 1;
                    url = self.redirected(request, &answer, redirects)?;
                    trusted &= *url.origin() == self.origin;
                }
                _ => return Ok(answer),
            }
        }
    }

    /// Sends `request` and reads the whole answer, with further attempts where the connection breaks or the registry
    /// is overloaded; only for requests that may be repeated.
    pub(super) fn fetch(&self, request: &Request<'_>, scope: &str, budget: u64) -> Result<Small> {
        let mut patience = self.registry.options.patience();
        loop {
            let failure = match self.send(request, scope).and_then(|answer| read_small(answer, budget)) {
                Ok(small) => return Ok(small),
                Err(failure) => failure,
            };
            let retry_after = match failure.cause {
                Cause::Final | Cause::Unreachable => return Err(failure.error),
                Cause::Broken => None,
                Cause::Busy(wanted) => wanted,
            };
            match patience.failed(0, retry_after) {
                Some(pause) => std::thread::sleep(pause),
                None => return Err(failure.error),
            }
        }
    }

    /// The error of a refusal about `what`; one of access says how to gain it.
    pub(super) fn refused(&self, refusal: Refusal, what: &str) -> Error {
        let denied = matches!(refusal.status, 401 | 403);
        let error = refusal.into_error(what);
        if denied { error.hint(self.authorizer().advice()) } else { error }
    }

    fn exchange(&self, request: &Request<'_>, url: &Url, authorization: Option<&str>) -> Result<Answer, Failure> {
        self.registry.transport.exchange(&self.registry.options, request, url, authorization)
    }

    /// Answers a challenge so that the same request can be sent again.
    fn satisfy(&self, answer: &Answer, scope: &str, sent: Option<&str>) -> Result<(), Failure> {
        let challenge = Challenge::choose(answer.headers(header::WWW_AUTHENTICATE));
        let step = self.authorizer().challenged(answer.url.origin(), challenge, scope, sent)?;
        let Step::Fetch(request) = step else { return Ok(()) };
        let token = self.fetch_token(&request)?;
        Ok(self.authorizer().receive(scope, &token, Instant::now())?)
    }

    fn fetch_token(&self, token: &TokenRequest) -> Result<Vec<u8>, Failure> {
        let request = Request {
            method: Method::GET,
            url: token.url.clone(),
            headers: vec![(header::ACCEPT, "application/json".into())],
            body: Body::None,
        };
        let answer = self.exchange(&request, &token.url, token.authorization.as_deref())?;
        match answer.status {
            200 => answer.read(TOKEN_BUDGET),
            400 | 401 | 403 => {
                Err(self.authorizer().denied("sends the client to a token service that refuses it").into())
            }
            status => {
                let cause = answer.busy().unwrap_or(Cause::Final);
                let text = format!("the token service at {} answers with HTTP {status}", token.url);
                Err(Failure { error: Error::new(ErrorKind::Unavailable, text), cause })
            }
        }
    }

    fn redirected(&self, request: &Request<'_>, answer: &Answer, count: u32) -> Result<Url> {
        let bad = |why: &str| Error::new(ErrorKind::Unavailable, format!("{} redirects {why}", answer.url));
        if count > REDIRECT_BUDGET {
            return Err(bad("once too often"));
        }
        // 301, 302 and 303 may turn other methods into a GET (RFC 9110, section 15.4), which is never what was meant.
        if !matches!(request.method, Method::GET | Method::HEAD) && !matches!(answer.status, 307 | 308) {
            return Err(bad("a request that changes something"));
        }
        let url = answer.url.resolve(answer.header(header::LOCATION).ok_or_else(|| bad("to nowhere"))?)?;
        answer.url.origin().check_move_to(url.origin())?;
        Ok(url)
    }

    fn authorizer(&self) -> MutexGuard<'_, Authorizer> {
        self.authorizer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_small(answer: Answer, budget: u64) -> Result<Small, Failure> {
    if let Some(cause) = answer.busy() {
        let what = answer.url.to_string();
        return Err(Failure { error: answer.into_refusal().into_error(&what), cause });
    }
    let own = |name: &'static str| answer.header(header::HeaderName::from_static(name)).map(str::to_owned);
    let (status, content_type, digest) = (answer.status, own("content-type"), own("docker-content-digest"));
    // A refusal's body is only looked at, never insisted upon.
    if !(200..300).contains(&status) {
        let budget = super::refusal::REFUSAL_BUDGET;
        return Ok(Small { status, content_type, digest, bytes: answer.read(budget).unwrap_or_default() });
    }
    answer.check_plain()?;
    Ok(Small { status, content_type, digest, bytes: answer.read(budget)? })
}
