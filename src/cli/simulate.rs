//! `headcount simulate`

use super::output::{print, print_json};
use super::{Context, DONE};
use crate::config::ConfigError;
use crate::simulate::{Faults, INSTANCE, Kind, Mix, Options, SECRET_KEY, Simulator, WEBHOOK_SECRET};
use crate::source::provider;
use crate::source::setup::Setup;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::json;
use std::net::SocketAddr;
use tokio_util::sync::CancellationToken;
use url::Url;

/// A stand-in provider on loopback: its API, and signed deliveries, as faulty as you like
///
/// The API has paging, cursors, limits and errors as the provider's specification has them, and takes what makes, changes,
/// bans and deletes users, so that any client of the provider's can be pointed at it. What changes is delivered as the
/// provider signs it, with Svix' retry schedule. The first lines say what to set to connect.
///
/// For tests in CI: `GET /simulate` tells users, requests and deliveries; `PUT /simulate/faults` sets what goes wrong from
/// now on, as --faults does from the beginning; `POST /simulate/changes` {"count":100} makes changes at once. The same
/// seed makes the same people.
#[derive(Args)]
pub struct Simulate {
    /// Where to listen; loopback alone
    #[arg(long, default_value = "127.0.0.1:8790", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Whom it stands in for
    #[arg(long, default_value = Kind::default().name(), value_name = "PROVIDER", value_parser = kinds())]
    kind: Kind,
    /// Users that there are at the beginning
    #[arg(long, default_value_t = 100)]
    users: u64,
    /// The same seed makes the same people, changes and faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Changes in a second
    #[arg(long, default_value_t = 0.0, value_name = "PER_SECOND")]
    rate: f64,
    /// Where deliveries go, such as http://127.0.0.1:8787/webhooks/clerk
    #[arg(long, value_name = "URL")]
    to: Option<Url>,
    /// The retry schedule (5 s, 5 min, … 10 h) runs so many times faster
    #[arg(long, default_value_t = 1.0, value_name = "TIMES")]
    compress: f64,
    /// The key that clients must send; one of `sk_live_` has the limit of production
    #[arg(long, default_value = SECRET_KEY, value_name = "KEY")]
    secret_key: String,
    /// Signs the deliveries
    #[arg(long, default_value = WEBHOOK_SECRET, value_name = "SECRET")]
    webhook_secret: String,
    /// The instance that the key belongs to
    #[arg(long, default_value = INSTANCE, value_name = "ID")]
    instance: String,
    /// Requests in ten seconds, instead of the limit of the key's kind; 0 for no limit
    #[arg(long, value_name = "REQUESTS")]
    limit: Option<u32>,
    /// Share of deliveries that are never made, such as 0.3; short for --faults {"drop":0.3}
    #[arg(long, value_name = "SHARE")]
    drop: Option<f64>,
    /// What goes wrong, as a JSON object such as {"repeat":0.1,"outage":true}; GET /simulate shows every fault
    #[arg(long, value_name = "JSON")]
    faults: Option<String>,
}

impl Simulate {
    fn options(&self) -> Result<Options, ConfigError> {
        let wrong =
            |error| ConfigError(format!("--faults cannot be read: {error}; GET /simulate shows every fault"));
        let mut faults: Faults =
            serde_json::from_str(self.faults.as_deref().unwrap_or("{}")).map_err(wrong)?;
        faults.drop = self.drop.unwrap_or(faults.drop);
        Ok(Options {
            kind: self.kind,
            users: self.users,
            seed: self.seed,
            changes_per_second: self.rate,
            mix: Mix::default(),
            secret_key: self.secret_key.clone(),
            instance: self.instance.clone(),
            limit: self.limit,
            webhook_secret: self.webhook_secret.clone(),
            deliver_to: self.to.clone(),
            time_compression: self.compress,
            faults,
        })
    }
}

/// One of those that can be simulated, by its name.
fn kinds() -> impl TypedValueParser<Value = Kind> {
    let named = |name: String| Kind::ALL.into_iter().find(|kind| kind.name() == name).unwrap_or_default();
    PossibleValuesParser::new(Kind::ALL.map(Kind::name)).map(named)
}

/// What a shell runs so that a worker is connected: the provider knows what its variables are called.
fn exports(command: &Simulate, url: &str) -> String {
    let Some(Setup::Variables(variables)) = provider(command.kind.name()).map(|provider| provider.setup())
    else {
        return String::new();
    };
    [
        (&variables.api_url, url),
        (&variables.api_key, &command.secret_key),
        (&variables.webhook_secret, &command.webhook_secret),
    ]
    .map(|(variable, value)| format!("export {}={value}\n", variable.name))
    .concat()
}

pub async fn run(command: Simulate, context: Context) -> anyhow::Result<u8> {
    anyhow::ensure!(
        command.listen.ip().is_loopback(),
        "--listen must be on loopback: a simulator has public keys, and is nobody's provider"
    );
    let stop = CancellationToken::new();
    super::serve::stop_on_signals(stop.clone())?;
    let mut simulator =
        Simulator::start_by(command.options()?, command.listen, context.clock.clone()).await?;
    if command.rate > 0.0 {
        simulator.start_traffic();
    }
    let url = simulator.url();
    match context.json {
        true => print_json(&json!({
            "url": url, "secret_key": command.secret_key, "webhook_secret": command.webhook_secret,
        })),
        false => print(&format!(
            "A stand-in for {} with {} users is at {url}. To connect a worker:\n\n{}\n\
             curl {url}/simulate tells how it is doing; Ctrl-C ends it.",
            command.kind.name(),
            command.users,
            exports(&command, &url),
        )),
    }
    stop.cancelled().await;
    if !context.json {
        print(&json!(simulator.tally()).to_string());
    }
    Ok(DONE)
}
