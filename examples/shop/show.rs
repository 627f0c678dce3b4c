//! How the example shows what it did.

use crate::shopper::Tally;
use std::time::Duration;

/// The heading of a step.
pub fn title(text: &str) {
    println!("\n{text}");
}

/// One fact.
pub fn say(what: &str, text: impl std::fmt::Display) {
    println!("  {what:<12} {text}");
}

/// What a crowd of shoppers went through.
pub fn report(tally: &Tally) {
    let Tally { confirmed, refused, failed, answered, lost, .. } = tally;
    say("orders", format!("{confirmed} confirmed, {refused} refused by their bank, {failed} failed"));
    say("rate", format!("{:.1} orders per second, in {}", rate(tally), time(tally.elapsed)));
    say("each took", format!("{} (median), {} (99 %)", time(within(tally, 0.5)), time(within(tally, 0.99))));
    say("requests", format!("{answered} answered, {lost} lost"));
    if let Some(loss) = &tally.first_loss {
        say("first loss", loss);
    }
}

/// A length of time, for people.
pub fn time(duration: Duration) -> String {
    if duration >= Duration::from_secs(1) {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{:.0} ms", duration.as_secs_f64() * 1e3)
    }
}

/// Orders per second, confirmed and refused together.
fn rate(tally: &Tally) -> f64 {
    (tally.confirmed + tally.refused) as f64 / tally.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// The time within which this share of the orders was made.
fn within(tally: &Tally, share: f64) -> Duration {
    let last = tally.times.len().saturating_sub(1);
    tally.times.get((last as f64 * share) as usize).copied().unwrap_or_default()
}
