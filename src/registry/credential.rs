//! Who the client says it is: credentials and where they may go.

use super::address::Origin;
use crate::error::{Context, During};
use crate::{Error, Result};
use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;

/// The largest Docker configuration file that is read, in bytes.
const CONFIG_BUDGET: u64 = 1 << 20;

/// A user name and a password (or an access token in its place) for one registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// The credentials as the registry knows them.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Credentials {
        Credentials { username: username.into(), password: password.into() }
    }

    /// The value of an `Authorization` header (RFC 7617).
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.username, self.password)))
    }

    /// `base64(user:password)`, as Docker writes it; padding is optional.
    fn decode(auth: &str) -> Option<Credentials> {
        const LENIENT: GeneralPurpose = GeneralPurpose::new(
            &base64::alphabet::STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let text = String::from_utf8(LENIENT.decode(auth.trim()).ok()?).ok()?;
        let (username, password) = text.split_once(':')?;
        Some(Credentials::new(username, password.trim_end_matches('\0')))
    }
}

/// The password is not shown.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What a Docker configuration file says about one registry.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) credentials: Option<Credentials>,
    /// Why there are none although the file speaks of the registry: shown as a hint when access is denied.
    pub(super) remark: Option<&'static str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    identitytoken: Option<String>,
}

/// Looks for `registry` in the Docker configuration file at `path`.
pub(super) fn find_in_docker_config(path: &Path, registry: &Origin) -> Result<Found> {
    let what = || format!("read registry credentials from {}", path.display());
    let mut bytes = Vec::new();
    std::fs::File::open(path).and_then(|file| file.take(CONFIG_BUDGET + 1).read_to_end(&mut bytes)).during(what)?;
    if bytes.len() as u64 > CONFIG_BUDGET {
        return Err(Error::invalid(format!("{}: the file is larger than {CONFIG_BUDGET} bytes", what())));
    }
    find_in_docker_config_text(&bytes, registry).context(what)
}

/// Looks for `registry` in a Docker configuration. An entry counts when its key names the same scheme, host and port;
/// a key without scheme stands for the scheme this crate uses for that host.
pub(super) fn find_in_docker_config_text(bytes: &[u8], registry: &Origin) -> Result<Found> {
    // The error of the JSON library is kept out: it may quote what it stumbled over, which may be a password.
    let config: Config =
        serde_json::from_slice(bytes).map_err(|error| Error::invalid(format!("line {} is malformed", error.line())))?;
    let mut found = Found::default();
    if config.creds_store.is_some()
        || config.cred_helpers.keys().any(|key| origin_of_key(key).as_ref() == Some(registry))
    {
        found.remark = Some("credential helpers are not run: give the credentials explicitly or in `auths`");
    }
    for (key, entry) in config.auths {
        if origin_of_key(&key).as_ref() != Some(registry) {
            continue;
        }
        let decoded = match (entry.auth, entry.username, entry.password) {
            (Some(auth), ..) if !auth.is_empty() => Some(
                Credentials::decode(&auth)
                    .ok_or_else(|| Error::invalid(format!("`auth` of {key:?} is not base64 of user:password")))?,
            ),
            (_, Some(username), Some(password)) => Some(Credentials::new(username, password)),
            _ => None,
        };
        match decoded {
            Some(credentials) if !credentials.password.is_empty() => {
                return Ok(Found { credentials: Some(credentials), remark: None });
            }
            _ if entry.identitytoken.is_some() => {
                found.remark = Some("identity tokens are not used: give a user name and a password");
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The origin a key of `auths` stands for: `host[:port]` or a URL whose path is empty or the API's version.
fn origin_of_key(key: &str) -> Option<Origin> {
    let (scheme, rest) = match key.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, key),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(path.trim_matches('/'), "" | "v1" | "v2") {
        return None;
    }
    match scheme {
        None => Origin::of_registry(host).ok(),
        Some(scheme) => super::address::Url::parse(&format!("{scheme}://{host}/")).ok().map(|url| url.origin().clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(registry: &str) -> Origin {
        Origin::of_registry(registry).unwrap()
    }

    fn look(config: &str, registry: &str) -> Found {
        find_in_docker_config_text(config.as_bytes(), &origin(registry)).unwrap()
    }

    #[test]
    fn keys_bind_scheme_host_and_port() {
        // base64 of "ann:s:cret"
        let config = |key: &str| format!(r#"{{"auths":{{"{key}":{{"auth":"YW5uOnM6Y3JldA=="}}}},"HttpHeaders":{{}}}}"#);
        let ann = Some(Credentials::new("ann", "s:cret"));
        for (key, registry, given) in [
            ("registry.example", "registry.example", true),
            ("registry.example", "registry.example:443", true),
            ("https://registry.example/v2/", "registry.example", true),
            ("registry.example", "registry.example:5000", false),
            ("registry.example:5000", "registry.example", false),
            ("http://registry.example", "registry.example", false),
            ("https://127.0.0.1:5000", "127.0.0.1:5000", false),
            ("127.0.0.1:5000", "127.0.0.1:5000", true),
            ("registry.example/team", "registry.example", false),
            ("registry.example.evil", "registry.example", false),
            ("REGISTRY.example", "registry.EXAMPLE", true),
        ] {
            let expected = if given { ann.clone() } else { None };
            assert_eq!(look(&config(key), registry).credentials, expected, "{key} for {registry}");
        }
    }

    #[test]
    fn helpers_and_identity_tokens_are_remarked() {
        assert!(look(r#"{"credsStore":"x"}"#, "a.b").remark.unwrap().contains("helpers"));
        assert!(look(r#"{"credHelpers":{"a.b":"x"}}"#, "a.b").remark.is_some());
        assert!(look(r#"{"credHelpers":{"c.d":"x"}}"#, "a.b").remark.is_none());
        let token = r#"{"auths":{"a.b":{"auth":"YTo=","identitytoken":"t"}}}"#;
        assert!(look(token, "a.b").remark.unwrap().contains("identity"));
    }

    #[test]
    fn malformed_files_are_refused_without_their_content() {
        for bad in ["", "3", r#"{"auths":{"a.b":{"auth":"!!"}}}"#, r#"{"auths":{"a.b":{"auth":"c2VjcmV0"}}}"#] {
            let text = find_in_docker_config_text(bad.as_bytes(), &origin("a.b")).unwrap_err().to_string();
            assert!(!text.contains("c2VjcmV0"), "{text}");
        }
        assert!(!format!("{:?}", Credentials::new("ann", "secret")).contains("secret"));
    }
}
