//! The command line: one file a command, and the composition of everything else.

mod access;
mod adopt;
mod assembly;
mod bench;
mod completions;
mod config;
mod demo;
mod descriptors;
mod events;
mod explain;
mod given;
mod migrate;
mod move_page;
mod move_report;
mod output;
mod provider_move;
mod record;
mod relink;
mod reload;
mod replay;
mod resync;
mod runs;
mod schema;
mod scratch;
mod serve;
mod simulate;
mod source;
mod status;
mod users;
mod waiting;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigError};
use crate::provider_move::MoveError;
use crate::resync::ResyncError;
use crate::store::{DatabaseUrl, Store, StoreError};
use clap::{Args, CommandFactory, Parser, Subcommand};
use given::Given;
use output::agree;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

/// Everything is in order.
pub const DONE: u8 = 0;
const FAILED: u8 = 1;
const WRONG_USE: u8 = 2;
/// Drift, held runs, dead letters or held deliveries were found where the command looks for them.
pub const FOUND: u8 = 3;

/// Keeps an application's own users table true to its hosted auth provider.
///
/// To see it work:  headcount demo
///
/// To run it:  CLERK_WEBHOOK_SIGNING_SECRET=whsec_… headcount serve
///
/// Settings come from flags, environment variables, .env.local, .env, headcount.toml and defaults, in this order; `headcount config`
/// shows each with its origin.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 drift, held runs or deliveries, or dead letters found.
#[derive(Parser)]
#[command(name = "headcount", version, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Global {
    /// The configuration file [default: headcount.toml, or what HEADCOUNT_CONFIG names]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<String>,
    /// The database, where its URL holds no password; else use HEADCOUNT_DATABASE_URL
    #[arg(long, global = true, value_name = "URL")]
    database: Option<String>,
    /// Leaves the files .env.local and .env of the working directory unread
    #[arg(long, global = true)]
    no_env_file: bool,
    /// What is logged, such as `info` or `headcount=debug` [env: HEADCOUNT_LOG]
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// Prints one JSON object, on the last line of output
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Demo),
    Serve(serve::Serve),
    Resync(resync::ResyncCommand),
    Adopt(adopt::Adopt),
    #[command(subcommand)]
    Runs(runs::Runs),
    Replay(replay::Replay),
    Record(record::Record),
    Migrate(migrate::Migrate),
    Schema(schema::Schema),
    Status(status::StatusCommand),
    Explain(explain::Explain),
    #[command(subcommand)]
    Events(events::Events),
    #[command(subcommand)]
    Users(users::Users),
    Simulate(simulate::Simulate),
    #[command(subcommand)]
    Bench(bench::Bench),
    #[command(subcommand)]
    Source(source::SourceCommand),
    #[command(name = "move")]
    ProviderMove(provider_move::MoveCommand),
    Config(config::ShowConfig),
    Completions(completions::Completions),
}

/// What a command gets.
struct Context {
    config: Config,
    given: Given,
    json: bool,
    /// The time, ids and chance of everything that the command does.
    clock: Arc<dyn Clock>,
}

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Completions(command) = &cli.command {
        return ExitCode::from(completions::run::<Cli>(command));
    }
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Every cause in one line: what failed, and why.
            eprintln!("headcount: {error:#}");
            ExitCode::from(exit_code(&error))
        }
    }
}

/// The names of all commands, as `headcount --help` lists them.
pub fn command_names() -> Vec<String> {
    Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let wrong_setup = error.downcast_ref::<StoreError>().is_some_and(StoreError::is_wrong_setup)
        || error.downcast_ref::<ResyncError>().is_some_and(ResyncError::is_wrong_setup)
        || error.downcast_ref::<MoveError>().is_some_and(MoveError::is_wrong_setup);
    if wrong_setup || error.is::<ConfigError>() { WRONG_USE } else { FAILED }
}

fn run(cli: Cli) -> anyhow::Result<u8> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    // The one place that chooses a crypto provider for TLS; a second call finds it chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut flags = Vec::new();
    if let Some(url) = cli.global.database {
        flags.push(("database_url", without_password(url)?));
    }
    if let Command::Demo(command) = cli.command {
        return demo::run(command, &flags, cli.global.log, cli.global.json, clock);
    }
    if let Command::Bench(command) = cli.command {
        return bench::run(command, flags.pop().map(|(_, url)| url), cli.global.json, &*clock);
    }
    if let Some(filter) = cli.global.log {
        flags.push(("log", filter));
    }
    if let Command::Serve(serve) = &cli.command {
        flags.extend(serve.flags());
    }
    let given = Given::new(flags, cli.global.config, !cli.global.no_env_file)?;
    let config = given.resolve()?;
    crate::telemetry::init(&config.log, config.log_format)?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let context = Context { config, given, json: cli.global.json, clock };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async move {
        meet_file_size_limits_as_errors()?;
        match cli.command {
            Command::Serve(command) => serve::run(command, context).await,
            Command::Resync(command) => resync::run(command, context).await,
            Command::Adopt(command) => adopt::run(command, context).await,
            Command::Runs(command) => runs::run(command, context).await,
            Command::Simulate(command) => simulate::run(command, context).await,
            Command::Source(command) => source::run(command, context).await,
            Command::ProviderMove(command) => provider_move::run(command, context).await,
            Command::Replay(command) => replay::run(command, context).await,
            Command::Record(command) => record::run(command, context).await,
            Command::Schema(command) => schema::run(command, context).await,
            Command::Migrate(command) => migrate::run(command, context).await,
            Command::Status(_) => status::run(context).await,
            Command::Explain(command) => explain::run(command, context).await,
            Command::Events(command) => events::run(command, context).await,
            Command::Users(command) => users::run(command, context).await,
            Command::Config(_) => config::run(context),
            Command::Completions(_) | Command::Demo(_) | Command::Bench(_) => Ok(DONE),
        }
    })
}

/// A file that may not grow further (`ulimit -f`) is an error like a full disk. Unless the signal is handled, the system
/// ends the process instead.
fn meet_file_size_limits_as_errors() -> std::io::Result<()> {
    const SIGXFSZ: i32 = rustix::process::Signal::XFSZ.as_raw();
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}

/// Other people of the machine can read a process's arguments.
fn without_password(url: String) -> Result<String, ConfigError> {
    let has_password = DatabaseUrl::parse(&url).map(|url| url.has_password());
    match has_password.map_err(|error| ConfigError(format!("--database: {error}")))? {
        true => Err(ConfigError(
            "--database holds a password, which other users of this machine could read; set HEADCOUNT_DATABASE_URL".into(),
        )),
        false => Ok(url),
    }
}

impl Context {
    /// The database with its tables current: made or upgraded, unless that is switched off.
    async fn migrated_store(&self) -> anyhow::Result<Store> {
        if self.config.migrate
            && let Some(direct) = &self.config.migrate_database
        {
            let store = Store::open_on(direct, &self.config.users).await?;
            self.migrate(&store).await?;
            store.close().await;
        }
        let store = Store::open_on(&self.config.database, &self.config.users).await?;
        if self.config.migrate && self.config.migrate_database.is_none() {
            self.migrate(&store).await?;
        } else {
            store.check_schema().await?;
        }
        // A table of the application's was looked at when it was opened.
        if store.users_table().is_adopted() {
            return Ok(store);
        }
        match store.table_problems().await?.as_slice() {
            [] => Ok(store),
            problems => Err(StoreError::Setup(problems.join("\n")).into()),
        }
    }

    /// Makes or upgrades the tables; where a `.env` file has named the database for the application, after a yes alone.
    async fn migrate(&self, store: &Store) -> anyhow::Result<()> {
        let required = self.config.required_fields.as_deref();
        if let Some(named_by) = &self.config.database_of_env_file
            && !store.migration_plan(required).await?.is_empty()
        {
            let question = format!(
                "headcount's tables are not there, or not current, in {}, the database of {named_by}.",
                self.config.database.redacted()
            );
            agree(
                &question,
                "Make them?",
                "`headcount migrate` makes them, `headcount migrate --plan` shows the SQL",
            )?;
        }
        let steps = store.migrate(required).await?.steps;
        if let Some(note) = migrate::ban_note(store, &self.config, &steps).await? {
            warn!("{note}");
        }
        Ok(())
    }

    /// The database as it is, for commands that look and act on what is there.
    async fn existing_store(&self) -> anyhow::Result<Store> {
        if let DatabaseUrl::Sqlite(path) = &self.config.database
            && !path.exists()
        {
            let path = path.display();
            return Err(ConfigError(format!(
                "there is no database at {path}; `headcount serve` or `headcount replay` makes one, \
                 or HEADCOUNT_DATABASE_URL names another"
            ))
            .into());
        }
        let store = Store::open_on(&self.config.database, &self.config.users).await?;
        store.check_schema().await?;
        Ok(store)
    }
}
