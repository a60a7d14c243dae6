//! What programs read, from the command line and over HTTP alike: the store's values as JSON.

mod event;
mod explain;
mod run;
mod status;
mod user;

pub use event::{Event, EventPage};
pub use explain::{ColumnWord, Explanation, SourceWord, explain};
pub use run::{Run, RunPage};
pub use status::{HeldBack, SourceStatus, Status, status};
pub use user::{Change, ChangePage, Erasure, Identity, User, UserPage};
