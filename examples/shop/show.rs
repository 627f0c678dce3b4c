//! How the example shows what it did.

use crate::shopper::Tally;
use coracle::{DeploymentStats, Memory};
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

/// What every service has used up to now.
pub fn usage(services: &[DeploymentStats]) {
    println!();
    println!("  {:<16} {:>5} {:>12} {:>10} {:>12} {:>12}", "SERVICE", "READY", "MEMORY", "CPU", "RECEIVED", "SENT");
    for service in services {
        let totals = service.totals();
        let ready = format!("{}/{}", totals.ready, service.wanted);
        let [received, sent] = [totals.received_bytes, totals.sent_bytes].map(|bytes| Memory::bytes(bytes).to_string());
        let (name, memory, cpu) = (&service.deployment, totals.memory.to_string(), time(totals.cpu));
        println!("  {name:<16} {ready:>5} {memory:>12} {cpu:>10} {received:>12} {sent:>12}");
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
