//! Who is sent credentials, and who is not.

#[cfg(test)]
mod tests {
    use super::super::super::scripted::{Arrived, Script, Server};
    use super::super::super::{Credentials, Registry};
    use super::super::scratch::Scratch;
    use super::super::{Bytes, Place, hasty};
    use crate::ErrorKind;
    use crate::spec::MediaType;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// `ann:secret`
    const BASIC: &str = "Basic YW5uOnNlY3JldA==";

    fn ann(host: &str) -> Registry {
        Registry::new(hasty().credentials(host, Credentials::new("ann", "secret")))
    }

    fn manifest(image: &Bytes) -> Script {
        Script::new(200, image.manifest.clone()).header("content-type", MediaType::MANIFEST)
    }

    fn blob(image: &Bytes, arrived: &Arrived) -> Script {
        let blob = image.blobs.iter().find(|(digest, _)| arrived.target.contains(&digest.to_string()));
        blob.map_or(Script::new(404, ""), |(_, bytes)| Script::new(200, bytes.clone()))
    }

    /// A registry that asks for basic authentication and sends everybody elsewhere for blobs.
    fn redirecting(image: Arc<Bytes>, elsewhere: String) -> Server {
        Server::start(move |arrived| match arrived.header("authorization") {
            Some(BASIC) if arrived.target.contains("/manifests/") => manifest(&image),
            Some(BASIC) => Script::redirect(format!("{elsewhere}{}?signature=s", arrived.target)),
            _ => Script::new(401, "").header("www-authenticate", r#"Basic realm="r""#),
        })
    }

    #[test]
    fn a_redirect_to_another_host_carries_no_credentials() {
        let image = Arc::new(Bytes::new(&[b"one", b"two"]));
        let for_cdn = image.clone();
        let cdn = Server::start(move |arrived| blob(&for_cdn, arrived));
        let server = redirecting(image, cdn.url(""));
        Place::new().pull(&ann(&server.host()), &format!("{}/a/b", server.host())).unwrap();
        assert_eq!(cdn.arrived().len(), 3);
        assert!(cdn.arrived().iter().all(|arrived| arrived.header("authorization").is_none()));
        assert!(cdn.arrived().iter().all(|arrived| arrived.target.ends_with("?signature=s")));
    }

    #[test]
    fn a_redirect_that_comes_back_carries_none_either() {
        let image = Arc::new(Bytes::new(&[b"one"]));
        let back = Arc::new(std::sync::Mutex::new(String::new()));
        let target = back.clone();
        let cdn = Server::start(move |_| Script::redirect(format!("{}/v2/victim", target.lock().unwrap())));
        let server = redirecting(image, cdn.url(""));
        *back.lock().unwrap() = server.url("");
        let error = Place::new().pull_error(&ann(&server.host()), &format!("{}/a/b", server.host()));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        let victim: Vec<_> = server.arrived().into_iter().filter(|arrived| arrived.target == "/v2/victim").collect();
        assert!(!victim.is_empty() && victim.iter().all(|arrived| arrived.header("authorization").is_none()));
    }

    #[test]
    fn the_challenge_of_a_redirect_target_is_not_answered() {
        let image = Arc::new(Bytes::new(&[b"one"]));
        let thief = Server::start(|_| Script::new(200, r#"{"token":"t"}"#));
        let realm = thief.url("/token");
        for challenge in [format!(r#"Bearer realm="{realm}""#), r#"Basic realm="r""#.to_owned()] {
            let cdn = Server::start(move |_| Script::new(401, "").header("www-authenticate", challenge.clone()));
            let server = redirecting(image.clone(), cdn.url(""));
            let error = Place::new().pull_error(&ann(&server.host()), &format!("{}/a/b", server.host()));
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            assert!(cdn.arrived().iter().all(|arrived| arrived.header("authorization").is_none()));
            assert_eq!(cdn.arrived().len(), 1, "not asked twice");
        }
        assert!(thief.arrived().is_empty());
    }

    #[test]
    fn tokens_are_fetched_with_the_credentials_and_renewed() {
        let image = Bytes::new(&[b"one", b"two", b"three"]);
        let count = AtomicU32::new(0);
        let tokens = Server::start(move |arrived| match arrived.header("authorization") {
            Some(BASIC) => {
                let number = count.fetch_add(1, Ordering::Relaxed);
                Script::new(200, format!(r#"{{"token":"t{number}","expires_in":300}}"#))
            }
            _ => Script::new(401, ""),
        });
        let realm = tokens.url("/token");
        // The first token serves the manifest only.
        let server = Server::start(move |arrived| match arrived.header("authorization") {
            Some("Bearer t0") if arrived.target.contains("/manifests/") => manifest(&image),
            Some(token) if token.starts_with("Bearer t") && token != "Bearer t0" => blob(&image, arrived),
            _ => Script::new(401, "").header(
                "www-authenticate",
                format!(r#"Bearer realm="{realm}",service="the registry",scope="repository:a/b:pull",error="x""#),
            ),
        });
        Place::new().pull(&ann(&server.host()), &format!("{}/a/b", server.host())).unwrap();
        assert_eq!(tokens.arrived()[0].target, "/token?service=the%20registry&scope=repository%3Aa%2Fb%3Apull");
        assert_eq!(tokens.arrived().len(), 2);
        assert!(server.arrived().iter().all(|arrived| arrived.header("authorization") != Some(BASIC)));

        let stranger = Registry::new(hasty().credentials("127.0.0.1:1", Credentials::new("ann", "secret")));
        let error = Place::new().pull_error(&stranger, &format!("{}/a/b", server.host()));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.remedy().unwrap().contains("give credentials"), "{error}");
    }

    #[test]
    fn an_anonymous_token_does() {
        let image = Bytes::new(&[b"one"]);
        let tokens = Server::start(|arrived| match arrived.header("authorization") {
            None => Script::new(200, r#"{"access_token":"t"}"#),
            Some(_) => Script::new(400, ""),
        });
        let realm = tokens.url("/token");
        let server = Server::start(move |arrived| match arrived.header("authorization") {
            Some("Bearer t") if arrived.target.contains("/manifests/") => manifest(&image),
            Some("Bearer t") => blob(&image, arrived),
            _ => Script::new(401, "").header("www-authenticate", format!(r#"Bearer realm="{realm}""#)),
        });
        Place::new().pull(&Registry::new(hasty()), &format!("{}/a/b", server.host())).unwrap();
        assert_eq!(tokens.arrived().len(), 1, "one token for all of it");
    }

    #[test]
    fn a_token_that_is_not_accepted_is_no_endless_loop() {
        let tokens = Server::start(|_| Script::new(200, r#"{"token":"t"}"#));
        let realm = tokens.url("/token");
        let server = Server::start(move |_| {
            Script::new(401, r#"{"errors":[{"code":"DENIED"}]}"#)
                .header("www-authenticate", format!(r#"Bearer realm="{realm}""#))
        });
        let error = Place::new().pull_error(&ann(&server.host()), &format!("{}/a/b", server.host()));
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert_eq!((server.arrived().len(), tokens.arrived().len()), (2, 1));
    }

    #[test]
    fn a_realm_without_encryption_gets_nothing() {
        let server = Server::start(|_| {
            Script::new(401, "").header("www-authenticate", r#"Bearer realm="http://192.0.2.1/token""#)
        });
        let error = Place::new().pull_error(&ann(&server.host()), &format!("{}/a/b", server.host()));
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("not encrypted"), "{error}");
    }

    #[test]
    fn uploads_elsewhere_carry_no_credentials() {
        let storage = Server::start(|_| Script::new(201, ""));
        let location = storage.url("/put?signature=s");
        let server = Server::start(move |arrived| match (arrived.header("authorization"), arrived.method.as_str()) {
            (Some(BASIC), "HEAD") => Script::new(404, ""),
            (Some(BASIC), "POST") => Script::new(202, "").header("location", location.clone()),
            (Some(BASIC), "PUT") => Script::new(201, ""),
            _ => Script::new(401, "").header("www-authenticate", "Basic"),
        });
        let place = Place::new();
        let image = place.make("made:here", &[b"one"]);
        let target = format!("{}/a/b:1", server.host()).parse().unwrap();
        ann(&server.host()).push(&place.store, &image, &target, &mut |_| {}).unwrap();
        let puts = storage.arrived();
        assert_eq!(puts.len(), 2);
        for put in &puts {
            assert_eq!(put.header("authorization"), None);
            let digest = crate::value::Digest::of(&put.body).to_string().replace(':', "%3A");
            assert_eq!(put.target, format!("/put?signature=s&digest={digest}"));
        }
        let last = server.arrived().pop().unwrap();
        assert_eq!((last.method.as_str(), last.target.as_str()), ("PUT", "/v2/a/b/manifests/1"));
        assert_eq!(crate::value::Digest::of(&last.body), image.manifest_descriptor.digest);
    }

    #[test]
    fn a_docker_configuration_serves() {
        let image = Arc::new(Bytes::new(&[b"one"]));
        let server = Server::start(move |arrived| match arrived.header("authorization") {
            Some(BASIC) if arrived.target.contains("/manifests/") => manifest(&image),
            Some(BASIC) => blob(&image, arrived),
            _ => Script::new(401, "").header("www-authenticate", "Basic"),
        });
        let scratch = Scratch::new("docker-config");
        let text = format!(r#"{{"auths":{{"{}":{{"auth":"YW5uOnNlY3JldA=="}}}}}}"#, server.host());
        let config = scratch.file("config.json", text);
        let reference = format!("{}/a/b", server.host());
        Place::new().pull(&Registry::new(hasty().docker_config(&config)), &reference).unwrap();
        let missing = Registry::new(hasty().docker_config(scratch.path().join("missing")));
        assert_eq!(Place::new().pull_error(&missing, &reference).kind(), ErrorKind::NotFound);
        std::fs::write(&config, r#"{"credsStore":"desktop"}"#).unwrap();
        let helpers = Place::new().pull_error(&Registry::new(hasty().docker_config(&config)), &reference);
        assert!(helpers.remedy().unwrap().contains("helpers"), "{helpers}");
    }
}
