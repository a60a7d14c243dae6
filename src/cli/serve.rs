//! `headcount serve`

use super::assembly::{Role, Serving};
use super::reload::Reload;
use super::{Context, DONE};
use crate::config::{Config, ConfigError};
use crate::source::{Source, providers, setup};
use crate::store::Store;
use anyhow::Context as _;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Runs the worker: receives deliveries, applies them, reads sources on schedule, keeps house
///
/// Public: POST /webhooks/{source}, GET /healthz, GET /readyz. For applications and operators, behind tokens: /v1 and
/// /openapi.json on the admin listener. SIGTERM answers the requests that are in, finishes the
/// batch under way and exits 0; what is still in the inbox waits for the next start. Several may run on one PostgreSQL.
#[derive(Args)]
pub struct Serve {
    /// Where to listen [env: HEADCOUNT_LISTEN] [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Where applications and operators are answered [env: HEADCOUNT_ADMIN_LISTEN] [default: 127.0.0.1:8788]
    #[arg(long, value_name = "ADDRESS:PORT")]
    admin_listen: Option<String>,
    /// The parts that this process plays, so that replicas can differ
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Role::ALL)]
    role: Vec<Role>,
}

impl Serve {
    /// The settings that it overrides.
    pub fn flags(&self) -> impl Iterator<Item = (&'static str, String)> {
        let given = [("listen", self.listen.clone()), ("admin_listen", self.admin_listen.clone())];
        given.into_iter().filter_map(|(key, value)| Some((key, value?)))
    }
}

/// What a source cannot do as it is configured.
pub fn source_notes(sources: &[Source]) -> Vec<String> {
    sources
        .iter()
        .filter_map(|source| {
            let name = &source.name;
            match (source.takes_deliveries(), source.is_readable()) {
                (false, _) => Some(format!("Source {name} has no webhook secret: it takes no deliveries.")),
                (true, false) => Some(format!(
                    "Source {name} has no API key: what its deliveries miss cannot be repaired."
                )),
                (true, true) => None,
            }
        })
        .collect()
}

pub async fn run(command: Serve, mut context: Context) -> anyhow::Result<u8> {
    let config = &context.config;
    if config.port_is_dictated && config.database_is_default {
        return Err(ConfigError(
            "PORT is set and no database is: this looks like a host whose disk does not last, where a SQLite file would \
             be lost; set HEADCOUNT_DATABASE_URL"
                .into(),
        )
        .into());
    }
    if config.sources.is_empty() {
        let each: Vec<String> = providers().filter_map(|provider| setup::advice(&*provider)).collect();
        return Err(ConfigError(format!(
            "no source is configured. {}. For anything else: write a table [sources.NAME] into headcount.toml",
            each.join(". ")
        ))
        .into());
    }
    let stop = CancellationToken::new();
    stop_on_signals(stop.clone())?;
    let store = context.migrated_store().await?;
    store.name_sources(&config.named_sources()).await?;
    warn_of_required_fields(&context, &store).await?;
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        let address = config.listen;
        format!(
            "cannot listen on {address}; is headcount running already? HEADCOUNT_LISTEN names another address"
        )
    })?;
    let mut admin = None;
    if command.role.contains(&Role::Admin) {
        admin = super::access::listen(config).await?;
        super::access::settle_token(&mut context.config, &*context.clock);
    }
    let config = &context.config;
    announce(config, listener.local_addr()?);
    if let Some(admin) = &admin {
        info!("answers applications and operators at http://{}/v1", admin.local_addr()?);
    }
    let serving = Serving::start(config, &store, &command.role, &context.clock)?;
    let reload = Reload {
        given: context.given.clone(),
        sources: config.sources.clone(),
        store: store.clone(),
        database: config.database.clone(),
        tokens: serving.tokens(),
        admin: config.admin.clone(),
    };
    tokio::spawn(reload.run(stop.clone()));
    serving.until(listener, admin, stop).await?;
    store.close().await;
    info!("stopped");
    Ok(DONE)
}

fn announce(config: &Config, address: std::net::SocketAddr) {
    for source in config.sources.iter().filter(|source| source.takes_deliveries()) {
        info!(source.name = source.name, "takes deliveries at http://{address}/webhooks/{}", source.name);
    }
    for note in source_notes(&config.sources) {
        warn!("{note}");
    }
    if let Some(named_by) = &config.database_of_env_file {
        info!("the database is the one of {named_by}");
    }
    info!(database = config.database.redacted(), "serving on {address}");
}

/// Without the right to change the schema, a changed list of required fields cannot take effect.
async fn warn_of_required_fields(context: &Context, store: &Store) -> anyhow::Result<()> {
    if context.config.migrate {
        return Ok(());
    }
    let stored = store.required_fields().await?;
    match &context.config.required_fields {
        Some(wanted) if *wanted != stored => warn!(
            "HEADCOUNT_REQUIRED_FIELDS is {}, the database has {}; `headcount migrate` changes it",
            wanted.join(","),
            stored.join(",")
        ),
        _ => {}
    }
    Ok(())
}

pub fn stop_on_signals(stop: CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}
