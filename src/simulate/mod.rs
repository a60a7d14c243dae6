//! A stand-in for a provider on loopback: its API as the specification has it, and deliveries as the provider signs them,
//! with the retry schedule of Svix, both as faulty as one asks for. Clerk, WorkOS and Supabase have a file each.
//!
//! It shares no decoding with `source/`: two sides that misread the specification in the same way would prove nothing.

mod answers;
mod api;
mod control;
mod deliver;
mod edge;
mod faults;
mod kind;
mod limit;
mod list;
mod people;
mod render;
mod supabase;
mod traffic;
mod workos;
mod world;

pub use deliver::Tally;
pub use faults::{Faults, ListFault, LostCursor};
pub use kind::Kind;
pub use people::Mix;
pub use supabase::ROW_SECRET;
pub use world::Truth;

use deliver::{Event, Outbox};
use limit::Window;
use people::Dice;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;
use world::World;

/// A public key, of a development instance: it opens nothing but a simulator.
pub const SECRET_KEY: &str = "sk_test_simulated";
/// The public secret that a simulator's deliveries are signed with unless it is told another.
pub const WEBHOOK_SECRET: &str = "whsec_c2ltdWxhdGVkIHdlYmhvb2sgc2VjcmV0IDAwMDE=";
pub const INSTANCE: &str = "ins_simulated";

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Options {
    pub kind: Kind,
    /// Users that there are at the beginning.
    pub users: u64,
    /// The same seed gives the same people, changes and faults.
    pub seed: u64,
    /// Changes in a second, once traffic is on.
    pub changes_per_second: f64,
    pub mix: Mix,
    pub secret_key: String,
    pub instance: String,
    /// Requests in ten seconds; `None` for the limit of the key's kind, zero for none at all.
    pub limit: Option<u32>,
    pub webhook_secret: String,
    /// Where deliveries go; `None` for nowhere.
    pub deliver_to: Option<Url>,
    /// The retry schedule runs so many times faster.
    pub time_compression: f64,
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            kind: Kind::Clerk,
            users: 100,
            seed: 1,
            changes_per_second: 0.0,
            mix: Mix::default(),
            secret_key: SECRET_KEY.to_owned(),
            instance: INSTANCE.to_owned(),
            limit: None,
            webhook_secret: WEBHOOK_SECRET.to_owned(),
            deliver_to: None,
            time_compression: 1.0,
            faults: Faults::default(),
        }
    }
}

/// What everything in here works with.
pub(crate) struct Shared {
    world: Mutex<World>,
    faults: Arc<Mutex<Faults>>,
    /// What changes, and what of the API goes wrong: each by itself, so that neither depends on the other's times.
    dice: Mutex<Dice>,
    fault_dice: Mutex<Dice>,
    window: Mutex<Window>,
    outbox: Outbox,
    options: Options,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn faults(&self) -> Faults {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has a change be delivered.
    fn notify(&self, world: &World, number: u64, event: Event) {
        if let Some(person) = world.person(number) {
            self.outbox.send(event, &world.id(number), &world.told(person, event));
        }
    }

    fn chance(&self, share: f64) -> bool {
        share > 0.0 && self.fault_dice.lock().unwrap_or_else(PoisonError::into_inner).chance(share)
    }
}

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
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let key = options.kind.signing_key(&options.webhook_secret)?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let faults = Arc::new(Mutex::new(options.faults.clone()));
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(options.kind, options.seed, options.users)),
            outbox: Outbox::new(key, &options, faults.clone()),
            faults,
            dice: Mutex::new(Dice::new(options.seed ^ 0xca)),
            fault_dice: Mutex::new(Dice::new(options.seed ^ 0xfa)),
            window: Mutex::new(Window::new(options.limit.unwrap_or(options.kind.limit(&options.secret_key)))),
            options,
        });
        let router = api::router(shared.clone());
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
        change(&mut self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner));
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
        self.shared.window.lock().unwrap_or_else(PoisonError::into_inner).measured()
    }

    /// Everybody as the provider has them, by id.
    pub fn truth(&self) -> Vec<Truth> {
        self.shared.world().truth()
    }

    /// Changes one person, as an administrator would: `patch` has the fields of `PATCH /users/{id}`.
    pub fn edit(&self, id: &str, patch: &serde_json::Value) -> bool {
        api::edit(&self.shared, id, patch)
    }

    /// Deletes one person.
    pub fn delete(&self, id: &str) -> bool {
        api::delete(&self.shared, id)
    }

    /// Has the account end by a version of it (Supabase alone).
    pub fn soft_delete(&self, id: &str) -> bool {
        let mut world = self.shared.world();
        let Some(number) = world.alive(id).map(|person| person.number) else { return false };
        world.soft_delete(number, api::now_ms());
        self.shared.notify(&world, number, Event::Updated);
        true
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
