//! What goes wrong, on request.

use serde::{Deserialize, Serialize};

/// Shares lie in `0.0..=1.0`. May be changed while the simulator runs (`PUT /simulate/faults`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Deliveries that are never made.
    pub drop: f64,
    /// Deliveries that are made twice.
    pub repeat: f64,
    /// Deliveries wait up to so long before their first attempt.
    pub delay_ms: u64,
    /// Deliveries that wait up to five seconds longer than others, so that later ones overtake them.
    pub reorder: f64,
    /// Requests that the API answers 500.
    pub errors: f64,
    /// Requests that the API answers 429, to be made again after a second.
    pub throttled: f64,
    /// Requests that the API answers with a page of HTML and 200.
    pub html: f64,
    /// Requests whose answer breaks off in the middle.
    pub cut: f64,
    /// Every answer of the API takes so long.
    pub latency_ms: u64,
    /// The API answers 503 to everything, and no delivery is made.
    pub outage: bool,
    /// The API never answers.
    pub hang: bool,
    /// The API refuses every key.
    pub revoked: bool,
    /// Every id answers 404.
    pub all_absent: bool,
    /// What is added to `GET /users/count`.
    pub count_off_by: i64,
    pub list: ListFault,
    pub lost_cursor: LostCursor,
    /// Every so many-th user of a page is one that nobody could understand; zero for none.
    pub odd_every: u64,
    /// Users whose rows the API cannot read: each answer that would hold one of them is 500.
    pub broken: Vec<String>,
    /// WorkOS: every third event is shown so much later by the API of events, behind younger ones.
    pub events_late_ms: u64,
    /// Supabase: the list answers by cursor where it is asked for neither page nor size.
    pub cursor_pages: bool,
    /// The API answers another instance's id.
    pub instance: Option<String>,
}

/// How the list is wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListFault {
    #[default]
    None,
    /// `[]`
    Empty,
    /// Every second user is left out.
    Half,
    /// The first page, whatever the cursor.
    Repeat,
    /// A page is always the last one.
    Short,
    /// `starting_after` is refused with 422.
    NoCursor,
}

/// What becomes of a cursor whose user was deleted: Clerk's specification does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LostCursor {
    /// `[]`
    #[default]
    Empty,
    NotFound,
    Unprocessable,
    /// The list begins anew.
    Restart,
}
