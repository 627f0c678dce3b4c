//! Deployments as manifests for Kubernetes: whole texts against golden ones, what differs, what is refused.

#![cfg(feature = "kubernetes")]

use coracle::cgroup::Limits;
use coracle::kubernetes::{Expose, Manifests, Object, Options, manifests};
use coracle::{
    Autoscale, Balance, Cpus, Deployment, Guard, Health, Memory, OnFailure, Port, PublishedPort, Request, Restart,
    Rolling, Strategy,
};
use proptest::prelude::{any, prop};
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn plain() -> Deployment {
    Deployment::new("web", "registry.example.com/shop/web:1.1").port(Port::tcp(8000))
}

/// With everything that a deployment can say.
fn full() -> Deployment {
    let rolling = Rolling::new().surge(2).unavailable(1).minimum_healthy_time(seconds(5)).deadline(seconds(120));
    Deployment::new("api", "shop/api:1.1")
        .replicas(3)
        .entrypoint(["/usr/bin/env"])
        .command(["sh", "-c", "exec serve --cost '$(date)' $$ $HOME"])
        .env("LISTEN", "0.0.0.0:8000")
        .env("DEBUG", "on")
        .env("RATE", "1e3")
        .env("MODE", "0777")
        .env("MOTD", "two\nlines: # yes\n")
        .env("DATABASE_PASSWORD", "p\u{e4}ss\"w\\rd\n")
        .workdir("/srv")
        .user("1000:1000")
        .hostname("api")
        .read_only(true)
        .stop_signal("SIGINT")
        .bind("/etc/ssl/certs", "/etc/ssl/certs", true)
        .volume("uploads", "/srv/uploads")
        .tmpfs("/tmp", Memory::mib(64))
        .limits(Limits::new().memory(Memory::mib(256)).cpus(Cpus::of(1.5)).pids(64))
        .request(Request::new().memory(Memory::bytes(100_000_000)).cpus(Cpus::of(0.25)))
        .network("back")
        .port(Port::udp(53))
        .port(Port::tcp(8000))
        .publish(30_080, 8000)
        .publish(443, 8000)
        .balance(Balance::SourceHash)
        .health(Health::http(8000, "/ready").every(seconds(5)).timeout(seconds(2)).retries(2).healthy_after(3))
        .restart(Restart::always().when_unhealthy(true))
        .init(false)
        .alias("backend")
        .rollout(rolling)
        .autoscale(Autoscale::between(2, 10).cpu(70).memory(80).metric("requests_per_second", 12.5).tolerance(0.05))
        .stop_grace(seconds(20))
        .drain(seconds(15))
        .label("tier", "front")
        .label("example.com/owner", "the shop's people")
        .label("not a key", "x")
}

fn full_options() -> Options {
    Options::new().namespace("shop").secret("DATABASE_PASSWORD").registry("registry.example.com")
}

/// A database: one replica that cannot run twice, with a volume.
fn database() -> Deployment {
    Deployment::new("db", "registry.example.com/postgres:17")
        .port(Port::tcp(5432))
        .volume_with_snapshot("data", "/var/lib/postgresql")
        .health(Health::command(["pg_isready", "-q"]).every(seconds(2)).start_period(seconds(60)))
        .restart(Restart::always().when_unhealthy(true))
        .rollout(Strategy::Recreate(Guard::default().on_failure(OnFailure::Pause)))
        .stop_grace(seconds(60))
        .drain(Duration::ZERO)
}

fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if text != std::fs::read_to_string(&path).unwrap_or_default() {
        let aside = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&aside, text).unwrap();
        panic!("other manifests; if that is meant: cp {} {}\n{text}", aside.display(), path.display());
    }
}

/// What is written is what the types hold, as another parser reads it.
fn assert_round_trip(manifests: &Manifests) {
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(manifests.yaml()).unwrap();
    let objects: Vec<serde_json::Value> =
        manifests.objects().iter().map(|object| serde_json::to_value(object).unwrap()).collect();
    assert_eq!(documents, objects);
    for (document, object) in documents.into_iter().zip(manifests.objects()) {
        assert_eq!(document["kind"], object.kind());
        assert_eq!(document["metadata"]["name"], object.name());
        assert_eq!(&read(document, object), object);
    }
}

/// The document as the type of the object, by the deserializer of k8s-openapi.
fn read(document: serde_json::Value, like: &Object) -> Object {
    fn typed<T: serde::de::DeserializeOwned>(document: serde_json::Value) -> Box<T> {
        Box::new(serde_json::from_value(document).unwrap())
    }
    match like {
        Object::ConfigMap(_) => Object::ConfigMap(typed(document)),
        Object::Secret(_) => Object::Secret(typed(document)),
        Object::PersistentVolumeClaim(_) => Object::PersistentVolumeClaim(typed(document)),
        Object::Service(_) => Object::Service(typed(document)),
        Object::Deployment(_) => Object::Deployment(typed(document)),
        Object::HorizontalPodAutoscaler(_) => Object::HorizontalPodAutoscaler(typed(document)),
        Object::PodDisruptionBudget(_) => Object::PodDisruptionBudget(typed(document)),
        other => panic!("{other:?}"),
    }
}

fn fields(manifests: &Manifests) -> Vec<&str> {
    manifests.differences().iter().map(|difference| difference.field.as_str()).collect()
}

fn refusal(deployment: &Deployment, options: &Options) -> String {
    let error = manifests(deployment, options).unwrap_err();
    assert_eq!(error.kind(), coracle::ErrorKind::InvalidInput);
    error.to_string()
}

#[test]
fn everything_is_written_down() {
    for (name, deployment, options) in [
        ("kubernetes-plain.yaml", plain(), Options::new()),
        ("kubernetes-full.yaml", full(), full_options()),
        (
            "kubernetes-database.yaml",
            database(),
            Options::new().volume_size("data", Memory::gib(20)).storage_class("fast"),
        ),
    ] {
        let written = manifests(&deployment, &options).unwrap();
        assert_round_trip(&written);
        assert_eq!(manifests(&deployment, &options).unwrap(), written, "the same each time");
        assert_golden(name, written.yaml());
    }
}

#[test]
fn what_means_something_else_is_listed() {
    let written = manifests(&full(), &full_options()).unwrap();
    let text: String = written.differences().iter().map(|difference| format!("{difference}\n")).collect();
    assert_golden("kubernetes-full-differences.txt", &text);
    for (field, deployment) in [
        ("limits.pids", plain().limits(Limits::new().pids(9))),
        ("limits.memory_swap", plain().limits(Limits::new().memory(Memory::mib(9)).memory_swap(Memory::mib(9)))),
        ("limits.cpu_weight", plain().limits(Limits::new().cpu_weight(9))),
        ("limits.io_weight", plain().limits(Limits::new().io_weight(9))),
        ("limits.oom_group", plain().limits(Limits::new().memory(Memory::mib(9)))),
        ("request.pids", plain().request(Request::new().pids(9))),
        ("restart", plain().restart(Restart::on_failure())),
        ("restart", plain().restart(Restart::always().most(3))),
        ("stop_signal", plain().stop_signal("SIGQUIT")),
        ("user", plain().user("postgres")),
        ("image", Deployment::new("web", "shop/web")),
        ("bind /x", plain().bind("/etc", "/x", true)),
        ("volume \"data\"", plain().volume("data", "/data")),
        ("health", plain()),
        ("replicas", plain()),
        ("rollout.unavailable", plain().replicas(2)),
        ("rollout.on_failure", plain()),
        ("balance", plain().weights([1, 2])),
        ("drain", plain()),
        ("publish", plain().publish(30_000, 8000)),
        (
            "publish 127.0.0.1:30000:8000/tcp",
            plain().publish_on(PublishedPort::new(30_000, 8000).address(Ipv4Addr::LOCALHOST)),
        ),
        ("publish 80:8000/tcp", plain().publish(80, 8000)),
        ("autoscale.tolerance", plain().autoscale(Autoscale::between(1, 2).metric("m", 1.0).tolerance(0.2))),
        (
            "autoscale.stabilisation",
            plain().autoscale(Autoscale::between(1, 2).metric("m", 1.0).stabilisation(seconds(4000))),
        ),
        ("health.timeout", plain().health(Health::tcp(80).timeout(Duration::from_millis(1500)))),
    ] {
        let written = manifests(&deployment, &Options::new()).unwrap();
        assert!(fields(&written).contains(&field), "{field} is not among {:?}", fields(&written));
        assert_round_trip(&written);
        assert!(!written.yaml().contains("hostPath"));
    }
    let paused = manifests(&database(), &Options::new()).unwrap();
    assert!(!fields(&paused).iter().any(|field| ["rollout.on_failure", "drain", "image"].contains(field)));
    let balanced = Options::new().expose(Expose::LoadBalancer);
    let written = manifests(&plain().publish(443, 8000), &balanced).unwrap();
    assert!(written.yaml().contains("type: LoadBalancer") && !written.yaml().contains("nodePort"));
}

#[test]
fn a_changed_environment_is_another_map_and_another_revision() {
    let name = |value: &str| {
        let written = manifests(&plain().env("A", value), &Options::new()).unwrap();
        let Object::Deployment(deployment) = &written.objects()[2] else { panic!("{:?}", written.objects()) };
        let sources = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].env_from.clone();
        let reference = sources.unwrap()[0].config_map_ref.as_ref().unwrap().name.clone();
        assert_eq!(written.objects()[0].name(), reference);
        reference
    };
    assert_eq!(name("1"), name("1"));
    assert_ne!(name("1"), name("2"));
    assert!(name("1").starts_with("web-environment-"));
}

#[test]
fn everything_wrong_is_said_at_once() {
    let long = "a".repeat(54);
    let deployment = Deployment::new("Web_1", "Not An Image")
        .env("1A", "x")
        .hostname("not.one")
        .volume("My_Data", "relative")
        .tmpfs("/a:b", Memory::mib(1))
        .tmpfs("/c", Memory::mib(1))
        .tmpfs("/c", Memory::mib(1))
        .publish(80, 1)
        .publish_on(PublishedPort::new(80, 2).address(Ipv4Addr::LOCALHOST))
        .health(Health::http(80, "ready"))
        .limits(Limits::new().memory(Memory::mib(1)).cpus(Cpus::of(0.1)))
        .request(Request::new().memory(Memory::mib(2)).cpus(Cpus::of(0.2)))
        .rollout(Rolling::new().surge(0).progress_deadline(seconds(1)).minimum_healthy_time(seconds(1)))
        .autoscale(Autoscale::between(3, 2).tolerance(-1.0));
    let options = Options::new().namespace("a.b").secret("B").volume_size("other", Memory::gib(1)).storage_class("_");
    let error = refusal(&deployment, &options);
    for part in [
        "name: \"Web_1\"",
        "image: ",
        "env: \"1A\"",
        "hostname: \"not.one\"",
        "volume: \"My_Data\"",
        "mount \"relative\"",
        "mount \"/a:b\"",
        "mount /c: something else",
        "publish 127.0.0.1:80:2/tcp",
        "health.path: \"ready\"",
        "request.memory",
        "request.cpus",
        "surge 0 and unavailable 0",
        "rollout.progress_deadline",
        "at most 2 but at least 3",
        "without a target",
        "autoscale.tolerance",
        "namespace: \"a.b\"",
        "secret: the environment has no variable \"B\"",
        "volume_size: the deployment has no volume \"other\"",
        "storage_class: \"_\"",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert!(!error.contains('\n'));
    assert!(refusal(&Deployment::new(long, "a"), &Options::new()).contains("name: "));
    assert!(refusal(&Deployment::new("0", "a"), &Options::new()).contains("name: "), "services begin with a letter");
    assert!(refusal(&plain().alias("a_b"), &Options::new()).contains("alias: \"a_b\""));
    assert!(refusal(&plain().env("A", "x".repeat(1 << 20)), &Options::new()).contains("1 MiB"));
    let pull = Deployment::new("web", "shop/web");
    assert!(refusal(&pull, &Options::new().registry("nodots")).contains("registry: \"nodots\""));
    for autoscale in [Autoscale::between(1, 2).cpu(50), Autoscale::between(1, 2).memory(50)] {
        assert!(refusal(&plain().autoscale(autoscale), &Options::new()).contains("nothing to take percent of"));
    }
    for (name, target) in [("a/b", 1.0), ("", 1.0), ("a", 0.0), ("a", f64::NAN)] {
        let autoscale = Autoscale::between(1, 2).metric(name, target);
        assert!(refusal(&plain().autoscale(autoscale), &Options::new()).contains("autoscale.metric"), "{name}");
    }
}

/// Plain words that YAML 1.1, which many readers still follow, takes for something else than text.
const TREACHEROUS: [&str; 38] = [
    "",
    "~",
    "null",
    "Null",
    "yes",
    "No",
    "on",
    "OFF",
    "y",
    "n",
    "true",
    "False",
    "1",
    "-1",
    "+1",
    "0777",
    "0o17",
    "0x1F",
    "0b1",
    "1_000",
    "1e3",
    "1.5",
    ".5",
    ".inf",
    "-.INF",
    ".NaN",
    "12:30:45",
    "1:20",
    "2001-01-01",
    "2001-12-14t21:59:43.10Z",
    "=",
    "<<",
    "- a",
    "a: b",
    "a #b",
    "#",
    " a",
    "a ",
];

#[test]
fn words_that_yaml_takes_for_something_else_are_quoted() {
    for word in TREACHEROUS {
        let written = manifests(&plain().env("WORD", word), &Options::new()).unwrap();
        assert_round_trip(&written);
        let line = written.yaml().lines().find(|line| line.trim_start().starts_with("WORD:")).unwrap();
        let value = line.split_once(": ").unwrap().1;
        assert!(value.starts_with(['"', '\'']) && value.ends_with(['"', '\'']), "{word:?} is written as {value}");
    }
}

#[test]
fn any_text_survives() {
    proptest::proptest!(|(words in prop::collection::vec(any::<String>(), 1..6))| {
        let mut deployment = plain().command(words.clone());
        for (number, word) in words.iter().enumerate() {
            deployment = deployment.env(format!("WORD_{number}"), word).label(format!("word-{number}"), word);
        }
        let written = manifests(&deployment, &Options::new().secret("WORD_0")).unwrap();
        assert_round_trip(&written);
        let names: BTreeSet<(&str, &str)> = written.objects().iter().map(|o| (o.kind(), o.name())).collect();
        assert_eq!(names.len(), written.objects().len());
    });
}
