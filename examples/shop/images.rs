//! The base images of the shop: Debian packages, made into root file systems by mmdebstrap.

use coracle::{Engine, Error, ErrorKind, Image, ImageBuilder, Result};
use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release whose packages are used: it decides the number in `POSTGRES_PROGRAMS`.
const RELEASE: &str = "bookworm";
const POSTGRES_PROGRAMS: &str = "/usr/lib/postgresql/15/bin";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image of Debian packages alone, and the packages.
const DEBIAN: [(&str, &str); 3] = [
    ("shop/debian-python:12", "python3,python3-psycopg2,python3-redis"),
    ("shop/debian-postgres:12", "postgresql"),
    ("shop/debian-redis:12", "redis-server"),
];

/// What no image has a use for: documentation, and PostgreSQL's compiler, which is a third of its size.
const EXCLUDED: [&str; 8] = [
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/i18n/*",
    "/usr/lib/*/libLLVM*",
    "/usr/lib/postgresql/*/lib/bitcode/*",
    "/usr/lib/postgresql/*/lib/llvmjit*",
];

/// Before the packages: the data directory belongs to the container, not to the package.
const NO_CLUSTER: &str = r#"mkdir -p "$1"/etc/postgresql-common &&
echo "create_main_cluster = false" >"$1"/etc/postgresql-common/createcluster.conf"#;

/// After the packages: what they leave of this machine, and what only a system that is administered needs.
const TIDY: &str = r#"rm -rf "$1"/var/cache/* "$1"/var/log/* "$1"/etc/hostname "$1"/etc/resolv.conf \
"$1"/usr/share/perl "$1"/usr/share/perl5 "$1"/usr/lib/x86_64-linux-gnu/perl "$1"/usr/share/bash-completion"#;

/// Makes the images that `compose.yaml` and the Dockerfiles in `shop` name: those of Debian packages where they are
/// missing, which takes a minute, and the thin ones on top of them, which takes no time where nothing has changed.
/// Archives of root file systems are kept in `archives`.
pub fn make(engine: &Engine, shop: &Path, archives: &Path) -> Result<Vec<Image>> {
    std::thread::scope(|scope| {
        let threads = DEBIAN.map(|(tag, packages)| scope.spawn(move || debian(engine, tag, packages, archives)));
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(drop))
    })?;
    let images = [
        python(engine.image_builder(), shop).tag("shop/python:1"),
        postgres(engine.image_builder(), shop).tag("shop/postgres:1"),
        redis(engine.image_builder(), shop).tag("shop/redis:1"),
    ];
    images.into_iter().map(ImageBuilder::commit).collect()
}

fn python<'progress>(builder: ImageBuilder<'progress>, shop: &Path) -> ImageBuilder<'progress> {
    builder
        .from("shop/debian-python:12")
        .copy(shop.join("python/http-ok"), "/usr/local/bin/http-ok")
        .copy(shop.join("python/shop"), "/usr/lib/python3/dist-packages/shop/")
        .env("LANG", "C.UTF-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .command(["python3"])
}

fn postgres<'progress>(builder: ImageBuilder<'progress>, shop: &Path) -> ImageBuilder<'progress> {
    builder
        .from("shop/debian-postgres:12")
        .copy(shop.join("postgres/entrypoint"), "/usr/local/bin/entrypoint")
        .env("LANG", "C.UTF-8")
        // The package's own wrappers choose between clusters of a system; here is one.
        .env("PATH", format!("{POSTGRES_PROGRAMS}:{PATH}"))
        .expose(5432)
        .volume("/var/lib/postgresql/data")
        // SIGTERM would wait for the last client to leave.
        .stop_signal("SIGINT")
        .entrypoint(["/usr/local/bin/entrypoint"])
}

fn redis<'progress>(builder: ImageBuilder<'progress>, shop: &Path) -> ImageBuilder<'progress> {
    builder
        .from("shop/debian-redis:12")
        .copy(shop.join("redis/entrypoint"), "/usr/local/bin/entrypoint")
        .env("LANG", "C.UTF-8")
        .expose(6379)
        .volume("/data")
        .entrypoint(["/usr/local/bin/entrypoint"])
}

fn debian(engine: &Engine, tag: &str, packages: &str, archives: &Path) -> Result<Image> {
    match engine.image(tag)?.get() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        known => return known,
    }
    engine.image_builder().add(archive(packages, archives)?, "/").tag(tag).commit()
}

/// The archive of a root file system with `packages`; made where it is missing, by one process at a time.
fn archive(packages: &str, archives: &Path) -> Result<PathBuf> {
    let mut recipe = DefaultHasher::new();
    (RELEASE, packages, EXCLUDED, NO_CLUSTER, TIDY).hash(&mut recipe);
    let path = archives.join(format!("{:016x}.tar", recipe.finish()));
    let failed = |error| Error::invalid(format!("make {}", path.display())).source_error(error);
    std::fs::create_dir_all(archives).map_err(failed)?;
    let lock = File::create(path.with_extension("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    if !path.is_file() {
        let aside = path.with_extension("part.tar");
        bootstrap(packages, &aside)?;
        std::fs::rename(&aside, &path).map_err(failed)?;
    }
    Ok(path)
}

fn bootstrap(packages: &str, archive: &Path) -> Result<()> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--format=tar"]).arg(format!("--include={packages}"));
    command.args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""]);
    command.args(EXCLUDED.map(|pattern| format!("--dpkgopt=path-exclude={pattern}")));
    command.arg(format!("--essential-hook={NO_CLUSTER}")).arg(format!("--customize-hook={TIDY}"));
    command.arg(RELEASE).arg(archive).args(sources());
    let output = command.output().map_err(|error| {
        let hint = "apt-get install mmdebstrap; it makes the base images from Debian packages, and must run as root";
        Error::new(ErrorKind::NotFound, "start mmdebstrap").hint(hint).source_error(error)
    })?;
    if output.status.success() {
        return Ok(());
    }
    let _ = std::fs::remove_file(archive);
    let said = String::from_utf8_lossy(&output.stderr);
    // What went wrong first is the reason of the rest.
    let first = said.lines().find(|line| line.starts_with("E: ")).unwrap_or("it does not say why").to_owned();
    let hint = "the Debian mirrors that apt uses on this machine must be reachable";
    Err(Error::invalid(format!("mmdebstrap with {packages}: {first}")).hint(hint))
}

/// The file in which this machine names its mirrors, where it runs that release; else mmdebstrap's own default.
fn sources() -> Option<&'static str> {
    ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"]
        .into_iter()
        .find(|file| std::fs::read_to_string(file).is_ok_and(|text| text.contains(RELEASE)))
}
