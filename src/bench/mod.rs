//! How fast is it on this machine? The worker runs as it does in production, in a process of its own; the generator,
//! the ceiling and the floor run beside it, in the same run.

mod apply;
pub mod ceiling;
mod ensure;
mod env;
mod ingest;
pub mod load;
mod report;
mod resync;
mod traffic;
mod worker;

pub use apply::ApplyBench;
pub use ensure::EnsureBench;
pub use env::BenchEnv;
pub use ingest::IngestBench;
pub use report::BenchReport;
pub use resync::ResyncBench;
pub use traffic::Traffic;
