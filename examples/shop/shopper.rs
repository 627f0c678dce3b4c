//! Shoppers: they browse, fill a cart, check out and look at their order, many at once, and count what went wrong.

use crate::browser::{Browser, Page};
use std::io::Result;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A card that pays, and one whose bank says no.
pub const GOOD_CARD: &str = "4242 4242 4242 4242";
/// See [`GOOD_CARD`].
pub const REFUSED_CARD: &str = "4000 0000 0000 0002";

/// How often a shopper presses the button again.
const ATTEMPTS: usize = 20;

/// What one shopper went through, or many.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Orders that were confirmed.
    pub confirmed: u64,
    /// Orders whose bank said no.
    pub refused: u64,
    /// Orders that came to nothing however often it was tried.
    pub failed: u64,
    /// Requests that were answered as they should be.
    pub answered: u64,
    /// Requests without an answer, with half of one, or with the shop's own failure; and the first of them.
    pub lost: u64,
    /// What the first of them was.
    pub first_loss: Option<String>,
    /// How long each order took from the first page to the last.
    pub times: Vec<Duration>,
    /// How long all of them took together.
    pub elapsed: Duration,
}

/// One shopper on the way through the shop.
pub struct Shopper {
    browser: Browser,
    /// What happened so far.
    pub tally: Tally,
}

/// Shoppers that shop in the background.
pub struct Crowd {
    threads: Vec<JoinHandle<Tally>>,
    stop: Arc<AtomicBool>,
    begin: Instant,
}

impl Shopper {
    /// A new shopper with an empty cart.
    pub fn new(address: SocketAddr) -> Shopper {
        Shopper { browser: Browser::new(address), tally: Tally::default() }
    }

    /// Buys something, from the shelf to the confirmed or refused order; the page of the order.
    pub fn buy(&mut self, product: &str, quantity: u32, card: &str) -> Option<String> {
        let begin = Instant::now();
        let order = self.go(product, quantity, card);
        match &order {
            Some((_, page)) if page.body.contains("status confirmed") => self.tally.confirmed += 1,
            Some((_, page)) if page.body.contains("status refused") => self.tally.refused += 1,
            _ => self.tally.failed += 1,
        }
        self.tally.times.push(begin.elapsed());
        order.map(|(path, _)| path)
    }

    /// Where the parcel of an order is: `queued`, `packed`, `on the way`, `delivered`.
    pub fn whereabouts(&mut self, order: &str) -> Option<String> {
        let page = self.insist(|browser| browser.get(order))?;
        page.between("<strong>", "</strong>").map(str::to_owned)
    }

    fn go(&mut self, product: &str, quantity: u32, card: &str) -> Option<(String, Page)> {
        self.insist(|browser| browser.get("/"))?;
        self.insist(|browser| browser.get(&format!("/products/{product}")))?;
        let quantity = quantity.to_string();
        self.insist(|browser| browser.post("/cart", &[("product", product), ("quantity", &quantity)]))?;
        let form = self.insist(|browser| browser.get("/checkout"))?;
        let key = form.between("name=\"key\" value=\"", "\"")?.to_owned();
        let fields = [("key", key.as_str()), ("address", "1 Teifi Side, Cenarth"), ("card", card)];
        let path = self.insist(|browser| browser.post("/checkout", &fields))?.location?;
        let page = self.insist(|browser| browser.get(&path))?;
        Some((path, page))
    }

    /// Sends a request, again where it was lost: the form's key makes that harmless.
    fn insist(&mut self, mut request: impl FnMut(&mut Browser) -> Result<Page>) -> Option<Page> {
        for _ in 0..ATTEMPTS {
            let loss = match request(&mut self.browser) {
                Ok(page) if page.status < 400 => {
                    self.tally.answered += 1;
                    return Some(page);
                }
                Ok(page) => format!("status {}: {}", page.status, page.between("<p>", "</p>").unwrap_or_default()),
                Err(error) => error.to_string(),
            };
            self.tally.lost += 1;
            self.tally.first_loss.get_or_insert(loss);
            std::thread::sleep(Duration::from_millis(100));
        }
        None
    }
}

impl Crowd {
    /// Sends so many shoppers into the shop; each orders until told to leave, `most` times at most.
    pub fn enter(address: SocketAddr, shoppers: usize, most: usize) -> Crowd {
        let stop = Arc::new(AtomicBool::new(false));
        let visit = |number| {
            let stop = stop.clone();
            std::thread::spawn(move || visit(address, number, most, &stop))
        };
        Crowd { threads: (0..shoppers).map(visit).collect(), begin: Instant::now(), stop: stop.clone() }
    }

    /// Waits until each has ordered as often as it wanted.
    pub fn wait(self) -> Tally {
        let mut all = Tally::default();
        for thread in self.threads {
            all.add(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all.elapsed = self.begin.elapsed();
        all.times.sort();
        all
    }

    /// Lets each finish its order, then leave.
    pub fn leave(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.wait()
    }
}

fn visit(address: SocketAddr, number: usize, most: usize, stop: &AtomicBool) -> Tally {
    const WISHES: [(&str, u32); 4] = [("coracle", 1), ("paddle", 2), ("pitch", 3), ("lantern", 1)];
    let mut tally = Tally::default();
    for round in number..number.saturating_add(most) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (product, quantity) = WISHES[round % WISHES.len()];
        // One bank in ten says no: that must work as well.
        let card = if round % 10 == 9 { REFUSED_CARD } else { GOOD_CARD };
        let mut shopper = Shopper::new(address);
        shopper.buy(product, quantity, card);
        tally.add(shopper.tally);
    }
    tally
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.confirmed += other.confirmed;
        self.refused += other.refused;
        self.failed += other.failed;
        self.answered += other.answered;
        self.lost += other.lost;
        self.first_loss = self.first_loss.take().or(other.first_loss);
        self.times.extend(other.times);
    }
}
