//! The generator: connections that send one request after the other and count the answers.

use anyhow::{Context as _, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// What is sent, one by one.
pub trait Requests: Send + Sync {
    /// The number of the next one, for whoever sends it; `None` where there is none left.
    fn next_index(&self) -> Option<u64>;
    /// Appends the headers that differ, and the body, as HTTP has them. `body` is room to work in.
    fn write(&self, number: u64, body: &mut Vec<u8>, out: &mut Vec<u8>);
}

/// How to send, and to whom.
#[derive(Clone, Debug)]
pub struct Load {
    pub to: Url,
    pub connections: usize,
    pub duration: Duration,
    /// At this pace; as fast as the answers come where there is none.
    pub per_second: Option<f64>,
}

/// A request that is on its way.
#[derive(Clone, Copy, Debug)]
pub struct LoadResult {
    pub number: u64,
    pub at: Instant,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub accepted: u64,
    /// Answers that are no 2xx.
    pub other: u64,
    pub seconds: f64,
    /// In microseconds, sorted.
    latencies_us: Vec<u32>,
}

impl Measured {
    pub fn per_second(&self) -> f64 {
        self.accepted as f64 / self.seconds
    }

    /// The latency that `share` of the requests did not exceed, in milliseconds.
    pub fn ms(&self, share: f64) -> f64 {
        percentile_ms(&self.latencies_us, share)
    }
}

/// Of sorted microseconds, in milliseconds; 0 where there are none.
pub fn percentile_ms(sorted_us: &[u32], share: f64) -> f64 {
    let at = (sorted_us.len().saturating_sub(1) as f64 * share).round() as usize;
    sorted_us.get(at).map_or(0.0, |us| f64::from(*us) / 1000.0)
}

/// Sends until the time is over or there is nothing left to send. On a thread of its own, so that it is one core's work
/// at the most. `sent` hears of each request as it is sent.
pub async fn run(
    load: Load,
    requests: Arc<dyn Requests>,
    sent: Option<UnboundedSender<LoadResult>>,
) -> anyhow::Result<Measured> {
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(send_all(load, requests, sent))
    })
    .await?
}

async fn send_all(
    load: Load,
    requests: Arc<dyn Requests>,
    sent: Option<UnboundedSender<LoadResult>>,
) -> anyhow::Result<Measured> {
    let mut streams = Vec::new();
    for _ in 0..load.connections {
        streams.push(connect(&load.to).await?);
    }
    let began = Instant::now();
    let slots = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for stream in streams {
        let connection = Connection {
            stream,
            head: head(&load.to),
            load: load.clone(),
            requests: requests.clone(),
            began,
            slots: slots.clone(),
            sent: sent.clone(),
        };
        tasks.spawn(connection.send());
    }
    let mut measured = Measured::default();
    while let Some(part) = tasks.join_next().await {
        let part = part??;
        measured.accepted += part.accepted;
        measured.other += part.other;
        measured.latencies_us.extend(part.latencies_us);
    }
    measured.seconds = began.elapsed().as_secs_f64();
    measured.latencies_us.sort_unstable();
    Ok(measured)
}

async fn connect(to: &Url) -> anyhow::Result<TcpStream> {
    let addresses = to.socket_addrs(|| None)?;
    let stream =
        TcpStream::connect(&*addresses).await.with_context(|| format!("{to} takes no connection"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The request up to the headers that differ.
fn head(to: &Url) -> Vec<u8> {
    let (path, host) = (to.path(), to.authority());
    format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n").into_bytes()
}

struct Connection {
    stream: TcpStream,
    head: Vec<u8>,
    load: Load,
    requests: Arc<dyn Requests>,
    began: Instant,
    /// How many of the pace's turns are taken.
    slots: Arc<AtomicU64>,
    sent: Option<UnboundedSender<LoadResult>>,
}

impl Connection {
    async fn send(mut self) -> anyhow::Result<Measured> {
        let (mut request, mut body, mut answer) = (Vec::new(), Vec::new(), Vec::new());
        let mut measured = Measured::default();
        while self.wait_for_turn().await {
            let Some(number) = self.requests.next_index() else { break };
            request.clear();
            request.extend_from_slice(&self.head);
            self.requests.write(number, &mut body, &mut request);
            let at = Instant::now();
            if let Some(sent) = &self.sent {
                // Whoever listened has seen enough.
                let _ = sent.send(LoadResult { number, at });
            }
            self.stream.write_all(&request).await.context("the connection was cut")?;
            let status = self.answer(&mut answer).await?;
            measured.latencies_us.push(u32::try_from(at.elapsed().as_micros()).unwrap_or(u32::MAX));
            match status {
                200..=299 => measured.accepted += 1,
                _ => measured.other += 1,
            }
        }
        Ok(measured)
    }

    /// Whether there is time for one more.
    async fn wait_for_turn(&self) -> bool {
        if let Some(pace) = self.load.per_second {
            let slot = self.slots.fetch_add(1, Ordering::Relaxed);
            let due = self.began + Duration::from_secs_f64(slot as f64 / pace);
            if due > self.began + self.load.duration {
                return false;
            }
            tokio::time::sleep_until(due).await;
        }
        self.began.elapsed() < self.load.duration
    }

    /// Reads one answer; its status.
    async fn answer(&mut self, buffer: &mut Vec<u8>) -> anyhow::Result<u16> {
        buffer.clear();
        loop {
            if self.stream.read_buf(buffer).await.context("the connection was cut")? == 0 {
                bail!("the connection was closed before the answer");
            }
            if let Some(status) = whole(buffer)? {
                return Ok(status);
            }
            if buffer.len() > ANSWER_BYTES_MAX {
                bail!("the answer is larger than {ANSWER_BYTES_MAX} bytes");
            }
        }
    }
}

/// The status, once head and body are there. Servers that are measured say the length of what they answer.
fn whole(answer: &[u8]) -> anyhow::Result<Option<u16>> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&answer[..end]).context("the answer is not HTTP")?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let length = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .unwrap_or(0);
    let status = status.context("the answer is not HTTP")?;
    Ok((answer.len() >= end + 4 + length).then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_body() {
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(whole(answer).unwrap(), Some(202));
        assert_eq!(whole(&answer[..answer.len() - 1]).unwrap(), None);
        assert_eq!(whole(&answer[..20]).unwrap(), None);
        assert_eq!(whole(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(), Some(204));
        assert!(whole(b"what\r\n\r\n").is_err());
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let sorted: Vec<u32> = (1..=100).map(|n| n * 1000).collect();
        assert_eq!(percentile_ms(&sorted, 0.5), 51.0);
        assert_eq!(percentile_ms(&sorted, 0.99), 99.0);
        assert_eq!(percentile_ms(&[], 0.5), 0.0);
    }
}
