//! A table of replicas that is drawn anew in place on a terminal, and once at the end elsewhere.

use coracle::{ContainerState, DeploymentStatus, HealthState, ReplicaStatus, RolloutEvent};
use std::io::IsTerminal;

/// The table, and how many lines of it stand on the terminal.
pub struct Table {
    terminal: bool,
    drawn: usize,
}

impl Table {
    /// Nothing is drawn yet.
    pub fn new() -> Table {
        Table { terminal: std::io::stdout().is_terminal(), drawn: 0 }
    }

    /// A line above the table.
    pub fn event(&mut self, event: &RolloutEvent) {
        self.clear();
        println!("  {event}");
    }

    /// Draws the table; where there is no terminal only the last one.
    pub fn show(&mut self, status: &DeploymentStatus, last: bool) {
        if !self.terminal && !last {
            return;
        }
        self.clear();
        println!(
            "  {:<12} {:<10} {:<10} {:>8} {:>8} {:>12}",
            "REPLICA", "STATE", "HEALTH", "RESTARTS", "TRAFFIC", "CONNECTIONS"
        );
        for replica in &status.replicas {
            let ReplicaStatus { name, restarts, connections, .. } = replica;
            let traffic = if replica.in_traffic { "yes" } else { "no" };
            println!(
                "  {name:<12} {:<10} {:<10} {restarts:>8} {traffic:>8} {connections:>12}",
                state(replica),
                health(replica)
            );
        }
        self.drawn = status.replicas.len() + 1;
    }

    fn clear(&mut self) {
        if self.terminal && self.drawn > 0 {
            // Up, and clear to the end of the screen (ECMA-48).
            print!("\x1b[{}A\x1b[J", self.drawn);
        }
        self.drawn = 0;
    }
}

fn state(replica: &ReplicaStatus) -> &'static str {
    match replica.state {
        ContainerState::Running(_) => "running",
        ContainerState::Exited(_) => "ended",
        _ => "restarting",
    }
}

fn health(replica: &ReplicaStatus) -> &'static str {
    match replica.health {
        HealthState::Healthy => "healthy",
        HealthState::Starting => "starting",
        HealthState::Unhealthy => "unhealthy",
        _ => "-",
    }
}
