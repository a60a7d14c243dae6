//! A stand-in for a provider on loopback: its API as the specification has it, and deliveries as the provider signs them,
//! with the retry schedule of Svix, both as faulty as one asks for. Clerk, WorkOS and Supabase have a file each, which
//! implements `Vendor` and has the calls of the API; `kind.rs` lists them.
//!
//! It shares no decoding with `source/`: two sides that misread the specification in the same way would prove nothing.

mod acts;
mod answers;
mod better_auth;
mod clerk;
mod control;
mod deliver;
mod edge;
mod faults;
mod ids;
mod kind;
mod limit;
mod options;
mod people;
mod query;
mod router;
mod shared;
mod simulator;
mod supabase;
mod traffic;
mod vendor;
mod workos;
mod world;

pub use deliver::Tally;
pub use faults::{Faults, ListFault, LostCursor};
pub use kind::{Kind, StandIn};
pub use options::{INSTANCE, Options, SECRET_KEY, WEBHOOK_SECRET};
pub use people::Mix;
pub use simulator::Simulator;
pub use supabase::ROW_SECRET;
pub use world::Truth;
