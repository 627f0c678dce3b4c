//! What a caller may choose about registries.

use super::address::Origin;
use super::credential::{Credentials, Found, find_in_docker_config};
use super::patience::Patience;
use crate::Result;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach registries, and as whom.
///
/// The default is anonymous, trusts the certificate authorities of the system (or those that the environment variables
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` name), and uses the proxy of the environment for https (`HTTPS_PROXY`,
/// `ALL_PROXY`, `NO_PROXY`), never for loopback.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    credentials: Vec<(String, Credentials)>,
    docker_config: Option<PathBuf>,
    pub(super) certificate_authority: Option<PathBuf>,
    pub(super) connect_timeout: Duration,
    pub(super) idle_timeout: Duration,
    pub(super) retries: u32,
    pub(super) first_pause: Duration,
}

impl Default for RegistryOptions {
    fn default() -> RegistryOptions {
        RegistryOptions {
            credentials: Vec::new(),
            docker_config: None,
            certificate_authority: None,
            connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(60),
            retries: 5,
            first_pause: Duration::from_millis(200),
        }
    }
}

impl RegistryOptions {
    /// The default.
    pub fn new() -> RegistryOptions {
        RegistryOptions::default()
    }

    /// Credentials for `registry`, written as in image references: `host` or `host:port`. They go before those of a
    /// Docker configuration file, and to that scheme, host and port only; to the token service that the registry
    /// itself names as well.
    #[must_use]
    pub fn credentials(mut self, registry: impl Into<String>, credentials: Credentials) -> RegistryOptions {
        self.credentials.push((registry.into(), credentials));
        self
    }

    /// A Docker configuration file (`config.json`) whose `auths` hold credentials. It is read at every pull and push.
    /// Credential helpers (`credsStore`, `credHelpers`) and identity tokens are not used: this crate runs no programs
    /// for it.
    #[must_use]
    pub fn docker_config(mut self, path: impl Into<PathBuf>) -> RegistryOptions {
        self.docker_config = Some(path.into());
        self
    }

    /// A file of PEM certificates of authorities to trust besides those of the system.
    #[must_use]
    pub fn certificate_authority(mut self, path: impl Into<PathBuf>) -> RegistryOptions {
        self.certificate_authority = Some(path.into());
        self
    }

    /// How long a connection may take to be established, TLS included; the default is 15 s.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> RegistryOptions {
        self.connect_timeout = limit;
        self
    }

    /// How long a registry may be silent in the middle of an exchange; the default is 60 s. A transfer as a whole has
    /// no limit.
    #[must_use]
    pub fn idle_timeout(mut self, limit: Duration) -> RegistryOptions {
        self.idle_timeout = limit;
        self
    }

    /// How often in a row a broken transfer or an answer of an overloaded registry is tried again; the default is 5,
    /// with pauses of 0.2 s, 0.4 s and so on between. A download goes on where it broke off.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> RegistryOptions {
        self.retries = retries;
        self
    }

    pub(super) fn patience(&self) -> Patience {
        Patience::new(self.retries, self.first_pause)
    }

    /// The credentials for the registry at `origin`.
    pub(super) fn find_credentials(&self, origin: &Origin) -> Result<Found> {
        for (registry, credentials) in &self.credentials {
            if Origin::of_registry(registry)? == *origin {
                return Ok(Found { credentials: Some(credentials.clone()), remark: None });
            }
        }
        self.docker_config.as_ref().map_or(Ok(Found::default()), |path| find_in_docker_config(path, origin))
    }
}
