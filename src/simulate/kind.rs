//! Whom the simulator stands in for.

use super::answers::JSON;
use crate::source::signature::{KeyError, Scheme, SigningKey};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// A provider that can be simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Clerk,
    WorkOs,
    Supabase,
}

impl Kind {
    pub const ALL: [Kind; 3] = [Kind::Clerk, Kind::WorkOs, Kind::Supabase];

    /// As `[sources.NAME]` has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Clerk => "clerk",
            Kind::WorkOs => "workos",
            Kind::Supabase => "supabase",
        }
    }

    /// The variables that connect a worker: key, URL, secret.
    pub fn variables(self) -> [&'static str; 3] {
        match self {
            Kind::Clerk => ["CLERK_SECRET_KEY", "CLERK_API_URL", "CLERK_WEBHOOK_SIGNING_SECRET"],
            Kind::WorkOs => ["WORKOS_API_KEY", "WORKOS_API_URL", "WORKOS_WEBHOOK_SECRET"],
            Kind::Supabase => ["SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_URL", "SUPABASE_WEBHOOK_SECRET"],
        }
    }

    /// How its deliveries say where they come from.
    pub(super) fn signing_key(self, secret: &str) -> Result<SigningKey, KeyError> {
        let scheme = match self {
            Kind::Clerk => Scheme::Standard,
            Kind::WorkOs => Scheme::Timed,
            Kind::Supabase => Scheme::Bearer,
        };
        SigningKey::read(scheme, secret)
    }

    /// Requests in ten seconds, with this key; zero for no limit.
    pub(super) fn limit(self, secret_key: &str) -> u32 {
        match self {
            Kind::Clerk if secret_key.starts_with("sk_live_") => 1_000,
            Kind::Clerk => 100,
            Kind::WorkOs => 1_000,
            Kind::Supabase => 0,
        }
    }

    /// A refusal in the provider's own form.
    pub(super) fn refuse(self, status: StatusCode, code: &str, message: &str) -> Response {
        let body = match self {
            Kind::Clerk => {
                let error = json!({"message": message, "long_message": message, "code": code});
                json!({"errors": [error], "clerk_trace_id": "simulated"})
            }
            Kind::WorkOs => json!({"message": message, "code": code}),
            Kind::Supabase => json!({"code": status.as_u16(), "error_code": code, "msg": message}),
        };
        (status, [(header::CONTENT_TYPE, JSON)], body.to_string()).into_response()
    }

    pub(super) fn not_found(self) -> Response {
        let code = match self {
            Kind::Clerk => "resource_not_found",
            Kind::WorkOs => "entity_not_found",
            Kind::Supabase => "user_not_found",
        };
        self.refuse(StatusCode::NOT_FOUND, code, "User not found")
    }
}
