//! Small types that cannot hold a wrong thing: what parses is valid, everywhere after.

mod account;
mod amount;
pub(crate) mod civil;
mod digest;
mod identifier;
mod platform;
mod port;
mod reference;
mod signal;
mod time;
mod user;

pub(crate) use account::{GroupEntry, UserEntry};
pub use amount::{Cpus, Memory};
pub use digest::Digest;
pub(crate) use digest::Hasher;
pub use identifier::{ContainerId, EnvVar, Name};
pub use platform::Platform;
pub use port::{Port, Protocol};
pub use reference::Reference;
pub use signal::parse_signal;
pub use time::{Timestamp, parse_duration};
pub use user::{IdOrName, User};
