//! The sign-up gap: a person is here, and its row is not. The source is asked once, however many ask us; where it does
//! not answer in time, the row is made all the same.

use super::compare::key;
use super::{Resync, ResyncError};
use crate::core::columns::Columns;
use crate::core::event::{IdentityKey, PROVIDER_ID_BYTES_MAX};
use crate::core::layout::Layout;
use crate::core::read::{Observation, Reading};
use crate::core::retry_policy::SHARED_LOOKUP;
use crate::digest::short_digest;
use crate::intake::odd_user;
use crate::reconcile::{Assignment, CallError, Caller, Calls, NoRoom, ReadContext};
use crate::store::{Counts, StoreError, UserView};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{info, warn};

/// How much longer than the call a dead process's lease stays.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// Between two looks at what another replica is about to write.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Answers for whoever has just signed up.
pub struct Ensure {
    pub calls: Calls,
    /// Those of the sources that can be asked, by name.
    asking: HashMap<String, Arc<Resync>>,
    /// Whose key is known to be of the right instance.
    checked: Mutex<Vec<String>>,
    timeout: Duration,
    lookups: Mutex<HashMap<IdentityKey, watch::Receiver<Option<Lookup>>>>,
}

/// What a call to [`Ensure::user`] comes with.
#[derive(Clone, Debug, Default)]
pub struct Signup {
    /// What the application's session knows: it fills a provisional row, and never links.
    pub hints: Columns,
    pub assignment: Assignment,
}

impl Signup {
    /// The same where no row is there yet: a hint supplies what the row needs and the provider may have nothing for.
    fn for_new_row(&self, layout: &Layout) -> Self {
        let mut signup = self.clone();
        let columns = &mut signup.assignment.setting.columns;
        let needed = layout.columns().filter(|&column| layout.is_supplied(column));
        for column in needed.filter(|&column| !self.hints.is_vacant(column)) {
            if columns.iter().all(|(of, _)| *of != column) {
                columns.push((column, self.hints.get(column).map(str::to_owned)));
            }
        }
        signup
    }
}

/// How a look for an account ended.
#[derive(Clone, Debug)]
enum Lookup {
    There,
    Absent,
    Erased,
    AddressOfAnotherUser,
    NoRoom(NoRoom),
    Failed(Arc<EnsureError>),
}

#[derive(Debug, Error)]
pub enum EnsureError {
    #[error("there is no source of that name here, or it is retired")]
    UnknownSource,
    #[error("a provider's id has 1 to {PROVIDER_ID_BYTES_MAX} bytes, and none of them is NUL")]
    NoId,
    #[error("the source has no such account")]
    Absent,
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Shared(#[from] Arc<EnsureError>),
}

impl From<StoreError> for EnsureError {
    fn from(error: StoreError) -> Self {
        EnsureError::Call(error.into())
    }
}

impl Ensure {
    pub fn new(calls: Calls, asking: Vec<Resync>, timeout: Duration) -> Arc<Self> {
        let asking = asking.into_iter().map(|resync| (resync.source().name.clone(), Arc::new(resync)));
        let asking = asking.collect();
        Arc::new(Self { calls, asking, checked: Mutex::default(), timeout, lookups: Mutex::default() })
    }

    /// Asks each source which instance it is, before anybody waits for it.
    pub async fn check_instances(self: Arc<Self>) {
        for name in self.asking.keys() {
            if let Err(error) = self.check(name).await {
                warn!(source.name = name, "whether its key is of the right instance cannot be told: {error}");
            }
        }
    }

    async fn check(&self, name: &str) -> Result<(), ResyncError> {
        let done = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resync) = self.asking.get(name).filter(|_| !done().iter().any(|checked| checked == name))
        {
            resync.check_instance().await?;
            done().push(name.to_owned());
        }
        Ok(())
    }

    /// The user of this account: known, read from the source, or provisional.
    pub async fn user(
        self: &Arc<Self>,
        source: &str,
        provider_id: &str,
        signup: &Signup,
    ) -> Result<UserView, EnsureError> {
        let sources = &self.calls.sources;
        let source = sources.iter().find(|known| known.name == source).ok_or(EnsureError::UnknownSource)?;
        if provider_id.is_empty() || provider_id.len() > PROVIDER_ID_BYTES_MAX || provider_id.contains('\0') {
            return Err(EnsureError::NoId);
        }
        let key = key(source, provider_id);
        let mut lookups = 0;
        loop {
            let known = self.known(&key).await?;
            let is_settled = known.as_ref().is_some_and(|user| {
                user.account_state != "provisional" || !self.asking.contains_key(&key.source)
            });
            if let Some(user) = known.filter(|_| is_settled || lookups > 0) {
                return self.with_wanted(user, signup).await;
            }
            if self.calls.store.source(&key.source).await?.retired_at.is_some() {
                return Err(EnsureError::UnknownSource);
            }
            lookups += 1;
            let (mine, outcome) = self.shared_lookup(&key, signup).await;
            match outcome {
                Lookup::There => {}
                Lookup::Absent => return Err(EnsureError::Absent),
                Lookup::Erased => return Err(CallError::Erased.into()),
                Lookup::AddressOfAnotherUser => return Err(CallError::AddressOfAnotherUser.into()),
                Lookup::NoRoom(_) if !mine && !SHARED_LOOKUP.is_spent(lookups) => lookups = 0,
                Lookup::NoRoom(no_room) => return Err(CallError::NoRoom(no_room).into()),
                Lookup::Failed(error) => return Err(error.into()),
            }
            if SHARED_LOOKUP.is_spent(lookups) {
                return Err(CallError::Busy.into());
            }
        }
    }

    async fn known(&self, key: &IdentityKey) -> Result<Option<UserView>, StoreError> {
        let ids = std::slice::from_ref(&key.provider_id);
        Ok(self.calls.store.users_of(&key.source, ids).await?.into_iter().next())
    }

    async fn with_wanted(&self, user: UserView, signup: &Signup) -> Result<UserView, EnsureError> {
        if signup.assignment.is_empty() || user.account_state == "deleted" {
            return Ok(user);
        }
        if !self.calls.set(&user.id, &signup.assignment, Caller::APPLICATION).await? {
            return Ok(user);
        }
        let again = self.calls.store.users_by_id(std::slice::from_ref(&user.id)).await?;
        Ok(again.into_iter().next().unwrap_or(user))
    }

    /// One look for the account, shared by all who ask meanwhile; whether it was ours.
    async fn shared_lookup(self: &Arc<Self>, key: &IdentityKey, signup: &Signup) -> (bool, Lookup) {
        let (mine, mut outcome) = {
            let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
            match lookups.get(key) {
                Some(outcome) => (false, outcome.clone()),
                None => {
                    let (notify, outcome) = watch::channel(None);
                    lookups.insert(key.clone(), outcome.clone());
                    // Apart from the request: whoever goes away takes nothing from the others.
                    let signup = signup.for_new_row(self.calls.store.layout());
                    tokio::spawn(self.clone().run_lookup(key.clone(), signup, notify));
                    (true, outcome)
                }
            }
        };
        let outcome = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        (mine, outcome.unwrap_or_else(|| Lookup::Failed(Arc::new(CallError::Busy.into()))))
    }

    async fn run_lookup(
        self: Arc<Self>,
        key: IdentityKey,
        signup: Signup,
        notify: watch::Sender<Option<Lookup>>,
    ) {
        let outcome = match self.look(&key, &signup).await {
            Ok(outcome) => outcome,
            Err(EnsureError::Call(CallError::Erased)) => Lookup::Erased,
            // It has ended here: its row is shown, where it has one.
            Err(EnsureError::Call(CallError::Deleted)) => match self.known(&key).await {
                Ok(Some(_)) => Lookup::There,
                _ => Lookup::Absent,
            },
            Err(EnsureError::Call(CallError::AddressOfAnotherUser)) => Lookup::AddressOfAnotherUser,
            Err(EnsureError::Call(CallError::NoRoom(no_room))) => Lookup::NoRoom(no_room),
            Err(error) => Lookup::Failed(Arc::new(error)),
        };
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        let _ = notify.send(Some(outcome));
    }

    /// Of all replicas one asks the source.
    async fn look(&self, key: &IdentityKey, signup: &Signup) -> Result<Lookup, EnsureError> {
        let store = &self.calls.store;
        let deadline = Instant::now() + self.timeout;
        if let Some(resync) = self.asking.get(&key.source) {
            let (lease, holder) = (lease_name(key), self.calls.clock.fresh_id());
            let ttl = self.timeout + LEASE_MARGIN;
            let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
            if store.lease(&lease, &holder, ttl_ms).await?.is_none() {
                let asked = self.ask(resync, key, signup, deadline).await;
                store.release(&lease, &holder).await?;
                if let Some(outcome) = asked? {
                    return Ok(outcome);
                }
            } else {
                while Instant::now() < deadline {
                    tokio::time::sleep(LOOK_EVERY).await;
                    if self.known(key).await?.is_some() {
                        return Ok(Lookup::There);
                    }
                }
            }
        }
        self.calls.provisional(key, &signup.hints, &signup.assignment).await?;
        Ok(Lookup::There)
    }

    /// What the source says; `None` where it says nothing in time, or nothing that can be believed at first sight.
    async fn ask(
        &self,
        resync: &Resync,
        key: &IdentityKey,
        signup: &Signup,
        deadline: Instant,
    ) -> Result<Option<Lookup>, EnsureError> {
        // Somebody may have brought it while we waited for our turn.
        if self.known(key).await?.is_some_and(|user| user.account_state != "provisional") {
            return Ok(Some(Lookup::There));
        }
        if self.calls.is_erased(key).await? {
            return Ok(Some(Lookup::Erased));
        }
        let checked = tokio::time::timeout_at(deadline, self.check(&key.source)).await;
        let reading = match checked {
            Ok(Ok(())) => resync.read_by(deadline, key).await,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(crate::source::api_error::ApiError::Hangs.into()),
        };
        let reading = match reading {
            Ok(Some(reading)) => reading,
            Ok(None) => return Ok(None),
            Err(ResyncError::Store(error)) => return Err(error.into()),
            Err(error) => {
                info!(
                    source.name = key.source,
                    "a user is provisional, for its source does not answer: {error}"
                );
                return Ok(None);
            }
        };
        let absent = reading.observed == Observation::Absent;
        let context =
            ReadContext { cause: "ensure", assignment: signup.assignment.clone(), ..ReadContext::default() };
        let applied =
            resync.reads.apply(&[(key.clone(), reading)], &[], &context, "", Counts::default()).await?;
        if let Some(no_room) = applied.no_room {
            let named = self
                .calls
                .with_columns(CallError::NoRoom(no_room), &signup.assignment, &signup.hints)
                .await?;
            return Err(named.into());
        }
        if absent {
            return Ok(Some(Lookup::Absent));
        }
        Ok(self
            .known(key)
            .await?
            .is_some_and(|user| user.account_state != "provisional")
            .then_some(Lookup::There))
    }
}

/// Without the id itself, which is nobody's business once the account is erased.
fn lease_name(key: &IdentityKey) -> String {
    format!("ensure/{}", short_digest(&format!("{}\n{}", key.source, key.provider_id)))
}

impl Resync {
    /// One account, read by somebody who waits; `None` where what came cannot be understood.
    async fn read_by(&self, deadline: Instant, key: &IdentityKey) -> Result<Option<Reading>, ResyncError> {
        let (entry, marked_at) = self.gate.one_by(deadline, &key.provider_id).await?;
        let observed = match entry {
            None => Observation::Absent,
            Some(entry) if entry.provider_id.as_deref().is_some_and(|id| id != key.provider_id) => {
                return Err(ResyncError::Walk("an account answers under another one's id"));
            }
            Some(entry) => match &entry.snapshot {
                Ok(snapshot) => Observation::Present(snapshot.clone()),
                Err(_) => {
                    let odd: Vec<_> = odd_user(&self.source, &entry, marked_at).into_iter().collect();
                    self.store.accept(&self.store.without_erased(odd).await?).await?;
                    return Ok(None);
                }
            },
        };
        Ok(Some(Reading { observed, marked_at, is_of_the_row: self.gate.directory().reads_the_row() }))
    }
}
