//! The distribution protocol: pull and push (distribution-spec 1.1, and Docker's token authentication).
//!
//! Registries on loopback (127.0.0.0/8, ::1, `localhost`) are spoken to over http, all others over https; there is no
//! option to change that. The protocol pieces are machines without I/O, each in its file: [`challenge`], [`authorizer`]
//! (and where credentials may go), [`document`], [`upload`], [`patience`], [`refusal`]; [`transport`] does one HTTP
//! exchange, [`session`] adds authentication and redirects, [`pull`] and [`push`] put it together.
//!
//! Nothing a registry says is believed: documents must agree with themselves, with their digests and with what led to
//! them; blobs are verified before they become visible; every answer has a budget.
//!
//! Threads: up to three for each pull or push, named `coracle-registry`, which end before the call does; and, as ureq
//! does, none for the rest. Not done: credential helpers, identity tokens, client certificates, resuming an upload in
//! its middle, layers that live behind URLs, Docker's schema 1.

mod address;
mod authorizer;
mod challenge;
mod credential;
mod document;
mod download;
mod event;
mod options;
mod patience;
mod pull;
mod push;
mod refusal;
#[cfg(test)]
mod scripted;
mod session;
#[cfg(test)]
mod tests;
mod transport;
mod upload;
mod workers;

pub use credential::Credentials;
pub use event::{PullEvent, PushEvent};
pub use options::RegistryOptions;

use transport::Transport;

/// How many blobs travel at a time.
const TRANSFERS: usize = 3;

/// The client of all registries: options and connections, usable from any thread.
pub(crate) struct Registry {
    options: RegistryOptions,
    transport: Transport,
}

impl Registry {
    /// A client with these options; nothing is read or connected yet.
    pub(crate) fn new(options: RegistryOptions) -> Registry {
        let transport = Transport::new(&options);
        Registry { options, transport }
    }
}

/// For the fuzz targets: reads the bytes as each thing that a registry, or a Docker configuration file, may say.
#[cfg(fuzzing)]
pub(crate) fn read_as_everything(data: &[u8]) {
    let _ = document::read(Some(crate::spec::MediaType::MANIFEST), data.to_vec(), document::Expected::Anything)
        .map(|received| assert_eq!(received.descriptor.size, data.len() as u64));
    let refusal = refusal::Refusal::parse(404, data).into_error("it").to_string();
    assert!(!refusal.contains('\n') && refusal.len() < 2000);
    let Ok(origin) = address::Origin::of_registry("registry.example") else { return };
    let mut authorizer = authorizer::Authorizer::new(origin.clone(), None, None);
    let _ = authorizer.receive("", data, std::time::Instant::now());
    let Ok(text) = std::str::from_utf8(data) else { return };
    let challenge = challenge::Challenge::choose([text]);
    if let Ok(authorizer::Step::Fetch(request)) = authorizer.challenged(&origin, challenge, "", None) {
        assert!(request.url.origin().is_https());
    }
    let Ok(base) = origin.url("/v2/a/blobs/uploads/") else { return };
    if let Ok(url) = base.resolve(text) {
        assert_eq!(address::Url::parse(&url.to_request()).ok(), Some(url));
    }
    let _ = credential::find_in_docker_config_text(data, &origin);
}
