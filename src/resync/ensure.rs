//! The sign-up gap: a person is here, and its row is not. The source is asked once, however many ask us; where it does
//! not answer in time, the row is made all the same.

use super::compare::key;
use super::{Resync, ResyncError};
use crate::clock::fresh_run_id;
use crate::core::columns::Columns;
use crate::core::event::{IdentityKey, PROVIDER_ID_BYTES_MAX};
use crate::core::read::{Reading, Said};
use crate::digest::short_digest;
use crate::intake::odd_user;
use crate::reconcile::{CallError, Caller, Calls, Errand, NoRoom, Wanted};
use crate::store::{Counts, StoreError, UserView};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

/// How much longer than the call a dead process's lease stays.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// Between two looks at what another replica is about to write.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// What somebody else's call failed for is tried once more with one's own values, and not for ever.
const FLIGHTS_MAX: u32 = 3;

/// Answers for whoever has just signed up.
pub struct Ensure {
    pub calls: Calls,
    /// Those of the sources that can be asked, by name.
    asking: HashMap<String, Arc<Resync>>,
    /// Whose key is known to be of the right instance.
    checked: Mutex<Vec<String>>,
    timeout: Duration,
    flights: Mutex<HashMap<IdentityKey, watch::Receiver<Option<Landed>>>>,
}

/// What a call to [`Ensure::user`] comes with.
#[derive(Clone, Debug, Default)]
pub struct Signup {
    /// What the application's session knows: it fills a provisional row, and never links.
    pub hints: Columns,
    pub wanted: Wanted,
}

/// How a look for an account ended.
#[derive(Clone, Debug)]
enum Landed {
    There,
    Absent,
    Erased,
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
        Arc::new(Self { calls, asking, checked: Mutex::default(), timeout, flights: Mutex::default() })
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
        let mut flights = 0;
        loop {
            let known = self.known(&key).await?;
            let is_settled = known.as_ref().is_some_and(|user| {
                user.account_state != "provisional" || !self.asking.contains_key(&key.source)
            });
            if let Some(user) = known.filter(|_| is_settled || flights > 0) {
                return self.with_wanted(user, signup).await;
            }
            if self.calls.store.source(&key.source).await?.retired_at.is_some() {
                return Err(EnsureError::UnknownSource);
            }
            flights += 1;
            let (mine, landed) = self.land(&key, signup).await;
            match landed {
                Landed::There => {}
                Landed::Absent => return Err(EnsureError::Absent),
                Landed::Erased => return Err(CallError::Erased.into()),
                Landed::NoRoom(_) if !mine && flights < FLIGHTS_MAX => flights = 0,
                Landed::NoRoom(no_room) => return Err(CallError::NoRoom(no_room).into()),
                Landed::Failed(error) => return Err(error.into()),
            }
            if flights >= FLIGHTS_MAX {
                return Err(CallError::Busy.into());
            }
        }
    }

    async fn known(&self, key: &IdentityKey) -> Result<Option<UserView>, StoreError> {
        let ids = std::slice::from_ref(&key.provider_id);
        Ok(self.calls.store.users_of(&key.source, ids).await?.into_iter().next())
    }

    async fn with_wanted(&self, user: UserView, signup: &Signup) -> Result<UserView, EnsureError> {
        if signup.wanted.is_empty() || user.account_state == "deleted" {
            return Ok(user);
        }
        if !self.calls.set(&user.id, &signup.wanted, Caller::APPLICATION).await? {
            return Ok(user);
        }
        let again = self.calls.store.users_by_id(std::slice::from_ref(&user.id)).await?;
        Ok(again.into_iter().next().unwrap_or(user))
    }

    /// One look for the account, shared by all who ask meanwhile; whether it was ours.
    async fn land(self: &Arc<Self>, key: &IdentityKey, signup: &Signup) -> (bool, Landed) {
        let (mine, mut landed) = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(key) {
                Some(landed) => (false, landed.clone()),
                None => {
                    let (tell, landed) = watch::channel(None);
                    flights.insert(key.clone(), landed.clone());
                    // Apart from the request: whoever goes away takes nothing from the others.
                    tokio::spawn(self.clone().fly(key.clone(), signup.clone(), tell));
                    (true, landed)
                }
            }
        };
        let outcome = landed.wait_for(Option::is_some).await.ok().and_then(|landed| landed.clone());
        (mine, outcome.unwrap_or_else(|| Landed::Failed(Arc::new(CallError::Busy.into()))))
    }

    async fn fly(self: Arc<Self>, key: IdentityKey, signup: Signup, tell: watch::Sender<Option<Landed>>) {
        let landed = match self.look(&key, &signup).await {
            Ok(landed) => landed,
            Err(EnsureError::Call(CallError::Erased)) => Landed::Erased,
            // It has ended here: its row is shown, where it has one.
            Err(EnsureError::Call(CallError::Deleted)) => match self.known(&key).await {
                Ok(Some(_)) => Landed::There,
                _ => Landed::Absent,
            },
            Err(EnsureError::Call(CallError::NoRoom(no_room))) => Landed::NoRoom(no_room),
            Err(error) => Landed::Failed(Arc::new(error)),
        };
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        let _ = tell.send(Some(landed));
    }

    /// Of all replicas one asks the source.
    async fn look(&self, key: &IdentityKey, signup: &Signup) -> Result<Landed, EnsureError> {
        let store = &self.calls.store;
        let deadline = Instant::now() + self.timeout;
        if let Some(resync) = self.asking.get(&key.source) {
            let (lease, holder) = (lease_name(key), fresh_run_id());
            let ttl = self.timeout + LEASE_MARGIN;
            let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
            if store.lease(&lease, &holder, ttl_ms).await?.is_none() {
                let asked = self.ask(resync, key, signup, deadline).await;
                store.release(&lease, &holder).await?;
                if let Some(landed) = asked? {
                    return Ok(landed);
                }
            } else {
                while Instant::now() < deadline {
                    tokio::time::sleep(LOOK_EVERY).await;
                    if self.known(key).await?.is_some() {
                        return Ok(Landed::There);
                    }
                }
            }
        }
        self.calls.provisional(key, &signup.hints, &signup.wanted).await?;
        Ok(Landed::There)
    }

    /// What the source says; `None` where it says nothing in time, or nothing that can be believed at first sight.
    async fn ask(
        &self,
        resync: &Resync,
        key: &IdentityKey,
        signup: &Signup,
        deadline: Instant,
    ) -> Result<Option<Landed>, EnsureError> {
        // Somebody may have brought it while we waited for our turn.
        if self.known(key).await?.is_some_and(|user| user.account_state != "provisional") {
            return Ok(Some(Landed::There));
        }
        if self.calls.is_erased(key).await? {
            return Ok(Some(Landed::Erased));
        }
        let checked = tokio::time::timeout_at(deadline.into(), self.check(&key.source)).await;
        let reading = match checked {
            Ok(Ok(())) => resync.read_by(deadline, key).await,
            Ok(Err(error)) => Err(error),
            Err(_) => Err(crate::source::http::ApiError::Hangs.into()),
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
        let absent = reading.said == Said::Absent;
        let errand = Errand { cause: "ensure", wanted: signup.wanted.clone(), ..Errand::default() };
        let applied =
            resync.reads.apply(&[(key.clone(), reading)], &[], &errand, "", Counts::default()).await?;
        if let Some(no_room) = applied.no_room {
            let named =
                self.calls.with_columns(CallError::NoRoom(no_room), &signup.wanted, &signup.hints).await?;
            return Err(named.into());
        }
        if absent {
            return Ok(Some(Landed::Absent));
        }
        Ok(self
            .known(key)
            .await?
            .is_some_and(|user| user.account_state != "provisional")
            .then_some(Landed::There))
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
        let said = match entry {
            None => Said::Absent,
            Some(entry) if entry.provider_id.as_deref().is_some_and(|id| id != key.provider_id) => {
                return Err(ResyncError::Walk("an account answers under another one's id"));
            }
            Some(entry) => match &entry.said {
                Ok(snapshot) => Said::Present(snapshot.clone()),
                Err(_) => {
                    let odd: Vec<_> = odd_user(&self.source, &entry, marked_at).into_iter().collect();
                    self.store.accept_odd(&odd).await?;
                    return Ok(None);
                }
            },
        };
        Ok(Some(Reading { said, marked_at }))
    }
}
