//! How the quickstart shows what it did.

use coracle::Output;
use std::time::Duration;

/// The heading of a step.
pub fn title(text: &str) {
    println!("\n{text}");
}

/// One fact.
pub fn say(what: &str, text: impl Into<String>) {
    println!("  {what:<12} {}", text.into());
}

/// What a container wrote and what it used.
pub fn report(output: &Output) {
    for (mark, stream) in [('|', &output.stdout), ('!', &output.stderr)] {
        for line in String::from_utf8_lossy(stream).lines() {
            println!("  {mark} {line}");
        }
    }
    say("status", output.status.to_string());
    let peak = output.stats.as_ref().and_then(|stats| stats.memory.peak);
    say("peak memory", peak.unwrap_or(output.peak_resident).to_string());
    say("CPU time", time(output.cpu));
    say("start took", time(output.start));
    for limit in &output.unenforced {
        say("note", limit.to_string());
    }
}

/// A length of time, for people.
pub fn time(duration: Duration) -> String {
    if duration >= Duration::from_secs(1) {
        format!("{:.2} s", duration.as_secs_f64())
    } else {
        format!("{:.2} ms", duration.as_secs_f64() * 1e3)
    }
}
