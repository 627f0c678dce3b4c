//! Platforms of images: image-spec, "Image Index", property `platform`.

use crate::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// An operating system and an architecture in Go's names: `linux/amd64`, `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Platform {
    /// Go's `GOOS`: `linux`.
    pub os: String,
    /// Go's `GOARCH`: `amd64`, `arm64`.
    pub architecture: String,
    /// The variant of the architecture, where it has any: `v8`.
    pub variant: Option<String>,
}

impl Platform {
    /// The platform this crate was compiled for.
    pub fn host() -> Platform {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            other => (other, None),
        };
        Platform { os: "linux".into(), architecture: architecture.into(), variant: variant.map(str::to_owned) }
    }

    /// Whether an image of platform `image` runs here; a missing variant on either side matches any.
    pub fn accepts(&self, image: &Platform) -> bool {
        self.os == image.os
            && self.architecture == image.architecture
            && (self.variant.is_none() || image.variant.is_none() || self.variant == image.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Platform> {
        let parts: Vec<&str> = text.split('/').collect();
        let word =
            |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        match parts.as_slice() {
            [os, architecture, rest @ ..] if rest.len() <= 1 && parts.iter().all(|part| word(part)) => Ok(Platform {
                os: (*os).to_owned(),
                architecture: (*architecture).to_owned(),
                variant: rest.first().map(|&variant| variant.to_owned()),
            }),
            _ => Err(Error::invalid(format!("platform {text:?} is not os/architecture or os/architecture/variant"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_variant_matches_any() {
        let arm: Platform = "linux/arm64/v8".parse().unwrap();
        assert!(arm.accepts(&"linux/arm64".parse().unwrap()));
        assert!(!arm.accepts(&"linux/arm64/v9".parse().unwrap()));
        assert!("linux".parse::<Platform>().is_err());
        assert!("a/b/c/d".parse::<Platform>().is_err());
    }
}
