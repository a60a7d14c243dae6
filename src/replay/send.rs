//! Fixtures as real deliveries: signed with the current secret and time, sent by HTTP.

use super::fixture::Fixture;
use crate::clock::Clock;
use crate::source::Source;
use anyhow::{Context, bail};
use reqwest::{Client, StatusCode, redirect};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

const SEND_TIMEOUT: Duration = Duration::from_secs(30);

/// What the receiver answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SendCounts {
    pub read: u64,
    /// 2xx other than a duplicate.
    pub accepted: u64,
    pub duplicate: u64,
    pub rejected: u64,
}

/// Sends the files in order, one after the other. A refusal is counted, an unreachable receiver is an error.
pub async fn send(
    sources: &[Source],
    clock: &dyn Clock,
    paths: &[PathBuf],
    to: &Url,
) -> anyhow::Result<SendCounts> {
    let client = Client::builder()
        .timeout(SEND_TIMEOUT)
        .redirect(redirect::Policy::none())
        .build()
        .context("the HTTP client cannot be made")?;
    let mut sent = SendCounts::default();
    for path in paths {
        let fixture = Fixture::read(path)?;
        let key = sources.iter().find(|source| source.name == fixture.source).and_then(|source| {
            let keys = source.webhook_keys.get();
            keys.iter().find(|key| key.scheme == fixture.headers.scheme).or(keys.first()).cloned()
        });
        let Some(key) = key else {
            bail!(
                "source `{}` has no webhook secret here to sign with; set it as `serve` has it",
                fixture.source
            );
        };
        let mut request = client.post(to.clone()).header("content-type", "application/json");
        for (name, value) in key.headers(&fixture.headers.id, clock.now(), fixture.body.as_bytes()) {
            request = request.header(name, value);
        }
        let answer =
            request.body(fixture.body).send().await.with_context(|| format!("{to} cannot be reached"))?;
        sent.read += 1;
        match answer.status() {
            // headcount answers 200 to what it has already, 202 to what it has not.
            StatusCode::OK => sent.duplicate += 1,
            status if status.is_success() => sent.accepted += 1,
            _ => sent.rejected += 1,
        }
    }
    Ok(sent)
}
