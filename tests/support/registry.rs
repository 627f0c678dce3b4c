//! Debian's docker-registry on loopback, with storage of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::http::http_get_until;
use super::program::require_program;
use super::scratch::Scratch;

/// A registry that lives as long as this value.
pub struct Registry {
    child: Child,
    address: SocketAddr,
    scratch: Scratch,
}

impl Registry {
    /// Starts a registry on a free port of 127.0.0.1 and waits until it answers.
    pub fn start() -> Registry {
        Registry::start_on(free_port())
    }

    /// Starts a registry on this port of 127.0.0.1 and waits until it answers.
    pub fn start_on(port: u16) -> Registry {
        Registry::launch(port, None)
    }

    /// Starts a registry that admits only `user` by HTTP basic authentication.
    ///
    /// `hash` is the bcrypt hash of the password, as `htpasswd -nB` prints it.
    pub fn start_with_user(user: &str, hash: &str) -> Registry {
        Registry::launch(free_port(), Some(format!("{user}:{hash}\n")))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The host part of a reference to an image in it: `127.0.0.1:<port>`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Its storage, for tests that damage it.
    pub fn storage(&self) -> std::path::PathBuf {
        self.scratch.path().join("storage")
    }

    fn launch(port: u16, users: Option<String>) -> Registry {
        let program = require_program("docker-registry", "docker-registry");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let busy = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok();
        assert!(!busy, "this test needs the port {address}, and another program listens there");
        let scratch = Scratch::new("registry");
        let users = users.map(|line| scratch.file("htpasswd", line));
        let storage = scratch.path().join("storage");
        let configuration = scratch.file("config.yml", configuration(address, &storage, users.as_deref()));
        let child = Command::new(program)
            .arg("serve")
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry can be started");
        let registry = Registry { child, address, scratch };
        http_get_until(address, "/v2/", Duration::from_secs(20)).expect("docker-registry answers");
        registry
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(address: SocketAddr, storage: &Path, users: Option<&Path>) -> String {
    let mut text = format!(
        "version: 0.1\nlog:\n  accesslog:\n    disabled: true\n  level: error\nstorage:\n  delete:\n    enabled: true\n  \
         filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
        storage.display()
    );
    if let Some(users) = users {
        text += &format!("auth:\n  htpasswd:\n    realm: coracle\n    path: {}\n", users.display());
    }
    text
}

/// A port of 127.0.0.1 that nobody listens on now.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback is free");
    listener.local_addr().expect("a bound socket has an address").port()
}

#[cfg(test)]
mod tests {
    use super::super::http::http_get;
    use super::super::namespace::in_network_namespace;
    use super::*;

    #[test]
    fn a_registry_answers_in_a_private_network_and_asks_for_the_password() {
        in_network_namespace(|| {
            let open = Registry::start();
            let answer = http_get(open.address(), "/v2/").expect("an answer");
            assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{}", answer.head);
            assert!(open.storage().starts_with(open.scratch.path()));
            // The bcrypt hash of "secret".
            let hash = "$2y$05$eX2vW2rFmO3Vv0wP5Tq3UOe7oH2G3v5uGZlE8oQ9aX5p0a2mQk0yS";
            drop(open);
            let closed = Registry::start_with_user("ann", hash);
            assert_eq!(http_get(closed.address(), "/v2/").expect("an answer").status, 401);
        });
    }
}
