//! Answers that are broken, contradictory or endless.

#[cfg(test)]
mod tests {
    use super::super::super::scripted::{Arrived, Script, Server};
    use super::super::super::{PullEvent, PushEvent, Registry};
    use super::super::{Bytes, Place, hasty, noise, registry};
    use crate::spec::MediaType;
    use crate::value::Digest;
    use crate::{Error, ErrorKind};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, Instant};

    /// The honest answer to a GET of `image` under any name.
    fn honest(image: &Bytes, arrived: &Arrived) -> Script {
        if arrived.target == "/v2/a/b/manifests/latest"
            || arrived.target.ends_with(&image.descriptor.digest.to_string())
        {
            return Script::new(200, image.manifest.clone()).header("content-type", MediaType::MANIFEST);
        }
        let blob = image.blobs.iter().find(|(digest, _)| arrived.target.ends_with(&digest.to_string()));
        blob.map_or(Script::new(404, ""), |(_, bytes)| Script::new(200, bytes.clone()))
    }

    /// A registry with an image of one layer of 3 MiB whose answer to the layer's request is `spoil`'s.
    fn with_layer(spoil: impl Fn(&Arrived, &[u8]) -> Script + Send + Sync + 'static) -> Server {
        let image = Bytes::new(&[&noise(7, 3 << 20)]);
        Server::start(move |arrived| {
            let (digest, bytes) = &image.blobs[0];
            if arrived.target.ends_with(&digest.to_string()) { spoil(arrived, bytes) } else { honest(&image, arrived) }
        })
    }

    /// A registry whose answer to every manifest request is `script`.
    fn with_manifest(script: Script) -> Server {
        Server::start(move |_| script.clone())
    }

    fn pull_error(server: &Server) -> Error {
        Place::new().pull_error(&registry(), &format!("{}/a/b", server.host()))
    }

    fn is_layer(arrived: &Arrived) -> bool {
        arrived.target.contains("/blobs/") && arrived.header("accept-encoding") == Some("identity")
    }

    #[test]
    fn a_broken_transfer_goes_on_where_it_was() {
        let server = with_layer(|arrived, bytes| match arrived.header("range") {
            None => Script::new(200, bytes).cut(1 << 20),
            Some(range) => {
                let from: usize = range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap();
                let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
                let rest = bytes[from..].to_vec();
                let length = rest.len();
                let script = Script::new(206, rest).header("content-range", range);
                if from < 2 << 20 { script.cut(length.min(1 << 20)) } else { script }
            }
        });
        let place = Place::new();
        let (image, events) = place.pull(&registry(), &format!("{}/a/b", server.host())).unwrap();
        assert_eq!(image.manifest.layers.len(), 1);
        let ranges: Vec<_> = server.arrived().iter().filter_map(|it| it.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges, ["bytes=1048576-", "bytes=2097152-"]);
        assert_eq!(events.iter().filter(|event| matches!(event, PullEvent::Retry { .. })).count(), 2);
        assert!(matches!(events.last(), Some(PullEvent::Verified { .. })), "{events:?}");
    }

    #[test]
    fn without_ranges_it_begins_again() {
        let tries = AtomicU32::new(0);
        let server = with_layer(move |_, bytes| match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Script::new(200, bytes).cut(1 << 20),
            1 => Script::new(416, ""),
            2 => Script::new(200, bytes).cut(100),
            _ => Script::new(200, bytes),
        });
        Place::new().pull(&registry(), &format!("{}/a/b", server.host())).unwrap();
    }

    #[test]
    fn retries_are_bounded() {
        let server = with_layer(|_, bytes| Script::new(200, bytes).cut(5000));
        let error = pull_error(&server);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(server.arrived().iter().filter(|it| is_layer(it)).count(), 1 + 4, "configuration, then 1 + 3");
        let server =
            with_layer(|_, bytes| Script::new(503, "").header("retry-after", if bytes.is_empty() { "" } else { "0" }));
        assert_eq!(pull_error(&server).kind(), ErrorKind::Unavailable);
        assert_eq!(server.arrived().iter().filter(|it| is_layer(it)).count(), 1 + 4);
    }

    #[test]
    fn an_overloaded_registry_is_asked_again() {
        let tries = AtomicU32::new(0);
        let image = Bytes::new(&[b"x"]);
        let server = Server::start(move |arrived| match tries.fetch_add(1, Ordering::Relaxed) % 2 {
            0 => Script::new(429, "").header("retry-after", "0"),
            _ => honest(&image, arrived),
        });
        Place::new().pull(&registry(), &format!("{}/a/b", server.host())).unwrap();
    }

    #[test]
    fn another_range_is_refused() {
        let server = with_layer(|arrived, bytes| match arrived.header("range") {
            None => Script::new(200, bytes).cut(1 << 20),
            Some(_) => Script::new(206, bytes).header("content-range", format!("bytes 0-{}/*", bytes.len() - 1)),
        });
        assert_eq!(pull_error(&server).kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn other_bytes_than_promised_never_become_visible() {
        let flipped = |_: &Arrived, bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            bytes[1000] ^= 1;
            Script::new(200, bytes)
        };
        let longer = |_: &Arrived, bytes: &[u8]| Script::new(200, [bytes, b"x"].concat());
        let endless = |_: &Arrived, _: &[u8]| Script::new(200, "").endless();
        let compressed = |_: &Arrived, bytes: &[u8]| Script::new(200, bytes).header("content-encoding", "gzip");
        for (server, kind) in [
            (with_layer(flipped), ErrorKind::Corrupt),
            (with_layer(longer), ErrorKind::Corrupt),
            (with_layer(endless), ErrorKind::Corrupt),
            (with_layer(compressed), ErrorKind::Unavailable),
            (with_layer(|_, _| Script::new(404, "")), ErrorKind::NotFound),
        ] {
            let image = Bytes::new(&[&noise(7, 3 << 20)]);
            let place = Place::new();
            let error = place.pull_error(&registry(), &format!("{}/a/b", server.host()));
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("layer 52c041e38d7d: "), "{error}");
            assert!(!place.store.blobs().contains(&image.blobs[0].0));
        }
    }

    #[test]
    fn documents_must_be_what_they_say() {
        let manifest = Bytes::new(&[b"x"]).manifest;
        let mut both: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        both["manifests"] = serde_json::json!([]);
        let both = serde_json::to_vec(&both).unwrap();
        let answer =
            |body: &[u8], media_type: &str| with_manifest(Script::new(200, body).header("content-type", media_type));
        for (server, kind) in [
            (answer(&manifest, MediaType::INDEX), ErrorKind::Corrupt),
            (answer(&manifest, "text/html"), ErrorKind::Corrupt),
            (answer(&both, MediaType::MANIFEST), ErrorKind::InvalidInput),
            (answer(b"<html>", "text/html"), ErrorKind::Corrupt),
            (answer(b"{}", "application/vnd.docker.distribution.manifest.v1+prettyjws"), ErrorKind::Unsupported),
            (answer(&manifest[..50], MediaType::MANIFEST), ErrorKind::Corrupt),
            (
                with_manifest(Script::new(200, "").header("content-type", MediaType::MANIFEST).endless()),
                ErrorKind::LimitExceeded,
            ),
            (
                with_manifest(
                    Script::new(200, manifest.clone())
                        .header("content-type", MediaType::MANIFEST)
                        .header("docker-content-digest", Digest::of(b"other").to_string()),
                ),
                ErrorKind::Corrupt,
            ),
            (with_manifest(Script::new(200, "").header("content-length", "99999999999")), ErrorKind::LimitExceeded),
            (with_manifest(Script::new(204, "")), ErrorKind::Unavailable),
            (with_manifest(Script::redirect("/v2/a/b/manifests/latest")), ErrorKind::Unavailable),
            (with_manifest(Script::redirect("http://192.0.2.1/")), ErrorKind::Unavailable),
            (with_manifest(Script::redirect("file:///etc/passwd")), ErrorKind::Unavailable),
            (with_manifest(Script::new(302, "")), ErrorKind::Unavailable),
        ] {
            let error = pull_error(&server);
            assert_eq!(error.kind(), kind, "{error}");
        }
    }

    #[test]
    fn another_manifest_than_asked_for_by_digest_is_refused() {
        let image = Bytes::new(&[b"x"]);
        let server = with_manifest(Script::new(200, image.manifest).header("content-type", MediaType::MANIFEST));
        let reference = format!("{}/a@{}", server.host(), Digest::of(b"wanted"));
        assert_eq!(Place::new().pull_error(&registry(), &reference).kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn a_silent_registry_is_given_up() {
        let server = with_manifest(Script::new(200, "").silence(Duration::from_secs(3)));
        let impatient = Registry::new(hasty().idle_timeout(Duration::from_millis(100)).retries(1));
        let began = Instant::now();
        let error = Place::new().pull_error(&impatient, &format!("{}/a/b", server.host()));
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(began.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let missing = with_manifest(Script::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#));
        let reference = format!("{}/a/b:1", missing.host());
        let error = Place::new().pull_error(&registry(), &reference);
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(&format!("image {reference}: ")), "{error}");

        let host = missing.host();
        drop(missing);
        let error = Place::new().pull_error(&registry(), &reference);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(error.remedy(), Some(format!("is the registry running at http://{host}?").as_str()), "{error}");

        let error = Place::new().pull_error(&registry(), "python:3");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.remedy().unwrap().contains("registry"), "{error}");
    }

    #[test]
    fn a_present_blob_of_another_size_than_described_is_refused() {
        let image = Bytes::new(&[b"x"]);
        let mut lying: serde_json::Value = serde_json::from_slice(&image.manifest).unwrap();
        lying["layers"][0]["size"] = 5.into();
        let lying = serde_json::to_vec(&lying).unwrap();
        let layer = image.blobs[0].1.clone();
        let server = Server::start(move |arrived| match arrived.target.contains("/manifests/") {
            true => Script::new(200, lying.clone()).header("content-type", MediaType::MANIFEST),
            false => honest(&image, arrived),
        });
        let place = Place::new();
        place.store.blobs().put(&layer).unwrap();
        let error = place.pull_error(&registry(), &format!("{}/a/b", server.host()));
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }

    #[test]
    fn a_failed_upload_begins_again() {
        let tries = AtomicU32::new(0);
        let server = Server::start(move |arrived| match arrived.method.as_str() {
            "HEAD" => Script::new(404, ""),
            "POST" => Script::new(202, "").header("location", "upload"),
            _ if arrived.target.contains("/manifests/") => Script::new(201, ""),
            _ if tries.fetch_add(1, Ordering::Relaxed) < 2 => Script::new(503, "").header("retry-after", "0"),
            _ => Script::new(201, ""),
        });
        let place = Place::new();
        let image = place.make("made:here", &[&noise(9, 1 << 20)]);
        let target = format!("{}/a/b:1", server.host()).parse().unwrap();
        let mut retries = 0;
        registry()
            .push(&place.store, &image, &target, &mut |event| {
                retries += u32::from(matches!(event, PushEvent::Retry { .. }));
            })
            .unwrap();
        assert_eq!(retries, 2);
        let puts: Vec<_> = server.arrived().into_iter().filter(|it| it.target.contains("uploads/upload?")).collect();
        assert_eq!(puts.len(), 4);
        for put in puts {
            assert!(put.target.ends_with(&Digest::of(&put.body).hex()), "the whole blob, every time");
        }
    }

    #[test]
    fn one_failure_stops_the_others() {
        let image = Bytes::new(&[b"one", b"two", b"three"]);
        let server = Server::start(move |arrived| {
            let at = image.blobs.iter().position(|(digest, _)| arrived.target.ends_with(&digest.to_string()));
            match at {
                Some(0) => Script::new(404, "").silence(Duration::from_millis(100)),
                Some(1 | 2) => Script::new(503, "").header("retry-after", "20"),
                _ => honest(&image, arrived),
            }
        });
        let began = Instant::now();
        assert_eq!(pull_error(&server).kind(), ErrorKind::NotFound);
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn an_image_of_another_platform_is_not_taken_unasked() {
        let image = Bytes::on(&"linux/s390x".parse().unwrap(), &[b"x"]);
        let server = Server::start(move |arrived| honest(&image, arrived));
        let error = pull_error(&server);
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("linux/s390x"), "{error}");
    }
}
