//! The names that Kubernetes allows
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>).

/// A label of RFC 1123: at most 63 lower-case letters, digits and `-`, which is neither first nor last.
pub(super) fn is_label(name: &str) -> bool {
    let inner = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    !name.is_empty() && name.len() <= 63 && inner && !name.starts_with('-') && !name.ends_with('-')
}

/// A label of RFC 1035, as the names of services are: one that begins with a letter.
pub(super) fn is_service_name(name: &str) -> bool {
    is_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase())
}

/// A subdomain of RFC 1123: labels with dots between them, at most 253 bytes.
pub(super) fn is_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

/// The key of a label or annotation: `[PREFIX/]NAME`, the prefix a subdomain.
pub(super) fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && !name.is_empty() && is_label_value(name),
        None => !key.is_empty() && is_label_value(key),
    }
}

/// The value of a label: empty, or at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends.
pub(super) fn is_label_value(value: &str) -> bool {
    let inner = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let ends = |at: Option<u8>| at.is_none_or(|byte| byte.is_ascii_alphanumeric());
    value.len() <= 63 && inner && ends(value.bytes().next()) && ends(value.bytes().last())
}

/// A variable that `envFrom` takes over: letters, digits and `_`, no digit first. Others are left out silently by some
/// versions.
pub(super) fn is_variable(name: &str) -> bool {
    let inner = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    !name.is_empty() && name.len() <= 253 && inner && !name.starts_with(|first: char| first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_the_letter() {
        for good in ["a", "a-1", "0a", &"a".repeat(63)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "\u{e4}", &"a".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
        assert!(!is_service_name("0a") && is_service_name("a0"));
        assert!(is_subdomain("a.b-c.0") && !is_subdomain("a..b") && !is_subdomain(&"a.".repeat(127)));
        for good in ["a", "app.example.com/Tier_1", "A.b"] {
            assert!(is_key(good), "{good}");
        }
        for bad in ["", "/a", "a/", "a/b/c", "_a", "App/x", "a b"] {
            assert!(!is_key(bad), "{bad}");
        }
        assert!(is_label_value("") && is_label_value("v1.0_x") && !is_label_value("v1.") && !is_label_value("a b"));
        assert!(is_variable("_A9") && !is_variable("9A") && !is_variable("a-b") && !is_variable(""));
    }
}
