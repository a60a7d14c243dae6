//! argv to exit code.

use std::process::ExitCode;
use tikv_jemallocator::Jemalloc;

/// Applying makes hundreds of small texts of each delivery: with the system's allocator that was a third of its time.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    headcount::cli::main()
}
