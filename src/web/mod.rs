//! HTTP. The public listener takes deliveries and tells how it is; nothing else is on it.

mod body;
mod listen;
mod problem;
mod public;

pub use listen::serve;
pub use public::{Public, public_router};
