//! The connections of a listener: how many there may be, how many of one peer, and which is cut where there are too many.
//!
//! A connection is waiting from its beginning, or from its last answer, until a request has arrived whole. Whoever opens
//! connections and sends nothing, or sends slowly, cannot keep others out: for a new connection one that has waited for a
//! while is cut, first those that have brought no delivery yet, of these the one that waits longest. Where there is none,
//! all are at work, and new ones wait in the system's backlog.

use crate::private_host::is_private_address;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const GRACE: Duration = Duration::from_millis(250);

/// How many connections a listener holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    pub connections_max: usize,
    /// Of one address on the public internet. Behind loopback and private addresses everybody may stand.
    pub per_peer_max: usize,
    /// How long a connection may wait before it can be cut: a request that has just been sent arrives within that.
    pub grace: Duration,
}

impl ConnectionLimits {
    /// A quarter of them for one peer, and some in any case.
    pub fn of(connections_max: usize) -> Self {
        let connections_max = connections_max.max(1);
        let per_peer_max = (connections_max / 4).max(16).min(connections_max);
        Self { connections_max, per_peer_max, grace: GRACE }
    }
}

/// One connection, as the listener and its requests see it.
pub struct OpenConnection {
    peer: Option<IpAddr>,
    /// A request is whole and is being answered: it is not cut.
    answering: AtomicBool,
    /// It has brought a delivery that was taken.
    proven: AtomicBool,
    waits_since: Mutex<Instant>,
    cut: CancellationToken,
}

impl OpenConnection {
    fn new(peer: IpAddr) -> Arc<Self> {
        Arc::new(Self {
            peer: (!is_private_address(peer)).then_some(peer),
            answering: AtomicBool::new(false),
            proven: AtomicBool::new(false),
            waits_since: Mutex::new(Instant::now()),
            cut: CancellationToken::new(),
        })
    }

    /// It waits for a request, from now on.
    pub fn waits(&self) {
        *self.waits_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.answering.store(false, Ordering::Relaxed);
    }

    /// A request has arrived whole.
    pub fn answers(&self) {
        self.answering.store(true, Ordering::Relaxed);
    }

    pub fn has_proven_itself(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    /// Returns once it is to be cut.
    pub async fn is_cut(&self) {
        self.cut.cancelled().await;
    }

    fn may_be_cut(&self, grace: Duration) -> bool {
        let is_free = !self.answering.load(Ordering::Relaxed) && !self.cut.is_cancelled();
        is_free && self.waits_since().elapsed() >= grace
    }

    fn waits_since(&self) -> Instant {
        *self.waits_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rank(&self) -> (bool, Instant) {
        (self.proven.load(Ordering::Relaxed), self.waits_since())
    }
}

/// What a listener holds now.
pub struct Connections {
    limits: ConnectionLimits,
    open: Mutex<HashMap<u64, Arc<OpenConnection>>>,
    next: AtomicU64,
    /// Connections that were cut since they were last told of.
    cut_off: AtomicU64,
}

/// Between two lines of the log about connections that were cut.
pub const TELL_EVERY: Duration = Duration::from_secs(10);

impl Connections {
    pub fn new(limits: ConnectionLimits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default(), next: AtomicU64::new(0), cut_off: AtomicU64::new(0) })
    }

    /// Takes a connection, where need be in the place of one that waits.
    pub fn admit(self: &Arc<Self>, peer: IpAddr) -> Admission {
        let connection = OpenConnection::new(peer);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = connection.peer {
            let of_peer = |other: &OpenConnection| other.peer == Some(peer);
            let count = open.values().filter(|other| of_peer(other)).count();
            if count >= self.limits.per_peer_max && !self.cut_one(&mut open, of_peer) {
                return Admission::Refused;
            }
        }
        if open.len() >= self.limits.connections_max && !self.cut_one(&mut open, |_| true) {
            return Admission::Full;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        open.insert(id, connection.clone());
        Admission::Admitted(Admitted { id, connection, of: self.clone() })
    }

    /// Makes room where the system has none: cuts one that waits.
    pub fn make_room(&self) -> bool {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.cut_one(&mut open, |_| true)
    }

    fn cut_one(
        &self,
        open: &mut HashMap<u64, Arc<OpenConnection>>,
        of: impl Fn(&OpenConnection) -> bool,
    ) -> bool {
        let grace = self.limits.grace;
        let waiting = open.iter().filter(|(_, connection)| of(connection) && connection.may_be_cut(grace));
        let Some(id) = waiting.min_by_key(|(id, connection)| (connection.rank(), **id)).map(|(id, _)| *id)
        else {
            return false;
        };
        if let Some(connection) = open.remove(&id) {
            connection.cut.cancel();
            self.cut_off.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    /// How many were cut since this was last asked.
    pub fn cut_off(&self) -> u64 {
        self.cut_off.swap(0, Ordering::Relaxed)
    }
}

/// What becomes of a new connection.
pub enum Admission {
    Admitted(Admitted),
    /// All others are at work: it has to wait.
    Full,
    /// Its peer has its share, and all of that is at work.
    Refused,
}

/// A connection's place, given back when it is dropped.
pub struct Admitted {
    id: u64,
    pub connection: Arc<OpenConnection>,
    of: Arc<Connections>,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.of.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> IpAddr {
        IpAddr::from([8, 8, 8, n])
    }

    fn limits(connections_max: usize, per_peer_max: usize) -> ConnectionLimits {
        ConnectionLimits { connections_max, per_peer_max, grace: Duration::ZERO }
    }

    impl Admission {
        fn unwrap(self) -> Admitted {
            match self {
                Admission::Admitted(admitted) => admitted,
                Admission::Full | Admission::Refused => panic!("no room"),
            }
        }
    }

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn who_waits_longest_without_a_delivery_makes_room() {
        let connections = Connections::new(limits(3, 3));
        let held: Vec<_> = (0..3).map(|_| connections.admit(LOCAL).unwrap()).collect();
        held[0].connection.has_proven_itself();
        let next = connections.admit(LOCAL).unwrap();
        let cut: Vec<bool> = held.iter().map(|held| held.connection.cut.is_cancelled()).collect();
        assert_eq!(cut, [false, true, false], "the oldest that has brought nothing");
        held[2].connection.answers();
        next.connection.answers();
        let last = connections.admit(LOCAL).unwrap();
        assert!(held[0].connection.cut.is_cancelled(), "then one that has, and none that is being answered");
        last.connection.answers();
        let full = connections.admit(LOCAL);
        assert!(matches!(full, Admission::Full), "where all are being answered there is no room");
        assert_eq!(connections.cut_off(), 2);
        last.connection.waits();
        connections.admit(LOCAL).unwrap();
    }

    #[test]
    fn one_peer_has_its_share_and_private_addresses_are_no_peer() {
        let connections = Connections::new(limits(20, 2));
        let held: Vec<_> = (0..5).map(|_| connections.admit(peer(1)).unwrap()).collect();
        assert_eq!(held.iter().filter(|held| held.connection.cut.is_cancelled()).count(), 3);
        let other = connections.admit(peer(2)).unwrap();
        let local: Vec<_> = (0..5).map(|_| connections.admit(LOCAL).unwrap()).collect();
        assert!(local.iter().chain([&other]).all(|held| !held.connection.cut.is_cancelled()));
        drop(held);
        assert_eq!(connections.open.lock().unwrap().len(), 6);
    }
    #[test]
    fn a_connection_that_has_just_come_is_not_cut() {
        let grace = Duration::from_secs(60);
        let connections = Connections::new(ConnectionLimits { grace, ..limits(1, 1) });
        let first = connections.admit(LOCAL).unwrap();
        assert!(matches!(connections.admit(LOCAL), Admission::Full));
        assert!(!first.connection.cut.is_cancelled());
    }
}
