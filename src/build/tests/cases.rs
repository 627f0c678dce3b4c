//! What lands in a layer, and what does not.

use super::*;
use std::os::unix::fs::MetadataExt;

#[test]
fn the_twins_make_the_same_image() {
    let bench = Bench::new();
    bench.file("app/main.py", "x");
    let text = "FROM busybox
WORKDIR /srv
COPY app ./
RUN [\"sh\", \"-c\", \"id -u > who\"]
RUN echo shell
ENV A=b
LABEL k=v
EXPOSE 80
VOLUME /data
USER app
STOPSIGNAL SIGINT
ENTRYPOINT [\"sh\"]
CMD [\"main.py\"]
";
    let file = bench.build(text);
    let typed = bench
        .builder()
        .from("busybox")
        .workdir("/srv")
        .copy(bench.context.join("app"), "./")
        .run(["sh", "-c", "id -u > who"])
        .run_shell("echo shell")
        .env("A", "b")
        .label("k", "v")
        .expose(80)
        .volume("/data")
        .user("app")
        .stop_signal("SIGINT")
        .entrypoint(["sh"])
        .command(["main.py"])
        .commit()
        .unwrap();
    assert_eq!(typed.config(), file.config());
    assert_eq!(typed.digest(), file.digest());
    assert!(typed.reference().to_string().starts_with("untagged@sha256:"));
}

#[test]
fn a_command_leaves_its_files_and_nothing_of_the_engine() {
    let bench = Bench::new();
    let nothing = bench.build("FROM busybox\nRUN true\n");
    assert_eq!(nothing.layer_count(), 1);
    assert!(history(nothing.config()).last().unwrap().1);
    let image = bench.build("FROM busybox\nRUN echo x > /etc/made && rm /etc/group\n");
    assert_eq!(bench.last_layer(&image), ["/etc", "/etc/made"]);
    assert!(bench.view(&image).metadata(Path::new("/etc/group")).unwrap().is_none());
    // A file system without /etc, too: everything must be gone again.
    bench.builder().copy("/bin/busybox", "/busybox").tag("bare").commit().unwrap();
    let bare = bench.build("FROM bare\nRUN [\"/busybox\", \"touch\", \"/file\"]\n");
    assert_eq!(bench.last_layer(&bare), ["/file"]);
    let mounts = "FROM bare\nRUN --mount=type=tmpfs,target=/a/b/c --mount=type=secret,id=k [\"/busybox\", \"true\"]\n";
    bench.file("key", "hunter2");
    let bare = bench.dockerfile(mounts).secret("k", bench.context.join("key")).run().unwrap();
    assert_eq!(bare.layer_count(), 1);
}

#[test]
fn secrets_and_binds_are_seen_and_not_kept() {
    let bench = Bench::new();
    let secret = bench._scratch.path().join("key");
    fs::write(&secret, "hunter2").unwrap();
    bench.file("data/input", "in");
    let text = "FROM busybox
RUN --mount=type=secret,id=key --mount=type=bind,source=data,target=/mnt/data \\
  --mount=type=bind,from=busybox,source=/etc/passwd,target=/pw \\
  test \"$(cat /run/secrets/key)\" = hunter2 && cat /mnt/data/input /host/key > /got && test -s /pw
";
    let image = bench.dockerfile(text).secret("key", &secret).bind(&secret, "/host/key").run().unwrap();
    assert_eq!(bench.read(&image, "/got"), "inhunter2");
    assert_eq!(bench.last_layer(&image), ["/got"]);
    bench.file("data/input", "changed");
    let again = bench.dockerfile(text).secret("key", &secret).bind(&secret, "/host/key").run().unwrap();
    assert_eq!(bench.read(&again, "/got"), "changedhunter2");
}

#[test]
fn copies_follow_links_of_the_image_and_keep_its_directories() {
    let bench = Bench::new();
    bench.file("tool", "#!");
    fs::set_permissions(bench.context.join("tool"), fs::Permissions::from_mode(0o750)).unwrap();
    bench.dockerfile("FROM busybox\nRUN chmod 711 /usr/bin && chown 3:4 /usr/bin\n").tag("odd").run().unwrap();
    let image = bench.build("FROM odd\nCOPY tool /bin/\nCOPY tool /var/lib/deep/\nCOPY tool /tmp/renamed\n");
    assert_eq!(bench.view(&image).read_link(Path::new("/bin")).unwrap(), Some("usr/bin".into()));
    assert_eq!(bench.owner(&image, "/usr/bin/tool"), (0, 0, 0o750));
    assert_eq!(bench.owner(&image, "/usr/bin"), (3, 4, 0o711));
    assert_eq!(bench.owner(&image, "/var/lib/deep"), (0, 0, 0o755));
    assert_eq!(bench.owner(&image, "/tmp"), (0, 0, 0o1777));
    assert!(bench.view(&image).metadata(Path::new("/usr/bin/sh")).unwrap().is_some());
    let source = fs::metadata(bench.context.join("tool")).unwrap();
    let copy = bench.view(&image).metadata(Path::new("/tmp/renamed")).unwrap().unwrap();
    assert_eq!(copy.mtime, (source.mtime(), source.mtime_nsec()));
}

#[test]
fn owners_modes_and_wildcards() {
    let bench = Bench::new();
    bench.file("a.txt", "a");
    bench.file("b.txt", "b");
    bench.file("sub/c", "c");
    symlink("c", bench.context.join("sub/link")).unwrap();
    symlink("a.txt", bench.context.join("top")).unwrap();
    symlink("/etc/hostname", bench.context.join("escape")).unwrap();
    let image = bench.build(
        "FROM busybox
COPY --chown=app *.txt /t/
COPY --chown=7 --chmod=640 sub /s
COPY --chown=1:app top /top
COPY sub /deep/x
",
    );
    assert_eq!(bench.owner(&image, "/t/a.txt").0, 1000);
    assert_eq!(bench.owner(&image, "/t/b.txt").1, 1001);
    assert_eq!(bench.owner(&image, "/s/c"), (7, 7, 0o640));
    assert_eq!(bench.view(&image).read_link(Path::new("/s/link")).unwrap(), Some("c".into()));
    assert_eq!(bench.read(&image, "/top"), "a");
    assert_eq!(bench.owner(&image, "/top").1, 1001);
    assert_eq!(bench.read(&image, "/deep/x/link"), "c");
    assert_eq!(bench.fail("FROM busybox\nCOPY escape /\n").0, ErrorKind::NotFound);
}

#[test]
fn a_user_runs_and_owns() {
    let bench = Bench::new();
    let text = "FROM busybox\nUSER app\nWORKDIR /home/app\nRUN id -u > who; id -g >> who; echo $HOME >> who\n";
    let image = bench.build(text);
    assert_eq!(bench.read(&image, "/home/app/who"), "1000\n1001\n/home/app\n");
    assert_eq!(bench.owner(&image, "/home/app"), (1000, 1001, 0o755));
    assert_eq!(bench.owner(&image, "/home/app/who").0, 1000);
}

#[test]
fn archives_are_extracted_by_add_alone() {
    let bench = Bench::new();
    let tree = bench._scratch.path().join("tree");
    fs::create_dir_all(tree.join("bin")).unwrap();
    fs::write(tree.join("bin/extracted"), "x").unwrap();
    let archive = bench.context.join("files.tar.gz");
    let status = std::process::Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&tree).arg("bin").status();
    assert!(status.unwrap().success());
    let image = bench.build("FROM busybox\nADD files.tar.gz /\nCOPY files.tar.gz /kept\n");
    assert_eq!(bench.read(&image, "/usr/bin/extracted"), "x");
    assert!(bench.view(&image).metadata(Path::new("/bin/sh")).unwrap().is_some());
    assert!(bench.view(&image).open(Path::new("/kept")).unwrap().is_some());
    assert_eq!(bench.fail("FROM busybox\nADD https://example.com/x /\n").0, ErrorKind::Unsupported);
}

#[test]
fn programs_of_this_machine_run_with_their_libraries() {
    let bench = Bench::new();
    let build = || bench.builder().from_host(["/bin/sh", "/usr/bin/env"]).unwrap().tag("host").commit().unwrap();
    let image = build();
    assert_eq!(build().digest(), image.digest());
    assert_eq!(image.layer_count(), 1);
    let ran = bench.build("FROM host\nENV LANG=C.UTF-8\nRUN env > /env\n");
    assert!(bench.read(&ran, "/env").contains("LANG=C.UTF-8\n"));
    let error = bench.builder().from_host(["no-such-program"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn what_the_context_ignores_is_not_copied_and_changes_nothing() {
    let bench = Bench::new();
    for path in ["keep.py", "logs/a", "logs/wanted", "node_modules/x/y", "deep/secret.key"] {
        bench.file(path, "1");
    }
    bench.file(".dockerignore", "node_modules\n**/*.key\nlogs\n!logs/wanted\nDockerfile\n.dockerignore\n");
    let text = "FROM busybox\nCOPY . /app\nCOPY log* /logs/\n";
    let image = bench.build(text);
    let names: Vec<String> = bench.last_layer(&image);
    assert_eq!(names, ["/logs", "/logs/wanted"]);
    let view = bench.view(&image);
    let mut found = Vec::new();
    view.walk(Path::new("/app"), &mut |path, _| {
        found.push(path.display().to_string());
        Ok(())
    })
    .unwrap();
    assert_eq!(found, ["/app", "/app/deep", "/app/keep.py", "/app/logs", "/app/logs/wanted"]);
    bench.file("node_modules/x/y", "2");
    assert_eq!(bench.build(text).digest(), image.digest());
    let (kind, message) = bench.fail("FROM busybox\nCOPY node_modules /x\n");
    assert_eq!(kind, ErrorKind::NotFound);
    assert!(message.ends_with("(hint: does .dockerignore leave it out?)"), "{message}");
}
