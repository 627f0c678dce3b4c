//! The `WWW-Authenticate` header: RFC 9110, section 11.6.1, and RFC 6750, section 3.

/// The longest header value that is read, in bytes.
const HEADER_BUDGET: usize = 16 << 10;

/// How a registry wants to be convinced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user name and a password with every request (RFC 7617).
    Basic,
    /// A token, to be fetched from `realm` (distribution, "Token Authentication Specification").
    Bearer {
        /// The absolute URL of the token service.
        realm: String,
        /// What the token service calls the registry.
        service: Option<String>,
        /// What the token has to allow, separated by spaces.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The strongest challenge among the values of all `WWW-Authenticate` headers of an answer: Bearer, then Basic.
    /// `None` where there is none that this crate can answer.
    pub(super) fn choose<'a>(headers: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
        let all: Vec<Challenge> = headers.into_iter().flat_map(parse).collect();
        all.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. })).or(all.first()).cloned()
    }
}

/// The challenges of one header value; the unknown and the malformed are left out.
fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    if header.len() > HEADER_BUDGET {
        return challenges;
    }
    let mut rest = Cursor(header);
    while let Some(scheme) = rest.next_scheme() {
        let parameters = rest.parameters();
        let value = |name: &str| {
            parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = value("realm")
        {
            challenges.push(Challenge::Bearer { realm, service: value("service"), scope: value("scope") });
        }
    }
    challenges
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn next_scheme(&mut self) -> Option<&'a str> {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
        let scheme = self.token();
        (!scheme.is_empty()).then_some(scheme)
    }

    /// `name=value` pairs up to the next scheme: a token that no `=` follows.
    fn parameters(&mut self) -> Vec<(&'a str, String)> {
        let mut parameters = Vec::new();
        loop {
            let before = self.0;
            self.0 = self.0.trim_start_matches([' ', '\t', ',']);
            let name = self.token();
            self.0 = self.0.trim_start_matches([' ', '\t']);
            match self.0.strip_prefix('=') {
                Some(rest) if !name.is_empty() => {
                    self.0 = rest.trim_start_matches([' ', '\t']);
                    parameters.push((name, self.value()));
                }
                // token68, or bytes outside of the grammar: nothing after them can be trusted.
                Some(_) => self.0 = "",
                None if name.is_empty() => {
                    self.0 = "";
                    return parameters;
                }
                None => {
                    self.0 = before;
                    return parameters;
                }
            }
        }
    }

    fn value(&mut self) -> String {
        let Some(quoted) = self.0.strip_prefix('"') else { return self.token().to_owned() };
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => {
                    self.0 = &quoted[index + 1..];
                    return value;
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                plain => value.push(plain),
            }
        }
        self.0 = "";
        value
    }

    fn token(&mut self) -> &'a str {
        let end = self
            .0
            .bytes()
            .position(|byte| !(byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)))
            .unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(str::to_owned), scope: scope.map(str::to_owned) }
    }

    #[test]
    fn registries_as_they_speak() {
        for (header, challenge) in [
            (
                r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#,
                bearer("https://auth.example/token", Some("registry.example"), Some("repository:a/b:pull,push")),
            ),
            (r#"bearer REALM = "https://a/t" , error="invalid_token""#, bearer("https://a/t", None, None)),
            (r#"Basic realm="Registry Realm""#, Challenge::Basic),
            ("basic", Challenge::Basic),
            (
                r#"Basic realm="x", Bearer realm="https://a/\"q\"",service=s"#,
                bearer("https://a/\"q\"", Some("s"), None),
            ),
            (r#"Negotiate, Basic realm="x""#, Challenge::Basic),
        ] {
            assert_eq!(Challenge::choose([header]), Some(challenge), "{header}");
        }
        assert_eq!(
            Challenge::choose([r#"Basic realm="x""#, r#"Bearer realm="https://a""#]),
            Some(bearer("https://a", None, None))
        );
    }

    #[test]
    fn what_cannot_be_answered_is_no_challenge() {
        for header in
            ["", ",,,", "Negotiate abc==", "Bearer", "Bearer scope=\"x\"", "Digest realm=\"x\"", "\"", "Bearer realm"]
        {
            assert_eq!(Challenge::choose([header]), None, "{header}");
        }
        assert_eq!(Challenge::choose(["Basic ".repeat(HEADER_BUDGET).as_str()]), None);
        assert_eq!(Challenge::choose([r#"Bearer realm="https://a"#]), Some(bearer("https://a", None, None)));
    }
}
