//! `headcount bench`

use super::DONE;
use super::output::{json_of, print, print_json, table};
use super::scratch::Scratch;
use crate::bench::load::{self, Load};
use crate::bench::{
    ApplyBench, BenchEnv, BenchReport, EnsureBench, IngestBench, ResyncBench, Traffic, ceiling,
};
use crate::clock::Clock;
use crate::simulate::WEBHOOK_SECRET;
use crate::source::signature::SigningKey;
use anyhow::ensure;
use clap::{Args, Subcommand};
use serde_json::json;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use url::Url;

/// Measures this machine and database: durable ingest, end to end, resync, ensure
///
/// Nothing that is configured is used: each runs on SQLite files of its own, which are removed, or on the empty database
/// that --database names, which is filled. The worker is this program in a process of its own, with its production
/// settings; what it answered is counted and compared in the end, and exit code 1 says that something was wrong.
#[derive(Subcommand)]
pub enum Bench {
    Ingest(IngestCommand),
    Apply(ApplyCommand),
    Resync(ResyncBenchCommand),
    Ensure(EnsureCommand),
    Load(LoadCommand),
    #[command(hide = true)]
    Ceiling(CeilingCommand),
}

/// Signed POST → committed row → 2xx, beside a server that only verifies (the ceiling) and one row a commit (the floor)
#[derive(Args)]
pub struct IngestCommand {
    /// Connections of the generator, one measurement each
    #[arg(long, value_delimiter = ',', default_values_t = [16, 64, 256])]
    connections: Vec<usize>,
    #[command(flatten)]
    runs: BenchRuns,
    /// Accounts that the deliveries are about
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    accounts: u64,
}

/// Signed POST → row in `users`, by one worker that receives and applies; then every row is compared
#[derive(Args)]
pub struct ApplyCommand {
    /// Connections of the generator
    #[arg(long, default_value_t = 64)]
    connections: usize,
    #[command(flatten)]
    runs: BenchRuns,
    /// Accounts that the deliveries are about
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    accounts: u64,
    /// Sends at this pace, to see latency and backlog [default: as fast as deliveries are taken]
    #[arg(long, value_name = "DELIVERIES", value_parser = positive)]
    per_second: Option<f64>,
}

/// A full resync of a simulated Clerk: the first one, and those that find nothing to do
#[derive(Args)]
pub struct ResyncBenchCommand {
    /// Users that there are
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// Runs that find nothing to do
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// `POST /v1/users/ensure` of users that are known: what an application waits for at a sign-in
#[derive(Args)]
pub struct EnsureCommand {
    /// Users that there are
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// Connections of the generator, one measurement each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    connections: Vec<usize>,
    #[command(flatten)]
    runs: BenchRuns,
}

#[derive(Args)]
struct BenchRuns {
    /// Seconds of a run
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    seconds: f64,
    /// Runs of each; the median is shown with the spread
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// The generator alone, against anything that takes deliveries signed by Standard Webhooks
#[derive(Args)]
pub struct LoadCommand {
    /// Where deliveries go
    #[arg(long, value_name = "URL")]
    to: Url,
    /// What they are signed with
    #[arg(long, default_value = WEBHOOK_SECRET)]
    secret: String,
    /// Connections at a time
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How long
    #[arg(long, default_value_t = 5.0, value_parser = positive)]
    seconds: f64,
    /// Accounts that the deliveries are about
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    accounts: u64,
    /// How many are signed beforehand; the load ends when they are sent
    #[arg(long, default_value_t = 400_000)]
    deliveries: u64,
    /// The number of the first one: higher ones are newer, so a second load begins where the first has ended
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    first: u64,
    /// At this pace [default: as fast as the answers come]
    #[arg(long, value_name = "DELIVERIES", value_parser = positive)]
    per_second: Option<f64>,
}

/// The server that verifies and stores nothing
#[derive(Args)]
pub struct CeilingCommand {
    #[arg(long)]
    listen: SocketAddr,
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok().filter(|number| *number > 0.0 && *number <= 1e6);
    number.ok_or_else(|| "it must be a number above 0, and 1000000 at the most".to_owned())
}

/// Runs with no settings but these; `database` is what --database names.
pub fn run(command: Bench, database: Option<String>, json: bool, clock: &dyn Clock) -> anyhow::Result<u8> {
    let scratch = Scratch::new("bench", clock)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let env = async || BenchEnv::new(scratch.path().to_owned(), database).await;
        let report = match command {
            Bench::Ceiling(command) => {
                let listener = TcpListener::bind(command.listen).await?;
                ceiling::serve(listener, SigningKey::parse(WEBHOOK_SECRET)?).await?;
                return Ok(DONE);
            }
            Bench::Load(command) => return send(command, json, clock).await,
            Bench::Ingest(IngestCommand { connections, runs, accounts }) => {
                let bench = IngestBench { connections, seconds: runs.seconds, runs: runs.runs, accounts };
                bench.run(&mut env().await?, progress).await?
            }
            Bench::Apply(ApplyCommand { connections, runs, accounts, per_second }) => {
                let bench =
                    ApplyBench { connections, seconds: runs.seconds, runs: runs.runs, accounts, per_second };
                bench.run(&mut env().await?, progress).await?
            }
            Bench::Resync(ResyncBenchCommand { users, runs }) => {
                ResyncBench { users, runs }.run(&mut env().await?, progress).await?
            }
            Bench::Ensure(EnsureCommand { users, connections, runs }) => {
                let bench = EnsureBench { users, connections, seconds: runs.seconds, runs: runs.runs };
                bench.run(&mut env().await?, progress).await?
            }
        };
        show(&report, json);
        Ok(DONE)
    })
}

async fn send(command: LoadCommand, json: bool, clock: &dyn Clock) -> anyhow::Result<u8> {
    let mut traffic =
        Traffic::new(SigningKey::parse(&command.secret)?, &clock.fresh_id(), command.accounts, command.first);
    traffic.sign(command.deliveries, clock.now());
    let load = Load {
        to: command.to,
        connections: command.connections,
        duration: Duration::from_secs_f64(command.seconds),
        per_second: command.per_second,
    };
    let measured = load::run(load, Arc::new(traffic), None).await?;
    let (per_second, p50_ms, p99_ms) = (measured.per_second(), measured.ms(0.5), measured.ms(0.99));
    match json {
        true => print_json(&json!({
            "accepted": measured.accepted, "other": measured.other, "seconds": measured.seconds,
            "per_second": per_second, "p50_ms": p50_ms, "p99_ms": p99_ms,
        })),
        false => print(&format!(
            "{} answered with 2xx, {} otherwise: {per_second:.0} a second, p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms",
            measured.accepted, measured.other
        )),
    }
    ensure!(measured.other == 0, "{} deliveries were not answered with 2xx", measured.other);
    Ok(DONE)
}

fn progress(what: String) {
    if std::io::stderr().is_terminal() {
        eprintln!("{what} …");
    }
}

fn show(report: &BenchReport, json: bool) {
    if json {
        print_json(&json_of(report));
        return;
    }
    let machine = &report.machine;
    let processor = machine.processor.as_deref().unwrap_or("unknown processor");
    print(&format!(
        "headcount {} on {}, {} cores ({processor}), {}\n{}\n",
        machine.version, machine.system, machine.cores, machine.database, report.method
    ));
    let (heads, rows) = report.table();
    print(&table(&heads, rows));
}
