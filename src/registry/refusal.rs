//! What a registry says when it refuses: distribution-spec, "Error Codes".

use crate::{Error, ErrorKind};
use serde::Deserialize;

/// The longest body of a refusal that is read, in bytes.
pub(super) const REFUSAL_BUDGET: u64 = 64 << 10;

/// A refusal: the HTTP status and the first entry of the body's `errors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// `NAME_UNKNOWN`, `DENIED` and so on.
    pub(super) code: Option<String>,
    /// The registry's words, one line, printable.
    pub(super) message: Option<String>,
}

#[derive(Deserialize)]
struct Body {
    errors: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

impl Refusal {
    /// Reads a refusal; a body that is not the specification's leaves only the status.
    pub(super) fn parse(status: u16, body: &[u8]) -> Refusal {
        let first = serde_json::from_slice::<Body>(body).ok().and_then(|body| body.errors.into_iter().next());
        let (code, message) = first.map_or((None, None), |entry| (entry.code, entry.message));
        Refusal { status, code: code.map(one_line), message: message.map(one_line) }
    }

    /// As an error about `what`: the manifest, blob or upload that was asked for.
    pub(super) fn into_error(self, what: &str) -> Error {
        let (kind, said) = match self.status {
            401 | 403 => (ErrorKind::PermissionDenied, "the registry denies access"),
            404 => (ErrorKind::NotFound, "the registry does not have it"),
            413 => (ErrorKind::LimitExceeded, "it is too large for the registry"),
            429 => (ErrorKind::Unavailable, "the registry asks for fewer requests"),
            400..=499 => (ErrorKind::InvalidInput, "the registry refuses the request"),
            500..=599 => (ErrorKind::Unavailable, "the registry failed"),
            _ => (ErrorKind::Unavailable, "the registry answers out of protocol"),
        };
        let mut text = format!("{what}: {said} (HTTP {}", self.status);
        for part in [self.code, self.message].into_iter().flatten().filter(|part| !part.is_empty()) {
            text.push_str(", ");
            text.push_str(&part);
        }
        text.push(')');
        Error::new(kind, text)
    }
}

/// A foreign text as at most 200 printable characters of one line: it goes to terminals and logs.
pub(super) fn one_line(text: String) -> String {
    text.chars().take(200).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_entry_speaks() {
        let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest\nunknown\u001b[31m","detail":{"Tag":"x"}},{"code":"B"}]}"#;
        let refusal = Refusal::parse(404, body);
        assert_eq!(refusal.code.as_deref(), Some("MANIFEST_UNKNOWN"));
        let error = refusal.into_error("manifest of a:b");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(
            error.to_string(),
            "manifest of a:b: the registry does not have it (HTTP 404, MANIFEST_UNKNOWN, manifest unknown [31m)"
        );
    }

    #[test]
    fn any_body_is_survived() {
        for body in [&b""[..], b"<html>", b"{}", b"{\"errors\":[]}", b"{\"errors\":[{\"code\":1}]}", b"\xff"] {
            let refusal = Refusal::parse(503, body);
            assert_eq!((refusal.code, refusal.message), (None, None));
        }
    }
}
