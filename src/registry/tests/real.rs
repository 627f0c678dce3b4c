//! Debian's docker-registry, with skopeo as the second opinion.

#[cfg(test)]
mod tests {
    use super::super::super::session::Session;
    use super::super::super::transport::{Body, Request};
    use super::super::super::{Credentials, PullEvent, PushEvent, Registry};
    use super::super::debian::Registry as Debian;
    use super::super::namespace::in_network_namespace;
    use super::super::program::require_program;
    use super::super::scratch::Scratch;
    use super::super::{Bytes, Place, hasty, noise, registry};
    use crate::ErrorKind;
    use crate::spec::MediaType;
    use crate::store::StoredImage;
    use crate::value::{Digest, Reference};
    use std::path::Path;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;
    use ureq::http::{Method, header};

    /// The bcrypt hash of "secret".
    const HASH: &str = "$2y$05$98X7bSiwWw44dQKICb.ijeMa1ohnF.MdIO9KmXK.rj4ecLnobokTW";

    fn push(client: &Registry, place: &Place, image: &StoredImage, target: &str) -> crate::Result<Vec<PushEvent>> {
        let mut events = Vec::new();
        let digest = client.push(&place.store, image, &target.parse()?, &mut |event| events.push(event))?;
        assert_eq!(digest, image.manifest_descriptor.digest);
        Ok(events)
    }

    fn skopeo(arguments: &[&str]) -> String {
        let output = Command::new(require_program("skopeo", "skopeo")).args(arguments).output().unwrap();
        assert!(output.status.success(), "skopeo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn count(events: &[PushEvent], matching: fn(&PushEvent) -> bool) -> usize {
        events.iter().filter(|event| matching(event)).count()
    }

    #[test]
    fn what_is_pushed_is_read_by_others_and_pulled_again() {
        let debian = Debian::start();
        let (here, there) = (Place::new(), Place::new());
        let image = here.make("made:here", &[&noise(1, 5 << 20), &noise(2, 100_000), b"", &noise(3, 1), b""]);
        let target = format!("{}/team/app:1.0", debian.host());
        let events = push(&registry(), &here, &image, &target).unwrap();
        assert_eq!(count(&events, |event| matches!(event, PushEvent::Uploaded { .. })), 5, "{events:?}");
        assert!(matches!(events.last(), Some(PushEvent::Tagged { .. })));

        let inspected = skopeo(&["inspect", "--tls-verify=false", &format!("docker://{target}")]);
        assert!(inspected.contains(&image.manifest_descriptor.digest.to_string()), "{inspected}");

        let (pulled, events) = there.pull(&registry(), &target).unwrap();
        assert_eq!(pulled.manifest_descriptor, image.manifest_descriptor);
        assert_eq!((&pulled.manifest, &pulled.config), (&image.manifest, &image.config));
        assert!(matches!(events[0], PullEvent::Resolved { layers: 5, .. }), "{events:?}");
        for layer in &image.manifest.layers {
            assert_eq!(there.store.blobs().read(&layer.digest, 6 << 20).unwrap().len() as u64, layer.size);
        }

        let (_, events) = there.pull(&registry(), &target).unwrap();
        assert_eq!(events.iter().filter(|event| matches!(event, PullEvent::Present { .. })).count(), 4, "{events:?}");
        assert_eq!(events.len(), 5, "nothing travels twice: {events:?}");
        let by_digest = format!("{}/team/app@{}", debian.host(), image.manifest_descriptor.digest);
        there.pull(&registry(), &by_digest).unwrap();
        let by_name = format!("localhost:{}/team/app:1.0", debian.address().port());
        there.pull(&registry(), &by_name).unwrap();
    }

    #[test]
    fn a_second_push_sends_nothing_and_another_repository_mounts() {
        let debian = Debian::start();
        let place = Place::new();
        let image = place.make(&format!("{}/one:1", debian.host()), &[b"one", b"two"]);
        push(&registry(), &place, &image, &format!("{}/one:1", debian.host())).unwrap();
        let again = push(&registry(), &place, &image, &format!("{}/one:2", debian.host())).unwrap();
        assert_eq!(count(&again, |event| matches!(event, PushEvent::Present { .. })), 3, "{again:?}");
        let other = push(&registry(), &place, &image, &format!("{}/two/b:1", debian.host())).unwrap();
        assert_eq!(count(&other, |event| matches!(event, PushEvent::Mounted { .. })), 3, "{other:?}");
        let pinned = format!("{}/two/b:1@{}", debian.host(), Digest::of(b"another"));
        assert_eq!(push(&registry(), &place, &image, &pinned).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn what_others_push_is_pulled_in_both_formats() {
        let debian = Debian::start();
        let (here, there) = (Place::new(), Place::new());
        here.make("made:here", &[&noise(4, 300_000), b"two"]);
        let layout = format!("oci:{}:made:here", here.store.root().display());
        for (format, media_type) in [("oci", MediaType::MANIFEST), ("v2s2", MediaType::DOCKER_MANIFEST)] {
            let target = format!("{}/by/skopeo:{format}", debian.host());
            let to = format!("docker://{target}");
            skopeo(&["--insecure-policy", "copy", "--dest-tls-verify=false", "--format", format, &layout, &to]);
            let (image, _) = there.pull(&registry(), &target).unwrap();
            assert_eq!(image.manifest_descriptor.media_type, media_type);
            assert_eq!(image.config.rootfs.diff_ids.len(), 2);
            let raw = skopeo(&["inspect", "--raw", "--tls-verify=false", &to]);
            assert_eq!(Digest::of(raw.as_bytes()), image.manifest_descriptor.digest);
            assert_eq!(there.store.blobs().read(&Digest::of(raw.as_bytes()), 1 << 20).unwrap(), raw.as_bytes());
        }
    }

    #[test]
    fn an_index_leads_to_the_manifest_of_the_platform() {
        let debian = Debian::start();
        let (here, there) = (Place::new(), Place::new());
        let mut entries = Vec::new();
        for architecture in ["arm64", "amd64"] {
            let platform = format!("linux/{architecture}").parse().unwrap();
            let bytes = Bytes::on(&platform, &[architecture.as_bytes()]);
            for (_, blob) in &bytes.blobs {
                here.store.blobs().put(blob).unwrap();
            }
            let name: Reference = format!("made:{architecture}").parse().unwrap();
            here.store.images().tag(&name, &bytes.descriptor).unwrap();
            let image = here.store.images().get(&name).unwrap();
            push(&registry(), &here, &image, &format!("{}/multi:{architecture}", debian.host())).unwrap();
            let mut entry = serde_json::to_value(&bytes.descriptor).unwrap();
            entry["platform"] = serde_json::json!({"os": "linux", "architecture": architecture});
            entries.push(entry);
        }
        let index = serde_json::to_vec(
            &serde_json::json!({"schemaVersion": 2, "mediaType": MediaType::INDEX, "manifests": entries}),
        )
        .unwrap();
        let tagged: Reference = format!("{}/multi:latest", debian.host()).parse().unwrap();
        let client = registry();
        let session = Session::open(&client, &tagged).unwrap();
        let request = Request {
            method: Method::PUT,
            url: session.url("manifests", "latest").unwrap(),
            headers: vec![(header::CONTENT_TYPE, MediaType::INDEX.to_owned())],
            body: Body::Bytes(&index),
        };
        assert_eq!(session.fetch(&request, "", 1 << 20).unwrap().status, 201);

        let pinned = format!("{}/multi@{}", debian.host(), Digest::of(&index));
        for reference in [tagged.to_string(), pinned] {
            let (image, _) = there.pull(&client, &reference).unwrap();
            assert_eq!(image.config.architecture, "amd64");
            assert_eq!(there.store.images().get(&reference.parse().unwrap()).unwrap(), image);
        }
        let riscv = "linux/riscv64".parse().unwrap();
        let error = client.pull(&there.store, &tagged, &riscv, &mut |_| {}).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.remedy(), Some("it exists for linux/arm64, linux/amd64"));
    }

    #[test]
    fn a_password_is_asked_for() {
        let debian = Debian::start_with_user("ann", HASH);
        let place = Place::new();
        let image = place.make("made:here", &[&noise(5, 1 << 20)]);
        let target = format!("{}/closed:1", debian.host());
        let client =
            |password: &str| Registry::new(hasty().credentials(debian.host(), Credentials::new("ann", password)));

        let error = push(&registry(), &place, &image, &target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.remedy().unwrap().contains("give credentials"), "{error}");
        let error = push(&client("wrong"), &place, &image, &target).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.remedy().unwrap().contains("check the credentials"), "{error}");
        push(&client("secret"), &place, &image, &target).unwrap();
        Place::new().pull(&client("secret"), &target).unwrap();
        assert_eq!(Place::new().pull_error(&registry(), &target).kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn damage_in_the_registry_is_noticed() {
        let debian = Debian::start();
        let place = Place::new();
        let image = place.make("made:here", &[&noise(6, 50_000)]);
        let target = format!("{}/damaged:1", debian.host());
        push(&registry(), &place, &image, &target).unwrap();
        let hex = image.manifest.layers[0].digest.hex();
        let data = format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]);
        let path = debian.storage().join(data);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(Place::new().pull_error(&registry(), &target).kind(), ErrorKind::Corrupt);
        std::fs::write(&path, &bytes[..10_000]).unwrap();
        assert_eq!(Place::new().pull_error(&registry(), &target).kind(), ErrorKind::Corrupt);
    }

    /// A docker-registry with TLS on 192.0.2.1:443 of this thread's network namespace.
    struct Encrypted(Child);

    impl Drop for Encrypted {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn run(program: &str, package: &str, arguments: &[&str]) {
        let output = Command::new(require_program(program, package)).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn encrypted(scratch: &Scratch) -> Encrypted {
        run("ip", "iproute2", &["address", "add", "192.0.2.1/32", "dev", "lo"]);
        let path = |name: &str| scratch.path().join(name).display().to_string();
        let (key, certificate) = (path("key.pem"), path("certificate.pem"));
        run(
            "openssl",
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=registry",
                "-addext",
                "subjectAltName=IP:192.0.2.1",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        );
        let configuration = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  \
             addr: 192.0.2.1:443\n  tls:\n    certificate: {certificate}\n    key: {key}\n",
            path("storage")
        );
        let configuration = scratch.file("config.yml", configuration);
        let child = Command::new(require_program("docker-registry", "docker-registry"))
            .args([Path::new("serve"), &configuration])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Encrypted(child);
        for _ in 0..400 {
            if std::net::TcpStream::connect("192.0.2.1:443").is_ok() {
                return server;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the registry does not come up");
    }

    #[test]
    fn beyond_loopback_only_trusted_encryption_will_do() {
        in_network_namespace(|| {
            let scratch = Scratch::new("encrypted");
            let _server = encrypted(&scratch);
            let place = Place::new();
            let image = place.make("made:here", &[&noise(8, 1 << 20)]);
            let target = "192.0.2.1/secure:1";
            let error = push(&registry(), &place, &image, target).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.remedy().unwrap().contains("certificate_authority"), "{error}");

            let trusting = || Registry::new(hasty().certificate_authority(scratch.path().join("certificate.pem")));
            push(&trusting(), &place, &image, target).unwrap();
            Place::new().pull(&trusting(), target).unwrap();

            let plain = Debian::start();
            let _forward = forward("192.0.2.1:5000", plain.address());
            let error = Place::new().pull_error(&trusting(), "192.0.2.1:5000/secure:1");
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(error.remedy().unwrap().contains("loopback only"), "{error}");
        });
    }

    /// Passes connections on, one at a time, until the process ends with the test.
    fn forward(from: &str, to: std::net::SocketAddr) -> std::thread::JoinHandle<()> {
        let listener = std::net::TcpListener::bind(from).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming().take(1).flatten() {
                let mut onward = std::net::TcpStream::connect(to).unwrap();
                let mut back = (onward.try_clone().unwrap(), stream.try_clone().unwrap());
                std::thread::spawn(move || std::io::copy(&mut back.0, &mut back.1));
                let _ = std::io::copy(&mut &stream, &mut onward);
            }
        })
    }
}
