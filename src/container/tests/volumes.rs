//! Volumes in containers.

use super::*;
use crate::ErrorKind;

fn volume(ground: &Ground, name: &str) -> crate::Volume {
    ground.services.volume(name.parse().unwrap())
}

#[test]
fn a_volume_outlives_its_containers_and_is_shared() {
    let ground = Ground::new();
    let run = |script: &str, read_only: bool| {
        let container = ground.container(script);
        let container = match read_only {
            true => container.volume_read_only("data", "/srv/data"),
            false => container.volume("data", "/srv/data"),
        };
        text(&container.output().unwrap().stdout)
    };
    assert_eq!(run("ls /srv/data; echo kept > /srv/data/file", false), "");
    assert_eq!(run("cat /srv/data/file; echo no > /srv/data/file || echo refused", true), "kept\nrefused\n");
    let volume = volume(&ground, "data");
    volume.snapshot("first").unwrap();
    run("echo changed > /srv/data/file", false);
    volume.restore("first").unwrap();
    assert_eq!(run("cat /srv/data/file", true), "kept\n");
    volume.remove().unwrap();
}

#[test]
fn an_empty_volume_has_what_the_image_has_and_keeps_its_own() {
    let ground = Ground::new();
    let output = ground.container("ls -l /bin/sh; rm /bin/sh; ls /bin").volume("bin", "/bin").output().unwrap();
    let listing = text(&output.stdout);
    assert!(listing.contains("/bin/sh -> busybox") && listing.contains("sleep"), "{listing}");
    let image = ground.container("").command(["/bin/busybox", "ls", "/bin"]).volume("bin", "/bin").output().unwrap();
    let listing = text(&image.stdout);
    assert!(listing.contains("busybox\n") && !listing.contains("\nsh\n"), "{listing}");
}

#[test]
fn a_volume_in_use_stays_and_the_error_names_who_uses_it() {
    let ground = Ground::new();
    let container = ground.container("sleep 1000").name("holder").volume("data", "/data").detach().unwrap();
    let volume = ground.reopen().volume("data".parse().unwrap());
    for refused in [volume.remove(), volume.restore("any"), volume.snapshot("any").map(drop)] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InUse, "{error}");
        assert!(error.to_string().contains("container holder uses it"), "{error}");
    }
    container.stop(Duration::ZERO).unwrap();
    volume.snapshot("ended").unwrap();
    volume.restore("ended").unwrap();
    let error = volume.remove().unwrap_err();
    assert!(error.to_string().contains("container holder uses it"), "{error}");
    container.remove().unwrap();
    volume.remove().unwrap();
}

#[test]
fn a_volume_with_a_bad_name_or_place_is_refused_before_anything_is_made() {
    let ground = Ground::new();
    for (name, target) in [("../x", "/data"), ("", "/data"), ("data", "data"), ("data", "/")] {
        let error = ground.container("true").volume(name, target).output().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name} {target}: {error}");
    }
    assert!(!ground.services.store.root().join("volumes").exists());
}

/// The class of CVE-2018-15664: what a container leaves in its volume leads nowhere when the volume is copied.
#[test]
fn links_that_a_container_leaves_are_copied_and_not_followed() {
    let ground = Ground::new();
    let script = "cd /data; mkdir d; /bin/busybox ln -s /etc /data/etc; \
                  /bin/busybox ln -s ../../../../../etc/passwd /data/d/passwd";
    ground.container(script).volume("data", "/data").output().unwrap();
    let volume = volume(&ground, "data");
    volume.snapshot("links").unwrap();
    volume.restore("links").unwrap();
    let data = volume.inspect().unwrap().path;
    assert_eq!(std::fs::read_link(data.join("etc")).unwrap(), std::path::Path::new("/etc"));
    assert!(std::fs::symlink_metadata(data.join("d/passwd")).unwrap().is_symlink());
}
