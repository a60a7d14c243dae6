//! Whom the simulator stands in for: the one list of its stand-ins.

use super::shared::Shared;
use super::vendor::Vendor;
use super::{better_auth, clerk, supabase, workos};
use crate::source::signature::{KeyError, SigningKey};
use axum::Router;
use std::sync::Arc;

/// The calls of an API.
type MakeApi = fn() -> Router<Arc<Shared>>;

/// A provider that can be simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Clerk,
    WorkOs,
    Supabase,
    BetterAuth,
}

/// Whether a kind of source can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandIn {
    Is(Kind),
    /// And why there is none.
    None {
        why: &'static str,
    },
}

/// Kinds of source that nobody stands in for.
const WITHOUT: [(&str, &str); 1] =
    [("standard-webhooks", "what it delivers is whatever a configuration describes, and it has no API")];

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Clerk, Kind::WorkOs, Kind::Supabase, Kind::BetterAuth];

    /// The stand-in, and the calls of its API. Adding one means a variant, a place in [`Kind::ALL`] and an arm here.
    fn stand_in(self) -> (&'static dyn Vendor, MakeApi) {
        match self {
            Kind::Clerk => (&clerk::ClerkStandIn, clerk::router),
            Kind::WorkOs => (&workos::WorkOsStandIn, workos::router),
            Kind::Supabase => (&supabase::SupabaseStandIn, supabase::router),
            Kind::BetterAuth => (&better_auth::BetterAuthStandIn, better_auth::router),
        }
    }

    /// As `[sources.NAME]` has it.
    pub fn name(self) -> &'static str {
        self.vendor().name()
    }

    /// Who stands in for this kind of source; `None` where nobody has thought of the kind.
    pub fn of(source_kind: &str) -> Option<StandIn> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == source_kind).map(StandIn::Is);
        let without = || WITHOUT.iter().find(|(kind, _)| *kind == source_kind);
        known.or_else(|| without().map(|(_, why)| StandIn::None { why }))
    }

    pub(super) fn vendor(self) -> &'static dyn Vendor {
        self.stand_in().0
    }

    pub(super) fn api(self) -> Router<Arc<Shared>> {
        self.stand_in().1()
    }

    /// How its deliveries say where they come from.
    pub(super) fn signing_key(self, secret: &str) -> Result<SigningKey, KeyError> {
        SigningKey::read(self.vendor().scheme(), secret)
    }
}
