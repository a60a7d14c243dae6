//! Types that stand in the OpenAPI document alone: the body of an error, and the words that a parameter takes.

use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

/// An error as RFC 9457 has it.
#[derive(Serialize, ToSchema)]
pub struct ProblemBody {
    #[serde(rename = "type")]
    #[schema(rename = "type")]
    _type: String,
    title: String,
    status: u16,
    /// What is wrong, and what to do next.
    detail: String,
    /// The columns that are to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    columns: Option<Vec<String>>,
}

/// The words of a state, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the words of a parameter, for the document")]
pub enum UserState {
    Active,
    Incomplete,
    Provisional,
    Suspended,
    Deleted,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the words of a parameter, for the document")]
pub enum RunStatus {
    Running,
    Succeeded,
    Failed,
    Held,
    Rejected,
    Interrupted,
}

#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "the words of a parameter, for the document")]
pub enum EventStatus {
    Pending,
    Applied,
    Stale,
    Ignored,
    Held,
    Dead,
}

#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "the words of a parameter, for the document")]
pub enum ResyncMode {
    Full,
    Incremental,
    DryRun,
    User,
}

/// The errors that every operation may answer with.
pub struct ProblemAnswers;

impl IntoResponses for ProblemAnswers {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        [
            ("400", "A parameter, the body, or the request itself is not as it should be."),
            ("401", "No token, or a wrong one."),
            ("403", "A page of another origin asks, the token may not do this, or headcount's role in the database may not."),
            ("404", "There is nothing of that name."),
            ("408", "The body came too slowly."),
            ("409", "Not as things are: the detail says why, and `columns` which are to blame."),
            ("413", "The body is too large."),
            ("421", "Asked for by a name that is not headcount's."),
            ("422", "A column that a call may not set."),
            ("503", "The database or a lock cannot be had now; come again after `Retry-After`."),
        ]
        .into_iter()
        .map(|(status, description)| {
            let problem = Content::new(Some(Ref::from_schema_name("ProblemBody")));
            let response =
                ResponseBuilder::new().description(description).content("application/problem+json", problem);
            (status.to_owned(), RefOr::T(response.build()))
        })
        .collect()
    }
}
