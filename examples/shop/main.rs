//! A shop on one machine: five services and a web front, PostgreSQL and Redis, from one Compose file.
//!
//! ```text
//! cargo run --release --example shop [-- [--keep] [ROOT RUN]]
//! ```
//!
//! Makes the base images from Debian packages where they are missing (needs mmdebstrap), brings everything up, shops,
//! rolls out a second version of the catalogue while shoppers go on, and takes everything down; `--keep` leaves it up.
//! ROOT and RUN are the engine's directories. Needs root, for the bridge network.

mod books;
mod browser;
mod images;
mod platform;
mod shopper;
mod show;

use books::Books;
use browser::Browser;
use coracle::compose::ProjectEvent;
use coracle::{Engine, EngineOptions, Error, Memory, Result};
use platform::Platform;
use shopper::{Crowd, GOOD_CARD, Shopper};
use show::{report, say, time, title, usage};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

const SHOPPERS: usize = 8;
const ORDERS: usize = 200;

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let keep = arguments.iter().position(|argument| argument == "--keep").map(|at| arguments.remove(at)).is_some();
    let directories = match <[String; 2]>::try_from(arguments) {
        Ok(directories) => Some(directories),
        Err(none) if none.is_empty() => None,
        Err(_) => {
            eprintln!("usage: shop [--keep] [ROOT RUN]");
            std::process::exit(2);
        }
    };
    if let Err(error) = run(directories, keep) {
        eprintln!("shop: {error}");
        std::process::exit(1);
    }
}

fn run(directories: Option<[String; 2]>, keep: bool) -> Result<()> {
    let engine = match directories {
        Some([root, run]) => EngineOptions::new(root).run_directory(run).open()?,
        None => Engine::open(Engine::default_root()?)?,
    };
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shop = top.join("examples/shop");

    title("1. Base images, from Debian packages");
    for image in images::make(&engine, &shop, &top.join("target/shop-images"))? {
        say("image", format!("{} ({})", image.reference(), Memory::bytes(image.size())));
    }

    let platform = Platform::new(&engine, &shop);
    let told = tour(&platform);
    if keep {
        say("kept", format!("http://{}/", platform.address()));
        return told;
    }
    title("6. Everything down");
    let begin = Instant::now();
    let down = platform.down();
    say("down", format!("after {}", time(begin.elapsed())));
    told.and(down)
}

/// What the shop is shown with, from up to the second version.
fn tour(platform: &Platform) -> Result<()> {
    let address = platform.address();
    title("2. Everything up, in the order of what depends on what");
    let begin = Instant::now();
    platform.up(1, |event| tell(event, begin))?;
    println!();
    for line in platform.replicas()?.lines() {
        println!("  {line}");
    }

    title(&format!("3. One shopper at http://{address}/"));
    follow_one(address)?;

    title(&format!("4. {SHOPPERS} shoppers at once"));
    report(&Crowd::enter(address, SHOPPERS, ORDERS / SHOPPERS).wait());
    compare_books(address)?;
    usage(&platform.usage()?);

    title("5. A second version of the catalogue, while they shop on");
    let crowd = Crowd::enter(address, SHOPPERS, usize::MAX);
    let begin = Instant::now();
    let updated = platform.up(2, |event| tell(event, begin));
    say("rolled out", format!("in {}", time(begin.elapsed())));
    report(&crowd.leave());
    updated?;
    let page = Browser::new(address).get("/").map_err(|error| Error::invalid("open the shop").source_error(error))?;
    say("the shelf", page.between("<footer>", "</footer>").unwrap_or_default());
    compare_books(address)
}

/// What happens to the services; of their images only what is news.
fn tell(event: &ProjectEvent, begin: Instant) {
    let known = matches!(event, ProjectEvent::Build { .. } | ProjectEvent::Unchanged { .. });
    if !known {
        say(&time(begin.elapsed()), event);
    }
}

/// Buys a coracle and follows it to the door.
fn follow_one(address: SocketAddr) -> Result<()> {
    let mut shopper = Shopper::new(address);
    let Some(order) = shopper.buy("coracle", 1, GOOD_CARD) else {
        let why = shopper.tally.first_loss.unwrap_or_default();
        return Err(Error::invalid(format!("a shopper got no coracle: {why}")));
    };
    say("ordered", &order);
    let (begin, mut last) = (Instant::now(), String::new());
    while last != "delivered" && begin.elapsed() < Duration::from_secs(30) {
        let now = shopper.whereabouts(&order).unwrap_or_default();
        if now != last {
            say("parcel", format!("{now} ({})", time(begin.elapsed())));
            last = now;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Every confirmed order was charged and shipped once, or the example fails.
fn compare_books(address: SocketAddr) -> Result<()> {
    let books = Books::settled(address, Duration::from_secs(20))
        .map_err(|error| Error::invalid("read the books").source_error(error))?;
    say("books", &books);
    if !books.agree() {
        return Err(Error::invalid("an order was not charged and shipped exactly once"));
    }
    Ok(())
}
