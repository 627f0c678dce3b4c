//! Builds as users write them.

use super::*;

const SERVICE: &str = "ARG BASE=busybox
FROM $BASE
WORKDIR /srv
ENV MODE=prod
COPY requirements.txt .
RUN cat requirements.txt > installed
COPY app.py .
EXPOSE 8000
CMD [\"sh\", \"app.py\"]
";

fn service() -> Bench {
    let bench = Bench::new();
    bench.file("requirements.txt", "flask\n");
    bench.file("app.py", "print(1)\n");
    bench
}

#[test]
fn a_second_build_makes_nothing_and_gives_the_same_image() {
    let bench = service();
    let first = bench.dockerfile(SERVICE).tag("shop/web:1").run().unwrap();
    assert_eq!(bench.read(&first, "/srv/installed"), "flask\n");
    let before = bench.layers();
    let second = bench.dockerfile(SERVICE).tag("shop/web:2").run().unwrap();
    assert_eq!(bench.layers(), before);
    assert_eq!(second.digest(), first.digest());
    let events = bench.events.lock().unwrap().clone();
    assert!(events.contains(&"[5/8] RUN cat requirements.txt > installed (cached)".to_owned()), "{events:?}");
    assert_eq!(second.layer_count(), 5);
    let config = second.config().config.clone().unwrap();
    assert_eq!(config.cmd.unwrap(), ["sh", "app.py"]);
    assert_eq!(config.working_dir.unwrap(), "/srv");
    assert!(config.env.unwrap().contains(&"MODE=prod".to_owned()));
    assert!(config.exposed_ports.unwrap().contains_key("8000/tcp"));
    let history = history(second.config());
    let made: Vec<&str> = history.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(
        made[3..6],
        ["ENV MODE=prod", "COPY requirements.txt .", "RUN /bin/sh -c cat requirements.txt > installed"]
    );
    assert_eq!(history.iter().filter(|(_, empty)| !empty).count(), second.layer_count());
}

#[test]
fn a_changed_file_runs_only_what_depends_on_it() {
    let bench = service();
    bench.build(SERVICE);
    bench.file("app.py", "print(2)\n");
    let changed = bench.build(SERVICE);
    assert_eq!(bench.read(&changed, "/srv/app.py"), "print(2)\n");
    let carried_out = bench.carried_out();
    assert!(carried_out.contains(&"[6/8] COPY app.py .".to_owned()), "{carried_out:?}");
    assert!(!carried_out.iter().any(|step| step.contains("RUN") || step.contains("requirements")), "{carried_out:?}");
    bench.file("requirements.txt", "django\n");
    let changed = bench.build(SERVICE);
    assert_eq!(bench.read(&changed, "/srv/installed"), "django\n");
    let again = bench.dockerfile(SERVICE).no_cache(true).run().unwrap();
    assert_eq!(again.config().rootfs.diff_ids.len(), changed.config().rootfs.diff_ids.len());
    assert!(bench.events.lock().unwrap().iter().all(|event| !event.ends_with("(cached)")));
}

#[test]
fn collected_layers_are_made_again() {
    let bench = service();
    let first = bench.dockerfile(SERVICE).tag("web").run().unwrap();
    bench.services.store.images().untag(&"web".parse().unwrap()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(bench.services.store.collect_garbage().unwrap().layers > 0);
    let second = bench.build(SERVICE);
    assert_eq!(bench.read(&second, "/srv/installed"), "flask\n");
    assert_eq!(first.layer_count(), second.layer_count());
}

#[test]
fn only_the_stages_that_are_needed_are_built() {
    let bench = Bench::new();
    let text = "FROM busybox AS unused
RUN exit 7
FROM busybox AS build
RUN mkdir -p /out && echo made > /out/program && chown 5:6 /out/program && ln -s program /out/link
FROM scratch
COPY --from=build /out /
COPY --from=busybox /etc/group /copied
";
    let text = text.replace("ln -s", "busybox ln -s");
    let image = bench.build(&text);
    assert_eq!(bench.read(&image, "/program"), "made\n");
    assert_eq!(bench.owner(&image, "/program"), (5, 6, 0o644));
    assert_eq!(bench.view(&image).read_link(Path::new("/link")).unwrap(), Some("program".into()));
    assert!(bench.read(&image, "/copied").contains("app"));
    assert_eq!(image.layer_count(), 2);
    let (kind, message) = bench.fail("FROM busybox AS a\nRUN exit 7\nFROM a\n");
    assert_eq!(kind, ErrorKind::CommandFailed);
    assert_eq!(message, "Dockerfile:2: RUN exit 7: exited with 7");
    let stage = bench.dockerfile(&text).target("build").run().unwrap();
    assert_eq!(bench.read(&stage, "/out/program"), "made\n");
    let error = bench.dockerfile(&text).target("biuld").run().unwrap_err();
    assert!(error.to_string().contains("it has unused, build"), "{error}");
}

#[test]
fn arguments_and_variables_have_their_scopes() {
    let bench = Bench::new();
    let text = "ARG VERSION=1
FROM busybox
ARG VERSION
ARG NAME=x
ENV NAME=env PLACE=/opt/$VERSION
RUN echo \"$VERSION $NAME $PLACE $TARGETARCH\" > /said
WORKDIR $PLACE/deep
WORKDIR ../other
COPY <<EOF ./document
it's $VERSION
EOF
LABEL version=\"v $VERSION\" name='$NAME'
";
    let image = bench.dockerfile(text).build_arg("VERSION", "2").build_arg("TYPO", "").run().unwrap();
    assert_eq!(bench.read(&image, "/said"), "2 env /opt/2 \n");
    assert_eq!(bench.read(&image, "/opt/2/other/document"), "it's 2\n");
    let config = image.config().config.clone().unwrap();
    assert_eq!(config.working_dir.unwrap(), "/opt/2/other");
    let labels = config.labels.unwrap();
    assert_eq!((labels["version"].as_str(), labels["name"].as_str()), ("v 2", "$NAME"));
    assert!(!config.env.unwrap().iter().any(|entry| entry.starts_with("VERSION")));
    assert!(bench.events.lock().unwrap().iter().any(|event| event.contains("build argument TYPO")));
    assert!(history(image.config()).iter().any(|(text, _)| text.starts_with("RUN |1 VERSION=2 /bin/sh -c")));
    let default = bench.build(text);
    assert_eq!(bench.read(&default, "/said"), "1 env /opt/1 \n");
}

#[test]
fn triggers_of_the_base_run_in_the_image_built_on_it() {
    let bench = Bench::new();
    bench.file("app.py", "x");
    let base = "FROM busybox\nONBUILD COPY app.py /app/\nONBUILD RUN echo on > /ran\n";
    bench.dockerfile(base).tag("base").run().unwrap();
    let image = bench.build("FROM base\nRUN cat /ran /app/app.py > /both\n");
    assert_eq!(bench.read(&image, "/both"), "on\nx");
    assert_eq!(image.config().config.as_ref().unwrap().on_build, None);
}

#[test]
fn errors_name_file_line_and_remedy() {
    let bench = Bench::new();
    bench.file("there", "");
    use ErrorKind::{CommandFailed, Exec, InvalidInput, NotFound};
    for (text, kind, part) in [
        ("FROM busybox\nCOPY gone /\n", NotFound, "Dockerfile:2: COPY gone /: the build context has no gone"),
        ("FROM busybox\nCOPY ../x /\n", InvalidInput, "Dockerfile:2: COPY ../x /: ../x is outside the build"),
        ("FROM busybox\nCOPY *.py /\n", NotFound, "the build context has no *.py"),
        ("FROM gone:1\n", NotFound, "Dockerfile:1: FROM gone:1: image gone:1 is not in the store (hint"),
        ("FROM busybox\nRUNN x\n", InvalidInput, "Dockerfile:2: unknown instruction RUNN (hint: did you"),
        ("FROM busybox\nRUN echo a; echo no >&2; exit 3\n", CommandFailed, "exited with 3 (hint: it wrote last: "),
        ("FROM busybox\nRUN [\"/gone\"]\n", Exec, "Dockerfile:2: RUN [\"/gone\"]: "),
        ("FROM busybox\nUSER nobody\nRUN id\n", NotFound, "Dockerfile:3: RUN id: the image's /etc/passwd has"),
        ("FROM busybox\nCOPY there /bin/sh/x\n", InvalidInput, "/usr/bin/busybox is in the image, and no dir"),
        ("FROM busybox\nRUN --mount=type=secret,id=k,required true\n", NotFound, ".secret(id, path)"),
        ("FROM ${NONE}\n", InvalidInput, "Dockerfile:1: FROM ${NONE}: is empty"),
        ("FROM busybox\nCOPY --chmod=9 there /\n", InvalidInput, "Dockerfile:2: COPY --chmod=9 is not"),
        ("FROM busybox\nCOPY --chown=who there /\n", NotFound, "no user \"who\""),
        ("FROM busybox\nEXPOSE http\n", InvalidInput, "Dockerfile:2: EXPOSE http: "),
    ] {
        let (actual, message) = bench.fail(text);
        assert!(message.contains(part), "{text}: {message}");
        assert_eq!(actual, kind, "{text}: {message}");
    }
}

#[test]
fn what_must_fail_fails_before_anything_runs() {
    let bench = Bench::new();
    for text in [
        "FROM busybox\nRUN echo ran\nCOPY gone /\n",
        "FROM busybox AS one\nRUN echo ran\nFROM gone\nCOPY --from=one /x /\n",
    ] {
        assert_eq!(bench.fail(text).0, ErrorKind::NotFound);
        let events = bench.events.lock().unwrap();
        assert!(events.is_empty(), "{events:?}");
    }
}

#[test]
fn a_source_that_changes_meanwhile_is_not_kept_under_the_wrong_key() {
    let bench = service();
    let text = "FROM busybox\nCOPY app.py /\n";
    let path = bench.context.join("app.py");
    let change = path.clone();
    let build = bench.dockerfile(text).on_progress(move |event| {
        if event.to_string().contains("COPY") {
            fs::write(&change, "changed").unwrap();
        }
    });
    assert_eq!(build.run().unwrap_err().kind(), ErrorKind::InUse);
    fs::write(&path, "print(1)\n").unwrap();
    let image = bench.build(text);
    assert_eq!(bench.read(&image, "/app.py"), "print(1)\n");
}
