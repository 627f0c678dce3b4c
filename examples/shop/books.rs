//! The books of the shop: what orders, payment and logistics say, side by side.

use crate::browser::Browser;
use std::fmt;
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// The answer of `/audit`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Books {
    /// Orders that are neither confirmed nor refused yet.
    pub under_way: u64,
    /// Orders that are paid and handed over to logistics.
    pub confirmed: u64,
    /// Orders whose bank said no.
    pub refused: u64,
    /// What the confirmed orders cost together.
    pub cents: u64,
    /// Lines in the ledger of payment.
    pub charges: u64,
    /// Lines in that ledger that charge an order again.
    pub charged_twice: u64,
    /// What the ledger took together.
    pub charged_cents: u64,
    /// Shipments that logistics knows.
    pub shipments: u64,
}

impl Books {
    /// Asks the shop at this address.
    fn read(address: SocketAddr) -> Result<Books> {
        let page = Browser::new(address).get("/audit")?;
        serde_json::from_str(&page.body).map_err(|error| Error::other(format!("{error}: {}", page.body)))
    }

    /// As soon as no order is under way any more, or after `limit`.
    pub fn settled(address: SocketAddr, limit: Duration) -> Result<Books> {
        let begin = Instant::now();
        loop {
            let books = Books::read(address)?;
            if books.under_way == 0 || begin.elapsed() > limit {
                return Ok(books);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether every confirmed order was charged and shipped exactly once, and nothing else was.
    pub fn agree(&self) -> bool {
        let once = self.under_way == 0 && self.charged_twice == 0;
        once && self.confirmed == self.charges && self.confirmed == self.shipments && self.cents == self.charged_cents
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Books { confirmed, refused, charges, charged_twice, shipments, .. } = self;
        write!(
            f,
            "{confirmed} confirmed, {refused} refused, {charges} charges ({charged_twice} of them a second time), "
        )?;
        write!(f, "{shipments} shipments")?;
        match self.under_way {
            0 => Ok(()),
            orders => write!(f, ", {orders} under way"),
        }
    }
}
