//! What the fuzz targets call: parsers of untrusted bytes with what must hold of their results. Built by `cargo fuzz` only.

/// Image references: what parses is written back as it is and parses again to the same.
pub fn reference(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(reference) = text.parse::<crate::Reference>() else { return };
    let again = reference.to_string().parse::<crate::Reference>().ok();
    // The default tag is written out.
    assert_eq!(again.map(|again| again.to_string()), Some(reference.to_string()));
    assert!(!reference.repository().split('/').any(|part| matches!(part, "" | "." | "..")));
}

/// Configurations of containers.
pub fn config(data: &[u8]) {
    crate::runtime::fuzz_config(data);
}

/// Layer archives, compressed or not: within the budget every member has a clean path, and nothing else comes of it.
pub fn layer(data: &[u8]) {
    use crate::archive::{Budget, TarReader, decompress};
    let Ok(content) = decompress(data) else { return };
    let budget = Budget { bytes: 4 << 20, entries: 1000, depth: 64 };
    let mut archive = TarReader::new(content, budget);
    let mut buffer = [0; 4096];
    while let Ok(Some(member)) = archive.next_member() {
        assert!(member.path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
        assert!(member.uid != u32::MAX && member.gid != u32::MAX && member.mode <= 0o7777);
        while archive.read_content(&mut buffer).is_ok_and(|got| got > 0) {}
    }
}

/// Manifests, indexes and configurations, and everything else a registry says.
pub fn manifest(data: &[u8]) {
    use crate::spec::{ImageConfig, Index, Manifest, select_platform};
    if let Ok(manifest) = Manifest::parse(data) {
        assert!(Index::parse(data).is_err(), "one document is not two things");
        let bytes = serde_json::to_vec(&manifest).unwrap_or_default();
        assert_eq!(Manifest::parse(&bytes).ok(), Some(manifest));
    }
    if let Ok(index) = Index::parse(data) {
        let host = crate::Platform::host();
        if let Ok(chosen) = select_platform(&index, &host) {
            assert!(chosen.platform.as_ref().is_none_or(|named| host.accepts(&named.platform())));
        }
    }
    if let Ok(config) = ImageConfig::parse(data) {
        let bytes = serde_json::to_vec(&config).unwrap_or_default();
        assert_eq!(ImageConfig::parse(&bytes).ok(), Some(config));
    }
    #[cfg(feature = "registry")]
    crate::registry::read_as_everything(data);
}

/// Dockerfiles: any bytes are parsed or refused, and what parses is expanded within its budget.
pub fn dockerfile(data: &[u8]) {
    crate::build::fuzz_dockerfile(data);
}

/// The kernel's answers over netlink: any bytes are read or refused.
pub fn netlink(data: &[u8]) {
    crate::network::read_as_everything(data);
}

/// Plans: any bytes are proved sound or refused, and a sound one can be listed.
pub fn plan(data: &[u8]) {
    let Ok(verified) = crate::plan::verify(data) else { return };
    assert!(verified.len() >= 2);
    // A list may name the same text over and over; the listing of a long plan is then longer than memory.
    if data.len() <= 8 << 10 {
        assert!(verified.to_string().starts_with("Fence:\n  close-others"));
    }
}

/// Seccomp profiles: what compiles is a program that the kernel takes, on every architecture.
pub fn seccomp(data: &[u8]) {
    crate::isolate::seccomp::fuzz(data);
}

/// Compose files: any text becomes a project that can be deployed, or problems with lines; within the budgets.
pub fn compose(data: &[u8]) {
    crate::compose::fuzz(data);
}

/// What stands in the values of Compose files and beside them: variables, words, environment files.
pub fn compose_text(data: &[u8]) {
    crate::compose::fuzz_text(data);
}

/// What a D-Bus daemon, or who poses as one, sends: any bytes are read or refused.
pub fn dbus(data: &[u8]) {
    crate::cgroup::read_as_everything(data);
}

/// Options of mounts, as configurations of containers list them.
pub fn mount_options(data: &[u8]) {
    crate::isolate::fuzz_mount_options(data);
}
