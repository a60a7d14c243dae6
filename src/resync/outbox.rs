//! The outbox beside a provider's table: what it notes becomes deliveries, from the rows as they are now.

use super::ResyncError;
use super::lease::Lease;
use super::table::SourceTable;
use crate::clock::Clock;
use crate::intake::noted;
use crate::source::api_error::ApiError;
use crate::source::{NotedRow, ProviderTable, Source};
use crate::store::{
    NewDelivery, OP_DELETE, OP_INSERT, OutboxNote, OutboxPosition, OutboxState, Store, StoreError,
    TableElsewhere,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

/// Notes that are taken at once.
const NOTES_AT_ONCE: i64 = 500;
/// For how long a SQLite file has had no new note before headcount writes to it.
const QUIET_FOR: Duration = Duration::from_secs(5);
/// Where it is never quiet: once so many notes lie there that were taken, they are taken away all the same.
const KEPT_MAX: u64 = 100_000;
/// What is wrong with a SQLite file in another mode.
pub const NO_WAL: &str = "the file of the provider's table is not in WAL mode, so that the application would wait for \
     headcount: `PRAGMA journal_mode = WAL`, once, turns it on";

/// Drains one source's outbox.
pub struct OutboxDrain {
    store: Store,
    source: Source,
    clock: Arc<dyn Clock>,
    table: SourceTable,
    shape: &'static ProviderTable,
    told: Mutex<Told>,
}

/// How far an outbox was drained whose notes still lie there. On SQLite an application's transaction that has read and then
/// writes fails where anybody has written in between, so nothing is written there until it is quiet.
#[derive(Default)]
struct Told {
    position: OutboxPosition,
    /// When the last note came, or this process began; `None` where no note that was taken is left.
    last_came_at: Option<Instant>,
    /// Notes that were taken since any was taken away.
    kept: u64,
}

impl Told {
    /// Begins where the last process has stopped, or anew in another life of the outbox, and takes notes away where that is
    /// due.
    async fn keep_up(
        &mut self,
        table: &TableElsewhere,
        drained: Option<OutboxPosition>,
    ) -> Result<(), StoreError> {
        if !table.is_concurrent().await? {
            return Err(StoreError::Setup(NO_WAL.to_owned()));
        }
        let epoch = table.outbox_epoch().await?;
        if self.position.epoch != epoch {
            let position = drained.filter(|drained| drained.epoch == epoch);
            let position = position.unwrap_or(OutboxPosition { epoch, seq: 0 });
            let is_left = table.has_notes_up_to(position.seq).await?;
            *self = Told { position, last_came_at: is_left.then(Instant::now), kept: 0 };
        }
        // A few at a time: between two of them somebody may have written.
        if self.is_due() && !table.forget_up_to(self.position.seq).await? {
            (self.last_came_at, self.kept) = (None, 0);
        }
        Ok(())
    }

    /// Whether notes are to be taken away now.
    fn is_due(&self) -> bool {
        self.last_came_at.is_some_and(|last| last.elapsed() >= QUIET_FOR || self.kept >= KEPT_MAX)
    }
}

/// What became of a look into an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// There is none beside the table.
    NotInstalled,
    /// The source is retired: its notes wait.
    Retired,
    /// There is no note.
    Nothing,
    /// Every note is taken.
    Emptied,
    /// Some are taken, and there may be more.
    Partly,
}

impl OutboxDrain {
    /// `None` where the source has no table of its own.
    pub fn of(store: &Store, source: &Source, clock: &Arc<dyn Clock>) -> Result<Option<Self>, StoreError> {
        let (Some(table), Some(shape)) = (SourceTable::of(source)?, source.provider.table()) else {
            return Ok(None);
        };
        let (store, source, clock) = (store.clone(), source.clone(), clock.clone());
        Ok(Some(Self { store, source, clock, table, shape, told: Mutex::default() }))
    }

    pub fn source_name(&self) -> &str {
        &self.source.name
    }

    /// Of all processes one drains, as long as it holds this; `None` where another one does.
    pub async fn hold(&self) -> Result<Option<Lease>, StoreError> {
        Lease::acquire(&self.store, &format!("outbox/{}", self.source.name), &self.clock.fresh_id()).await
    }

    /// Takes some notes, the oldest first. They are taken away once what they tell is in the inbox: a process that dies in
    /// between leaves them, and the inbox knows their message ids already.
    pub async fn drain(&self) -> Result<Drained, ResyncError> {
        let drained = self.drain_some().await;
        if let Err(ResyncError::Store(error)) = &drained {
            self.table.let_go_after(error).await;
        }
        drained
    }

    async fn drain_some(&self) -> Result<Drained, ResyncError> {
        let table = self.table.opened().await?;
        if !table.has_outbox().await? {
            return Ok(Drained::NotInstalled);
        }
        let mut told = self.told.lock().await;
        let is_in_order = table.is_in_order_of_commits();
        if is_in_order {
            let drained = match told.position.epoch.is_empty() {
                true => self.store.source(&self.source.name).await?.drained,
                false => None,
            };
            told.keep_up(&table, drained).await?;
        }
        let notes = table.notes_after(told.position.seq, NOTES_AT_ONCE).await?;
        if notes.is_empty() {
            return Ok(Drained::Nothing);
        }
        if self.store.source(&self.source.name).await?.retired_at.is_some() {
            return Ok(Drained::Retired);
        }
        // What a server lacks that follows another one may only not have come yet.
        if table.is_standby().await? {
            return Err(ApiError::Replica.into());
        }
        let epoch = if is_in_order { told.position.epoch.clone() } else { table.outbox_epoch().await? };
        let latest = latest_of_each(&notes);
        let ids: Vec<String> = latest.keys().map(|id| (*id).to_owned()).collect();
        let read_at = self.store.now().await?;
        let rows: HashMap<String, String> = table.rows_of(&ids).await?.into_iter().collect();
        let deliveries = latest.iter().filter_map(|(id, change)| {
            let row = rows.get(*id).map(String::as_str);
            // Whose row is gone without a word has another note on the way, or is no user.
            if row.is_none() && !change.is_deleted {
                return None;
            }
            let body = (self.shape.told)(&NotedRow {
                provider_id: id,
                at: &change.latest.at,
                is_new: change.is_new,
                row,
            });
            noted(&self.source, format!("{epoch}-{}", change.latest.seq), &body, read_at)
        });
        let deliveries: Vec<NewDelivery> = deliveries.collect();
        self.store.accept(&self.store.without_erased(deliveries).await?).await?;
        match (is_in_order, notes.last()) {
            (true, Some(last)) => {
                told.position.seq = last.seq;
                told.last_came_at = Some(Instant::now());
                told.kept += notes.len() as u64;
                self.store.note_drained(&self.source.name, &told.position).await?;
            }
            _ => table.forget(&notes.iter().map(|note| note.seq).collect::<Vec<_>>()).await?,
        }
        let is_full = i64::try_from(notes.len()).is_ok_and(|count| count == NOTES_AT_ONCE);
        Ok(if is_full { Drained::Partly } else { Drained::Emptied })
    }
}

/// What the notes say of one row: as the row is read once for all of them, they are one change.
struct NotedChange<'a> {
    latest: &'a OutboxNote,
    is_new: bool,
    is_deleted: bool,
}

fn latest_of_each(notes: &[OutboxNote]) -> BTreeMap<&str, NotedChange<'_>> {
    let mut changes: BTreeMap<&str, NotedChange<'_>> = BTreeMap::new();
    for note in notes {
        let fresh = NotedChange { latest: note, is_new: false, is_deleted: false };
        let change = changes.entry(&note.provider_id).or_insert(fresh);
        change.latest = note;
        change.is_new |= note.op == OP_INSERT;
        change.is_deleted |= note.op == OP_DELETE;
    }
    changes
}

/// How the outbox of a source stands, asked now; `None` where it has none. What lies before the position was taken already.
pub async fn outbox_state(
    source: &Source,
    drained: Option<&OutboxPosition>,
) -> Result<Option<OutboxState>, StoreError> {
    match SourceTable::of(source)? {
        Some(table) => table.opened().await?.outbox_state(drained).await,
        None => Ok(None),
    }
}

/// What the trigger beside the source's table could not note so far; 0 where there is none, or where that cannot be told.
pub(super) async fn unnoted_changes(source: &Source) -> u64 {
    match outbox_state(source, None).await {
        Ok(state) => state.map_or(0, |state| state.failures),
        Err(error) => {
            debug!(source.name = source.name, "the outbox cannot be asked: {error}");
            0
        }
    }
}

/// A full run has found what the trigger could not note before it: `status` need not tell of it any more.
pub(super) async fn forgive_unnoted(source: &Source, count: u64) -> Result<(), StoreError> {
    match SourceTable::of(source)?.filter(|_| count > 0) {
        Some(table) => table.opened().await?.forgive_failures(count).await,
        None => Ok(()),
    }
}

/// Those of the ids that a row of the source's table cannot have, and the type of its key; `None` where it has no table.
pub async fn unfit_ids(source: &Source, ids: &[String]) -> Result<Option<(Vec<String>, String)>, StoreError> {
    let Some(table) = SourceTable::of(source)? else { return Ok(None) };
    let table = table.opened().await?;
    let (unfit, key_type) = table.unfit_keys(ids).await?;
    Ok(Some((unfit.into_iter().cloned().collect(), key_type)))
}

/// The statements that make the outbox of a source, or take it away, as they were printed or carried out; `None` where the
/// source has no table of its own.
pub async fn outbox_installation(
    source: &Source,
    change: InstallChange,
) -> Result<Option<String>, StoreError> {
    let Some(table) = SourceTable::of(source)? else { return Ok(None) };
    let table = table.opened().await?;
    let (script, is_carried_out) = match change {
        InstallChange::Print => (format!("BEGIN;\n{}COMMIT;\n", table.outbox_installation().await?), false),
        InstallChange::Apply => (table.outbox_installation().await?, true),
        InstallChange::Remove => (table.outbox_removal().await?, true),
    };
    if is_carried_out {
        table.run_script(&script).await?;
    }
    if change == InstallChange::Apply {
        // What is written down at the first look is so now, while nobody is at work.
        table.outbox_epoch().await?;
    }
    Ok(Some(script))
}

/// What is to be done about an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallChange {
    Print,
    Apply,
    Remove,
}
