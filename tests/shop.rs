//! The shop of `examples/shop`, end to end: real databases, five services and a web front from one Compose file, with
//! shoppers in them while it is updated and hurt. Every order is charged once, whatever happens.

#[path = "../examples/shop/books.rs"]
mod books;
#[path = "../examples/shop/browser.rs"]
mod browser;
#[path = "../examples/shop/images.rs"]
mod images;
#[path = "support/namespace.rs"]
mod namespace;
#[path = "../examples/shop/platform.rs"]
mod platform;
#[path = "../examples/shop/shopper.rs"]
mod shopper;

use books::Books;
use browser::Browser;
use coracle::{Container, DeploymentStats, Engine, EngineOptions, ExitStatus};
use platform::Platform;
use shopper::{Crowd, GOOD_CARD, Shopper, Tally};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const SHOPPERS: usize = 6;
/// Two of each of the five services and of the front, and the databases.
const REPLICAS: usize = 14;

#[test]
fn the_shop_charges_every_order_once_while_it_is_updated_and_hurt() {
    namespace::require_root();
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (shop, scratch) = (top.join("examples/shop"), tempfile::tempdir().unwrap());
    // Packages come from where this machine gets its own; all else happens in a network that leads nowhere.
    images::make(&open(scratch.path()), &shop, &top.join("target/shop-images")).unwrap();
    namespace::in_network_namespace(|| {
        let ground = Ground(open(scratch.path()));
        a_service_answers_what_it_has_begun(&ground.0);
        let platform = Platform::new(&ground.0, &shop);
        platform.up(1, |_| ()).unwrap();
        let replicas = platform.replicas().unwrap();
        assert_eq!(replicas.matches(" healthy").count(), REPLICAS, "{replicas}");
        let address = platform.address();
        many_orders_at_once(address);
        everything_is_measured(&platform);
        pages_refuse_with_a_reason(address);
        the_front_reaches_no_database(&ground.0);
        an_update_loses_nothing(&platform, address);
        a_killed_replica_loses_what_was_in_flight(&ground.0, address);
        a_database_that_is_killed_comes_back(&ground.0, address);
        platform.down().unwrap();
        nothing_is_left(&ground.0);
        the_example_tells_of_it(scratch.path());
        nothing_is_left(&ground.0);
    });
}

/// The engine; whatever a test that fails leaves in it is shown and ends with it.
struct Ground(Engine);

impl Drop for Ground {
    fn drop(&mut self) {
        for container in self.0.containers().unwrap_or_default() {
            let log: Vec<String> = container.logs().flatten().map(|line| line.to_string()).collect();
            let last = log[log.len().saturating_sub(10)..].join("\n");
            println!("{:?} {:?}\n{last}", container.name(), container.state());
        }
        for deployed in self.0.deployments().unwrap_or_default() {
            let _ = deployed.remove();
        }
        for container in self.0.containers().unwrap_or_default() {
            let _ = container.stop(Duration::ZERO).and_then(|_| container.remove());
        }
    }
}

fn open(directory: &Path) -> Engine {
    EngineOptions::new(directory.join("root")).run_directory(directory.join("run")).open().unwrap()
}

/// The server of the services stops when asked to, not before it has answered.
fn a_service_answers_what_it_has_begun(engine: &Engine) {
    const SLOW: &str = "import time; from shop.server import Service; service = Service('slow')\n\
        service.route('GET', '/slow')(lambda _: time.sleep(2) or {'answered': True})\nservice.run()";
    let image = engine.image("shop/python:1").unwrap().get().unwrap();
    let container = engine.container(&image).command(["python3", "-c", SLOW]).detach().unwrap();
    let address = SocketAddr::from((container.address().unwrap(), 8000));
    until("the service listens", || Browser::new(address).get("/health").is_ok());
    let answer = std::thread::spawn(move || Browser::new(address).get("/slow").unwrap());
    std::thread::sleep(Duration::from_millis(500));
    let exit = container.stop(Duration::from_secs(30)).unwrap();
    assert_eq!(exit.status, ExitStatus::Exited(0));
    assert_eq!(answer.join().unwrap().body, "{\"answered\": true}");
    container.remove().unwrap();
}

fn many_orders_at_once(address: SocketAddr) {
    let tally = Crowd::enter(address, SHOPPERS, 20).wait();
    assert_eq!((tally.lost, tally.failed), (0, 0), "{tally:?}");
    assert_eq!((tally.confirmed + tally.refused, tally.refused > 0), (20 * SHOPPERS as u64, true), "{tally:?}");
    let books = every_order_once(address);
    assert_eq!((books.confirmed, books.refused), (tally.confirmed, tally.refused), "{books}");
    let mut shopper = Shopper::new(address);
    let order = shopper.buy("net", 2, GOOD_CARD).unwrap();
    until("the parcel is delivered", || shopper.whereabouts(&order).as_deref() == Some("delivered"));
}

fn everything_is_measured(platform: &Platform) {
    let services = platform.usage().unwrap();
    assert_eq!(services.len(), 8);
    for totals in services.iter().map(DeploymentStats::totals) {
        assert!(totals.ready > 0 && !totals.cpu.is_zero() && totals.received_bytes > 0, "{services:?}");
    }
}

fn pages_refuse_with_a_reason(address: SocketAddr) {
    let mut browser = Browser::new(address);
    let page = browser.get("/products/none").unwrap();
    assert_eq!((page.status, page.between("<p>", "</p>")), (404, Some("no product none")));
    browser.post("/cart", &[("product", "seat"), ("quantity", "1")]).unwrap();
    let fields = [("key", "form-of-a-test"), ("address", "<b>Teifi</b>"), ("card", "1234")];
    let page = browser.post("/checkout", &fields).unwrap();
    assert_eq!((page.status, page.between("<p>", "</p>")), (422, Some("this is no number of a card")));
}

/// A container beside the front, in its network alone: the databases have no name there, and no way leads to them.
fn the_front_reaches_no_database(engine: &Engine) {
    const REACH: &str = "import socket, sys\nprint('postgres' in open('/etc/hosts').read())\n\
        for place in sys.argv[1:]:\n  try: socket.create_connection(place.split(':'), 3); print(place)\n  except OSError: pass";
    let mut places = vec!["catalogue:8000".to_owned()];
    for (service, port) in [("postgres", 5432), ("redis", 6379)] {
        let stable = engine.deployment(&format!("shop-{service}")).unwrap().status().unwrap().address;
        places.extend([stable, replica_of(engine, service).address()].map(|at| format!("{}:{port}", at.unwrap())));
    }
    let image = engine.image("shop/python:1").unwrap().get().unwrap();
    let command = ["python3", "-c", REACH].map(str::to_owned).into_iter().chain(places);
    let output = engine.container(&image).join("shop_front").command(command).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "False\ncatalogue:8000\n", "{output:?}");
}

fn an_update_loses_nothing(platform: &Platform, address: SocketAddr) {
    let crowd = Crowd::enter(address, SHOPPERS, usize::MAX);
    let updated = platform.up(2, |_| ());
    let tally = crowd.leave();
    updated.unwrap();
    assert_eq!((tally.lost, tally.failed), (0, 0), "{tally:?}");
    let page = Browser::new(address).get("/").unwrap();
    assert_eq!(page.between("<footer>", "</footer>"), Some("catalogue, version 2"));
    every_order_once(address);
}

/// Behind the front a lost request is asked again; of the front itself a shopper loses what it was waiting for.
fn a_killed_replica_loses_what_was_in_flight(engine: &Engine, address: SocketAddr) {
    let tally = hurt(address, || replica_of(engine, "orders").kill(libc::SIGKILL).unwrap());
    assert_eq!((tally.lost, tally.failed), (0, 0), "{tally:?}");
    let tally = hurt(address, || replica_of(engine, "front").kill(libc::SIGKILL).unwrap());
    assert!(tally.lost <= SHOPPERS as u64 && tally.failed == 0, "{tally:?}");
    every_order_once(address);
}

fn a_database_that_is_killed_comes_back(engine: &Engine, address: SocketAddr) {
    let tally = hurt(address, || replica_of(engine, "postgres").kill(libc::SIGKILL).unwrap());
    assert_eq!(tally.failed, 0, "{tally:?}");
    every_order_once(address);
}

/// What shoppers see of it when something is done to the shop.
fn hurt(address: SocketAddr, how: impl FnOnce()) -> Tally {
    let crowd = Crowd::enter(address, SHOPPERS, usize::MAX);
    std::thread::sleep(Duration::from_secs(1));
    how();
    std::thread::sleep(Duration::from_secs(4));
    crowd.leave()
}

fn replica_of(engine: &Engine, service: &str) -> Container {
    let is_one = |container: &Container| container.image() == format!("shop/{service}:1");
    engine.containers().unwrap().into_iter().find(is_one).unwrap()
}

/// Orders that a dead replica had begun are finished by another one; then the books agree.
fn every_order_once(address: SocketAddr) -> Books {
    let books = Books::settled(address, Duration::from_secs(30)).unwrap();
    assert!(books.agree(), "{books:?}");
    books
}

fn nothing_is_left(engine: &Engine) {
    assert!(engine.containers().unwrap().is_empty());
    assert!(engine.deployments().unwrap().is_empty());
    assert!(engine.volumes().unwrap().is_empty());
    // The kernel takes network namespaces apart in the background.
    until("no interface is left but loopback", || {
        let interfaces = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        interfaces.lines().skip(2).all(|line| line.trim_start().starts_with("lo:"))
    });
}

/// The program that people start, on the same directories: its images are there.
fn the_example_tells_of_it(directory: &Path) {
    let tests = std::env::current_exe().unwrap();
    let program = tests.ancestors().nth(2).unwrap().join("examples/shop");
    let output = Command::new(&program).args([directory.join("root"), directory.join("run")]).output();
    let output = output.unwrap_or_else(|error| panic!("{} (cargo build --examples): {error}", program.display()));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{text}", output.status);
    for part in [
        "shop/postgres:1",
        "shop-logistics-r1-1",
        "delivered",
        "orders per second",
        "0 lost",
        "(0 of them a second time)",
    ] {
        assert!(text.contains(part), "{part:?} is missing:\n{text}");
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
