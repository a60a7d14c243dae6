//! What the parts of a running simulator work with.

use super::deliver::Outbox;
use super::faults::Faults;
use super::limit::Window;
use super::people::{Dice, Mix};
use super::vendor::{UserEvent, Vendor};
use super::world::World;
use crate::clock::Clock;
use axum::extract::State;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a handler of any of the APIs is given.
pub(super) type ApiState = State<Arc<Shared>>;

pub(super) struct Shared {
    pub vendor: &'static dyn Vendor,
    pub secret_key: String,
    pub instance: String,
    pub changes_per_second: f64,
    pub mix: Mix,
    pub world: Mutex<World>,
    pub faults: Arc<Mutex<Faults>>,
    /// What changes, and what of the API goes wrong: each by itself, so that neither depends on the other's times.
    pub dice: Mutex<Dice>,
    pub fault_dice: Mutex<Dice>,
    pub window: Mutex<Window>,
    /// How often each path of the API was asked for, queries included.
    pub asked: Mutex<HashMap<String, u64>>,
    pub outbox: Outbox,
    pub clock: Arc<dyn Clock>,
}

impl Shared {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    pub(super) fn faults(&self) -> Faults {
        lock(&self.faults).clone()
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.clock.now().ms()
    }

    /// Has a change be delivered.
    pub(super) fn notify(&self, world: &World, number: u64, event: UserEvent) {
        if let Some(person) = world.person(number) {
            self.outbox.send(event, &world.id(number), &self.vendor.data(world, person, event));
        }
    }

    /// Whether a fault with this share happens now.
    pub(super) fn chance(&self, share: f64) -> bool {
        share > 0.0 && lock(&self.fault_dice).chance(share)
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
