//! How fast is it on this machine? The worker runs as it does in production, in a process of its own; the generator,
//! the ceiling and the floor run beside it, in the same run.

mod apply;
mod bed;
pub mod ceiling;
mod ensure;
mod ingest;
pub mod load;
mod report;
mod resync;
mod traffic;
mod worker;

pub use apply::Apply;
pub use bed::Bed;
pub use ensure::Ensure;
pub use ingest::Ingest;
pub use report::Report;
pub use resync::Resync;
pub use traffic::Traffic;
