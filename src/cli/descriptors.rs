//! How many files and connections this process may have open, and what each part of it may take of them.

use crate::web::ConnectionLimits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// More are of no use here.
const DESCRIPTORS_MAX: u64 = 65_536;
/// Where the system sets no limit.
const UNLIMITED: u64 = DESCRIPTORS_MAX;
/// For files, logs, requests to providers and the listeners themselves.
const OWN: u64 = 64;
/// For the database: its connections, or SQLite's files.
const DATABASE: u64 = 64;
/// Connections of the admin listener: a quarter of all, for applications ask there, and so many at the most.
const ADMIN_MAX: u64 = 1_024;
const PUBLIC_MAX: u64 = 2_048;
/// Fewer are not enough for a process that takes deliveries.
const ENOUGH: u64 = 512;

/// What the two listeners may hold.
pub struct Listeners {
    pub public: ConnectionLimits,
    pub admin: ConnectionLimits,
}

/// Raises the limit as far as this process may, and shares it out: the admin side, the database and files keep their part
/// whatever comes to the public listener.
pub fn listeners(database_connections_max: u64) -> Listeners {
    let descriptors = raise();
    if descriptors < ENOUGH {
        warn!(
            "this process may open {descriptors} files and connections, and more cannot be had; \
             raise the limit (`ulimit -n`, LimitNOFILE) to {ENOUGH} at least"
        );
    }
    let admin = admin_share(descriptors);
    let limits = |connections: u64| ConnectionLimits::of(usize::try_from(connections).unwrap_or(usize::MAX));
    Listeners { public: limits(public_share(descriptors, database_connections_max)), admin: limits(admin) }
}

fn admin_share(descriptors: u64) -> u64 {
    (descriptors / 4).min(ADMIN_MAX)
}

fn public_share(descriptors: u64, database_connections_max: u64) -> u64 {
    let reserved = OWN + admin_share(descriptors) + DATABASE.max(database_connections_max * 2);
    descriptors.saturating_sub(reserved).clamp(16, PUBLIC_MAX)
}

/// The soft limit, raised to the hard one.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(UNLIMITED).min(DESCRIPTORS_MAX);
    let now = current.unwrap_or(UNLIMITED);
    if now >= wanted {
        return now;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => wanted,
        Err(_) => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_listener_takes_what_the_others_do_not_need() {
        for (descriptors, connections, share) in
            [(1_024, 8, 640), (65_536, 8, 2_048), (256, 8, 64), (100, 8, 16), (1_024, 100, 504)]
        {
            assert_eq!(public_share(descriptors, connections), share, "{descriptors}, {connections}");
        }
    }
}
