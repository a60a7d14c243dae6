//! A running simulator, and what a test does with it from within.

use super::deliver::{Outbox, Route, Tally};
use super::faults::Faults;
use super::limit::Window;
use super::options::Options;
use super::people::Dice;
use super::shared::{Shared, lock};
use super::world::{Truth, World};
use super::{acts, router, traffic};
use crate::clock::{Clock, SystemClock};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

/// A running simulator; it ends when it is dropped.
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Simulator {
    /// Listens, and delivers what changes. The traffic is [`Simulator::start_traffic`]'s.
    pub async fn start(options: Options, listen: SocketAddr) -> anyhow::Result<Self> {
        Self::start_by(options, listen, Arc::new(SystemClock)).await
    }

    /// As [`Simulator::start`], with this clock's time and chance.
    pub async fn start_by(
        options: Options,
        listen: SocketAddr,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let key = options.kind.signing_key(&options.webhook_secret)?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (kind, vendor, seed) = (options.kind, options.kind.vendor(), options.seed);
        let faults = Arc::new(Mutex::new(options.faults));
        let requests_max = options.limit.unwrap_or_else(|| vendor.requests_max(&options.secret_key));
        let route = Route {
            vendor,
            key,
            seed,
            instance: options.instance.clone(),
            to: options.deliver_to,
            time_compression: options.time_compression,
        };
        let shared = Arc::new(Shared {
            vendor,
            secret_key: options.secret_key,
            instance: options.instance,
            changes_per_second: options.changes_per_second,
            mix: options.mix,
            world: Mutex::new(World::new(vendor.id_form(), seed, options.users)),
            outbox: Outbox::new(route, faults.clone(), clock.clone())?,
            faults,
            dice: Mutex::new(Dice::new(seed ^ 0xca)),
            fault_dice: Mutex::new(Dice::new(seed ^ 0xfa)),
            window: Mutex::new(Window::new(requests_max)),
            asked: Mutex::default(),
            clock,
        });
        let router = router::router(kind.api(), shared.clone());
        let stopped = stop.clone();
        tasks.spawn(async move {
            let serving = axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned());
            if let Err(error) = serving.await {
                tracing::error!("the simulator's API ended: {error}");
            }
        });
        Ok(Self { shared, address, tasks, stop })
    }

    /// Changes happen from now on, at the rate of the options.
    pub fn start_traffic(&mut self) {
        self.tasks.spawn(traffic::run(self.shared.clone(), self.stop.clone()));
    }

    /// Makes so many changes at once.
    pub fn change(&self, changes: u64) {
        for _ in 0..changes {
            traffic::change(&self.shared);
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends deliveries there from now on.
    pub fn deliver_to(&self, url: Url) {
        self.shared.outbox.deliver_to(url);
    }

    pub fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut lock(&self.shared.faults));
    }

    /// What became of the deliveries.
    pub fn tally(&self) -> Tally {
        self.shared.outbox.tally()
    }

    /// Waits until no delivery is on its way or waits for its next attempt.
    pub async fn delivered(&self) {
        self.shared.outbox.drained().await;
    }

    /// The most requests that ten seconds have held, and how many there were in all.
    pub fn requests(&self) -> (usize, u64) {
        lock(&self.shared.window).measured()
    }

    /// How many requests named this account, by its id.
    pub fn requests_for(&self, id: &str) -> u64 {
        let asked = lock(&self.shared.asked);
        asked.iter().filter(|(path, _)| path.contains(id)).map(|(_, times)| times).sum()
    }

    /// Everybody as the provider has them, by id.
    pub fn truth(&self) -> Vec<Truth> {
        let shown = |world: &World, person: &_, whole| self.shared.vendor.truth(world, person, whole);
        self.shared.world().truth(shown)
    }

    /// Changes one person, as an administrator would: `patch` has the fields of `PATCH /users/{id}`.
    pub fn edit(&self, id: &str, patch: &serde_json::Value) -> bool {
        acts::edit(&self.shared, id, patch)
    }

    /// Deletes one person.
    pub fn delete(&self, id: &str) -> bool {
        acts::delete(&self.shared, id)
    }

    /// Has the account end by a version of it (Supabase alone).
    pub fn soft_delete(&self, id: &str) -> bool {
        acts::soft_delete(&self.shared, id)
    }

    /// Puts one person back to an earlier version, as a restore from a backup does, without a delivery.
    pub fn restore(&self, id: &str, updated_at_ms: i64, first_name: &str) -> bool {
        self.shared.world().restore(id, updated_at_ms, first_name)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
