//! The outbox beside a provider's table: what it notes becomes deliveries, from the rows as they are now.

use super::ResyncError;
use super::lease::Lease;
use super::table::SourceTable;
use crate::clock::Clock;
use crate::intake::noted;
use crate::source::api_error::ApiError;
use crate::source::{NotedRow, ProviderTable, Source};
use crate::store::{
    NewDelivery, OP_DELETE, OP_INSERT, OutboxNote, OutboxState, Store, StoreError, TableElsewhere,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Notes that are taken at once.
const NOTES_AT_ONCE: i64 = 500;
/// For how long a SQLite file has had no new note before headcount writes to it.
const QUIET_FOR: Duration = Duration::from_secs(5);
/// Where it is never quiet: the notes are taken away after so long all the same, before `status` takes them for forgotten.
const TOLD_FOR_MAX: Duration = Duration::from_secs(30);
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

/// Notes whose deliveries are in the inbox, and that still lie in the outbox. On SQLite an application's transaction that has
/// read and then writes fails where anybody has written in between, so nothing is written there until it is quiet.
#[derive(Default)]
struct Told {
    /// Which life of the outbox the numbers are of.
    epoch: String,
    notes: Vec<i64>,
    /// When the first and the last of them came.
    came_at: Option<(Instant, Instant)>,
}

impl Told {
    /// Forgets what was of another life, and takes the notes away where that is due.
    async fn keep_up(&mut self, table: &TableElsewhere) -> Result<(), StoreError> {
        if !table.is_concurrent().await? {
            return Err(StoreError::Setup(NO_WAL.to_owned()));
        }
        let epoch = table.outbox_epoch().await?;
        if self.epoch != epoch {
            *self = Told { epoch, ..Told::default() };
        }
        if self.is_due() {
            table.forget(&self.notes).await?;
            self.notes.clear();
            self.came_at = None;
        }
        Ok(())
    }

    /// Whether the notes are to be taken away now.
    fn is_due(&self) -> bool {
        self.came_at
            .is_some_and(|(first, last)| last.elapsed() >= QUIET_FOR || first.elapsed() >= TOLD_FOR_MAX)
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
            told.keep_up(&table).await?;
        }
        let notes = table.notes_after(told.notes.last().copied().unwrap_or(0), NOTES_AT_ONCE).await?;
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
        let epoch = if is_in_order { told.epoch.clone() } else { table.outbox_epoch().await? };
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
        let numbers = notes.iter().map(|note| note.seq);
        match is_in_order {
            true => {
                told.notes.extend(numbers);
                let now = Instant::now();
                told.came_at = Some((told.came_at.map_or(now, |(first, _)| first), now));
            }
            false => table.forget(&numbers.collect::<Vec<_>>()).await?,
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

/// How the outbox of a source stands, asked now; `None` where it has none.
pub async fn outbox_state(source: &Source) -> Result<Option<OutboxState>, StoreError> {
    match SourceTable::of(source)? {
        Some(table) => table.opened().await?.outbox_state().await,
        None => Ok(None),
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
    Ok(Some(script))
}

/// What is to be done about an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallChange {
    Print,
    Apply,
    Remove,
}
