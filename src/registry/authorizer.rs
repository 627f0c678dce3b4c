//! What goes into the `Authorization` header, as a machine without I/O and clock.
//!
//! # Where credentials go
//!
//! CVE-2020-15157: a client followed a manifest's layer URL to a foreign host, took that host's `WWW-Authenticate`
//! for the registry's, and handed the registry's credentials to the realm it named. Here:
//!
//! - Credentials belong to one [`Origin`]: scheme, host and port of the registry. A machine serves one origin.
//! - Only a challenge that the registry itself gave, over its own connection, is answered. The challenge of a redirect
//!   target, of an upload location on another host or of the token service is a refusal, nothing more. (The `urls` of
//!   foreign layers are never followed at all.)
//! - The `Authorization` header goes to the registry's origin only; the first redirect that leaves the origin drops it
//!   for the rest of the request, even if a later one leads back: else the foreign host would choose the path.
//! - The realm may be on another host: that is how the token protocol works, and it gives the registry nothing that it
//!   could not have had by asking for basic authentication. It must be https, or http on loopback for a registry on
//!   loopback; redirects of the token service are not followed.
//! - Tokens go to the registry's origin only, and are kept in memory only.

use super::address::{Origin, Url};
use super::challenge::Challenge;
use super::credential::Credentials;
use crate::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The largest answer of a token service that is read, in bytes.
pub(super) const TOKEN_BUDGET: u64 = 256 << 10;

/// The lifetime of a token that names none, and the shortest that is believed (token specification).
const SHORTEST_LIFETIME: Duration = Duration::from_secs(60);
/// The longest lifetime that is believed.
const LONGEST_LIFETIME: Duration = Duration::from_secs(3600);
/// A token is given up this long before its end.
const MARGIN: Duration = Duration::from_secs(10);

/// Keeps the credentials and tokens of one registry.
pub(super) struct Authorizer {
    registry: Origin,
    credentials: Option<Credentials>,
    remark: Option<&'static str>,
    /// Whether the registry has asked for basic authentication: then every request carries it.
    basic: bool,
    /// By scope as the request wants it.
    tokens: HashMap<String, Token>,
}

struct Token {
    header: String,
    until: Instant,
}

/// How to go on after a 401.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Send the request again.
    Retry,
    /// Fetch a token, hand it to [`Authorizer::receive`], then send the request again.
    Fetch(TokenRequest),
}

/// A GET to the token service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TokenRequest {
    pub(super) url: Url,
    /// The `Authorization` header.
    pub(super) authorization: Option<String>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Authorizer {
    /// For the registry at `registry`; `remark` explains why there are no credentials, if there is a reason.
    pub(super) fn new(registry: Origin, credentials: Option<Credentials>, remark: Option<&'static str>) -> Authorizer {
        Authorizer { registry, credentials, remark, basic: false, tokens: HashMap::new() }
    }

    /// The `Authorization` header for a request of `scope` to `origin`.
    pub(super) fn header(&self, origin: &Origin, scope: &str, now: Instant) -> Option<String> {
        if *origin != self.registry {
            return None;
        }
        match self.tokens.get(scope) {
            Some(token) if now < token.until => Some(token.header.clone()),
            _ if self.basic => self.credentials.as_ref().map(Credentials::basic),
            _ => None,
        }
    }

    /// The registry at `origin` answered 401 with `challenge` to a request of `scope` that carried `sent`.
    pub(super) fn challenged(
        &mut self,
        origin: &Origin,
        challenge: Option<Challenge>,
        scope: &str,
        sent: Option<&str>,
    ) -> Result<Step> {
        if *origin != self.registry {
            return Err(Error::new(ErrorKind::PermissionDenied, format!("{origin} denies access")));
        }
        match challenge {
            None => Err(self.denied("asks for an authentication this crate does not know")),
            Some(Challenge::Basic) => {
                let header = self.credentials.as_ref().map(Credentials::basic);
                match header {
                    None => Err(self.denied("asks for a user name and a password")),
                    Some(header) if sent == Some(header.as_str()) => {
                        Err(self.denied("does not accept the user name and password"))
                    }
                    Some(_) => {
                        self.basic = true;
                        Ok(Step::Retry)
                    }
                }
            }
            Some(Challenge::Bearer { realm, service, scope: asked }) => {
                let mut url = Url::parse(&realm)?;
                self.registry.check_move_to(url.origin())?;
                if let Some(service) = service {
                    url = url.query("service", &service);
                }
                for one in union(scope, asked.as_deref().unwrap_or_default()) {
                    url = url.query("scope", one);
                }
                let authorization = self.credentials.as_ref().map(Credentials::basic);
                Ok(Step::Fetch(TokenRequest { url, authorization }))
            }
        }
    }

    /// The token service's answer (status 200) to the request for `scope`.
    pub(super) fn receive(&mut self, scope: &str, body: &[u8], now: Instant) -> Result<()> {
        let bad =
            |why: &str| Error::new(ErrorKind::Unavailable, format!("the token service of {} {why}", self.registry));
        // The error of the JSON library is kept out: it may quote the token.
        let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| bad("answers with malformed JSON"))?;
        let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token).unwrap_or_default();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("answers without a usable token"));
        }
        let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(0)).clamp(SHORTEST_LIFETIME, LONGEST_LIFETIME);
        let token = Token { header: format!("Bearer {token}"), until: now + lifetime - MARGIN };
        self.tokens.insert(scope.to_owned(), token);
        Ok(())
    }

    /// The error of a request that stays denied.
    pub(super) fn denied(&self, why: &str) -> Error {
        Error::new(ErrorKind::PermissionDenied, format!("the registry at {} {why}", self.registry)).hint(self.advice())
    }

    /// What to do about a denial.
    pub(super) fn advice(&self) -> &'static str {
        match (&self.credentials, self.remark) {
            (_, Some(remark)) => remark,
            (None, None) => "give credentials for it, or check that the repository exists",
            (Some(_), None) => "check the credentials given for it, and that they allow this",
        }
    }
}

fn union<'a>(wanted: &'a str, asked: &'a str) -> Vec<&'a str> {
    let mut scopes: Vec<&str> = wanted.split_whitespace().collect();
    for scope in asked.split_whitespace().take(8) {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCOPE: &str = "repository:a:pull";

    fn origin(url: &str) -> Origin {
        Url::parse(url).unwrap().origin().clone()
    }

    fn bearer(realm: &str) -> Option<Challenge> {
        Some(Challenge::Bearer { realm: realm.into(), service: Some("r s".into()), scope: Some(SCOPE.into()) })
    }

    fn authorizer(credentials: bool) -> (Authorizer, Origin) {
        let registry = origin("https://registry.example/");
        let credentials = credentials.then(|| Credentials::new("ann", "secret"));
        (Authorizer::new(registry.clone(), credentials, None), registry)
    }

    #[test]
    fn a_token_is_fetched_used_and_given_up() {
        let (mut authorizer, registry) = authorizer(true);
        let now = Instant::now();
        assert_eq!(authorizer.header(&registry, SCOPE, now), None);
        let step = authorizer.challenged(&registry, bearer("https://auth.example/token?x=1"), SCOPE, None).unwrap();
        let Step::Fetch(request) = step else { panic!("{step:?}") };
        assert_eq!(
            request.url.to_request(),
            "https://auth.example/token?x=1&service=r%20s&scope=repository%3Aa%3Apull"
        );
        assert_eq!(request.authorization.as_deref(), Some("Basic YW5uOnNlY3JldA=="));
        authorizer.receive(SCOPE, br#"{"access_token":"t0k","expires_in":300}"#, now).unwrap();
        assert_eq!(authorizer.header(&registry, SCOPE, now).as_deref(), Some("Bearer t0k"));
        assert_eq!(authorizer.header(&registry, "repository:b:pull", now), None);
        assert_eq!(authorizer.header(&origin("https://registry.example:8443/"), SCOPE, now), None);
        assert_eq!(authorizer.header(&origin("http://registry.example:443/"), SCOPE, now), None);
        assert_eq!(authorizer.header(&registry, SCOPE, now + Duration::from_secs(291)), None);
    }

    #[test]
    fn only_the_registry_may_challenge() {
        let (mut authorizer, registry) = authorizer(true);
        let elsewhere = origin("https://cdn.example/");
        for challenge in [Some(Challenge::Basic), bearer("https://evil.example/")] {
            let error = authorizer.challenged(&elsewhere, challenge, SCOPE, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        }
        for realm in ["http://auth.example/", "http://127.0.0.1/", "ftp://x/", "/token", "https://u:p@x/"] {
            assert!(authorizer.challenged(&registry, bearer(realm), SCOPE, None).is_err(), "{realm}");
        }
    }

    #[test]
    fn basic_is_tried_once() {
        let (mut authorizer, registry) = authorizer(true);
        assert_eq!(authorizer.challenged(&registry, Some(Challenge::Basic), SCOPE, None).unwrap(), Step::Retry);
        let sent = authorizer.header(&registry, SCOPE, Instant::now()).unwrap();
        let error = authorizer.challenged(&registry, Some(Challenge::Basic), SCOPE, Some(&sent)).unwrap_err();
        assert!(error.remedy().unwrap().contains("check the credentials"), "{error}");
    }

    #[test]
    fn without_credentials_the_hint_says_so() {
        let (mut authorizer, registry) = authorizer(false);
        let error = authorizer.challenged(&registry, Some(Challenge::Basic), SCOPE, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.remedy().unwrap().contains("give credentials"), "{error}");
    }

    #[test]
    fn odd_token_answers_are_refused() {
        let (mut authorizer, _) = authorizer(false);
        for body in [&b""[..], b"{}", b"[]", br#"{"token":""}"#, br#"{"token":"a\r\nb"}"#, br#"{"token":"a b"}"#] {
            assert!(authorizer.receive(SCOPE, body, Instant::now()).is_err());
        }
        authorizer.receive(SCOPE, br#"{"token":"x","expires_in":18446744073709551615}"#, Instant::now()).unwrap();
    }
}
