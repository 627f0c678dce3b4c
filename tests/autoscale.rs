//! The number of replicas follows the load, and no request is lost on the way.

#[path = "support/host.rs"]
mod host;
#[path = "../examples/rollout/load.rs"]
mod load;
#[path = "support/namespace.rs"]
mod namespace;
#[path = "../examples/rollout/request.rs"]
mod request;
#[path = "support/server.rs"]
mod server;

use coracle::cgroup::Limits;
use coracle::{Autoscale, Cpus, Deployed, Deployment, Engine, ErrorKind, Health, Memory, Outcome, Rolling};
use host::on_a_host;
use load::Load;
use server::server;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

const PORT: u16 = 8000;

fn wait_for_replicas(deployed: &Deployed, wanted: usize) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let status = deployed.status().unwrap();
        if status.available() == wanted && status.replicas.len() == wanted {
            return;
        }
        assert!(Instant::now() < end, "waited in vain for {wanted} replicas: {status:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_metric_that_is_fed_makes_more_and_fewer_and_loses_no_request() {
    on_a_host(|engine, _| {
        engine.image_builder().from_host([server()]).unwrap().tag("test/web").commit().unwrap();
        let spec = Deployment::new("web", "test/web")
            .command([server().to_str().unwrap(), "serve", "1", "well"])
            .port(PORT)
            .publish(18_200, PORT)
            .health(Health::http(PORT, "/healthy").every(Duration::from_millis(100)))
            .rollout(Rolling::new().minimum_healthy_time(Duration::from_millis(100)))
            .autoscale(
                Autoscale::between(1, 4)
                    .metric("in flight", 10.0)
                    .every(Duration::from_millis(200))
                    .stabilisation(Duration::from_secs(1)),
            );
        assert_eq!(engine.deploy(spec.clone()).unwrap().finish().unwrap(), Outcome::Complete(1));
        let web = engine.deployment("web").unwrap();
        let supervisor = engine.supervise_with(|name, error| panic!("{name}: {error}")).unwrap();
        let load = Load::start((Ipv4Addr::LOCALHOST, 18_200).into(), 1000, 60_000);
        web.feed("in flight", 35.0).unwrap();
        wait_for_replicas(&web, 4);
        // Whoever deploys the same again does not undo what the load asked for.
        assert_eq!(again(engine, &spec), 4);
        web.feed("in flight", 12.0).unwrap();
        wait_for_replicas(&web, 2);
        web.feed("in flight", 0.0).unwrap();
        wait_for_replicas(&web, 1);
        let report = load.stop();
        drop(supervisor);
        let scaled =
            web.history().unwrap().iter().filter(|entry| entry.event.to_string().starts_with("scaled ")).count();
        assert_eq!(scaled, 3, "{:?}", web.history().unwrap());
        let error = web.feed("other", 1.0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().ends_with("(hint: its metrics are: in flight)"), "{error}");
        assert_eq!(web.feed("in flight", f64::NAN).unwrap_err().kind(), ErrorKind::InvalidInput);
        web.remove().unwrap();
        println!("{report}");
        assert_eq!(report.lost, 0, "{:?}", report.errors);
    });
}

/// How many there are after it was deployed once more.
fn again(engine: &Engine, deployment: &Deployment) -> u32 {
    assert_eq!(engine.deploy(deployment.clone()).unwrap().finish().unwrap(), Outcome::Complete(1));
    engine.deployment(deployment.name()).unwrap().status().unwrap().wanted
}

#[test]
fn processor_time_is_measured_against_the_request() {
    on_a_host(|engine, _| {
        engine.image_builder().from_host(["/bin/sh", "/bin/sleep"]).unwrap().tag("test/sh").commit().unwrap();
        // Burns all of the fifth of a processor that it may have.
        let burner = Deployment::new("burner", "test/sh")
            .command(["/bin/sh", "-c", "while :; do :; done"])
            .limits(Limits::new().cpus(Cpus::of(0.2)).memory(Memory::mib(32)))
            .stop_grace(Duration::from_millis(100))
            .rollout(Rolling::new().minimum_healthy_time(Duration::from_millis(50)))
            .autoscale(Autoscale::between(1, 2).cpu(30).every(Duration::from_millis(500)));
        engine.deploy(burner.clone()).unwrap().finish().unwrap();
        let deployed = engine.deployment("burner").unwrap();
        let supervisor = engine.supervise().unwrap();
        wait_for_replicas(&deployed, 2);
        drop(supervisor);
        // It says that it needs room for what it may use.
        let error =
            engine.deploy(burner.limits(Limits::new()).autoscale(Autoscale::between(1, 2).cpu(30))).unwrap_err();
        assert!(error.to_string().contains("autoscale.cpu: "), "{error}");
        deployed.remove().unwrap();
    });
}
