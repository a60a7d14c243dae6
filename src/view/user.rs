//! Users, and the feed of what changed.

use crate::core::columns::Column;
use crate::reconcile::Erased;
use crate::store::{Feed, FeedEntry, UserView};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A user, as the application sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub struct UserJson {
    pub id: String,
    /// `active`, `incomplete`, `provisional`, `suspended` or `deleted`
    #[schema(example = "active")]
    pub account_state: String,
    /// The required fields that are absent.
    pub missing: Vec<String>,
    pub email: Option<String>,
    pub email_verified: bool,
    pub phone: Option<String>,
    pub username: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub display_name: Option<String>,
    pub avatar_url: Option<String>,
    /// At the provider.
    pub created_at: Option<String>,
    pub updated_at: Option<String>,
    pub deleted_at: Option<String>,
    pub identities: Vec<IdentityJson>,
}

/// One account of a user at a source.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Identity)]
pub struct IdentityJson {
    pub source: String,
    pub provider_id: String,
    /// `present`, `suspended` or `deleted`
    pub state: String,
    /// The provider's own update time; null while nothing has come from it.
    pub version: Option<i64>,
}

/// Some users.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct UserPage {
    pub users: Vec<UserJson>,
    /// Where the next page begins; null on the last one.
    pub next_cursor: Option<String>,
}

/// One entry of the feed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Change)]
pub struct ChangeJson {
    pub seq: i64,
    pub user_id: String,
    /// `created`, `updated`, `deleted`, `revived` or `erased`
    pub kind: String,
    /// Names of columns.
    pub changed: Vec<String>,
    /// The delivery, read or call that did it.
    #[schema(value_type = Object)]
    pub cause: Value,
    pub changed_at: String,
}

/// A piece of the feed, in its order.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChangePage {
    pub changes: Vec<ChangeJson>,
    /// What to ask for next: `after` of the next call.
    pub next_after: i64,
    /// The highest number that there is.
    pub latest: i64,
    /// Of which history the numbers are: a restore of the database begins a new one.
    pub epoch: String,
}

/// What erasing a user has come to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Erasure {
    pub id: String,
    /// Whether the row is gone; otherwise it stays without personal data.
    pub removed: bool,
    /// Why the row stays although it was to be removed.
    pub kept_because: Option<String>,
    /// Columns that the application's own constraints keep as they were: they have to be emptied by hand.
    pub left: Vec<String>,
}

impl From<&UserView> for UserJson {
    fn from(user: &UserView) -> Self {
        let text = |column| user.columns.get(column).map(str::to_owned);
        let identities = user.identities.iter().map(|identity| IdentityJson {
            source: identity.source.clone(),
            provider_id: identity.provider_id.clone(),
            state: identity.state.clone(),
            version: identity.version,
        });
        Self {
            id: user.id.clone(),
            account_state: user.account_state.clone(),
            missing: user.missing.clone(),
            email: text(Column::Email),
            email_verified: user.columns.get(Column::EmailVerified) == Some("true"),
            phone: text(Column::Phone),
            username: text(Column::Username),
            first_name: text(Column::FirstName),
            last_name: text(Column::LastName),
            display_name: text(Column::DisplayName),
            avatar_url: text(Column::AvatarUrl),
            created_at: text(Column::CreatedAt),
            updated_at: user.updated_at.clone(),
            deleted_at: user.deleted_at.clone(),
            identities: identities.collect(),
        }
    }
}

impl From<&FeedEntry> for ChangeJson {
    fn from(entry: &FeedEntry) -> Self {
        Self {
            seq: entry.seq,
            user_id: entry.user_id.clone(),
            kind: entry.kind.clone(),
            changed: entry.changed.clone(),
            cause: serde_json::from_str(&entry.cause).unwrap_or(Value::Null),
            changed_at: entry.changed_at.clone(),
        }
    }
}

impl ChangePage {
    /// The piece that was asked for from `after` on.
    pub fn of(feed: &Feed, after: Option<i64>) -> Self {
        let last = feed.changes.last().map(|entry| entry.seq);
        Self {
            changes: feed.changes.iter().map(ChangeJson::from).collect(),
            next_after: last.or(after).unwrap_or(feed.pruned),
            latest: feed.latest,
            epoch: feed.epoch.clone(),
        }
    }
}

impl Erasure {
    pub fn of(user_id: &str, erased: Erased) -> Self {
        let Erased { removed, kept_because, left } = erased;
        Self { id: user_id.to_owned(), removed, kept_because, left }
    }
}
