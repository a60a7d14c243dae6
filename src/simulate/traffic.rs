//! Changes: sign-ups, edits, bans, deletions, at a rate, from a seed.

use super::acts::delete;
use super::shared::{Shared, lock};
use super::vendor::UserEvent;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(20);

pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let mut due = 0.0;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        due += shared.changes_per_second * TICK.as_secs_f64();
        while due >= 1.0 {
            change(&shared);
            due -= 1.0;
        }
    }
}

/// One change.
pub(super) fn change(shared: &Shared) {
    let (kind, place) = {
        let mut dice = lock(&shared.dice);
        (dice.fraction(), dice.roll(u64::MAX))
    };
    let mix = shared.mix;
    let mut world = shared.world();
    let somebody = world.somebody(place).filter(|_| kind >= mix.created);
    let now_ms = shared.now_ms();
    let (number, event) = match somebody {
        None => (world.add(now_ms, now_ms, None), UserEvent::Created),
        Some(number) if kind < mix.created + mix.deleted => {
            let id = world.id(number);
            drop(world);
            delete(shared, &id);
            return;
        }
        Some(number) => {
            let ban = kind < mix.created + mix.deleted + mix.banned;
            world.change(number, now_ms, |person| match ban {
                true => person.banned = !person.banned,
                false => person.revision += 1,
            });
            (number, UserEvent::Updated)
        }
    };
    shared.notify(&world, number, event);
}
