//! What programs read, from the command line and over HTTP alike: the store's values as JSON.

mod event;
mod explain;
mod refusal;
mod run;
mod status;
mod user;

pub use event::{EventJson, EventPage};
pub use explain::{ColumnWord, Explanation, SourceWord, explain};
pub use run::{RunJson, RunPage};
pub use status::{HeldBack, SourceStatusJson, StatusJson, UnfinishedSwitch, status};
pub use user::{ChangeJson, ChangePage, Erasure, IdentityJson, UserJson, UserPage};
