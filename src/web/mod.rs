//! HTTP. The public listener takes deliveries and tells how it is; the admin listener is for applications and operators.

mod admin;
mod body;
mod connections;
mod listen;
mod problem;
mod public;

pub use admin::{APPROVAL_MS, Admin, BODY_BYTES_MAX, Tokens, admin_router, document};
pub use body::BodyBudget;
pub use connections::ConnectionLimits;
pub use listen::serve;
pub use public::{Public, public_router};
