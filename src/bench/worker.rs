//! A headcount in a process of its own, as it runs in production: what is measured is what is shipped.

use anyhow::{Context as _, bail};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::Instant;
use url::Url;

const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Ended, without a chance to tidy up, when it is dropped.
pub struct Worker {
    child: Child,
    address: SocketAddr,
}

impl Worker {
    /// Starts this very program with these arguments; `{address}` among them becomes a free port of loopback. `folder` is
    /// where it runs, so that no configuration which happens to lie here is its own, and `variables` all of its
    /// environment. It is ready when `path` is answered.
    pub async fn start(
        folder: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
        path: &str,
    ) -> anyhow::Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let arguments = arguments.iter().map(|argument| argument.replace("{address}", &address.to_string()));
        let began = Instant::now();
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .context("this program cannot be started once more")?;
        let mut worker = Self { child, address };
        let url = worker.url(path)?;
        while !(TcpStream::connect(address).is_ok() && is_answered(&url).await) {
            if let Some(status) = worker.child.try_wait()? {
                bail!("the measured process ended before it was ready ({status})");
            }
            if began.elapsed() > READY_TIMEOUT {
                bail!("the measured process was not ready within {} s", READY_TIMEOUT.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(worker)
    }

    pub fn url(&self, path: &str) -> anyhow::Result<Url> {
        Ok(Url::parse(&format!("http://{}{path}", self.address))?)
    }

    /// The most memory that it has held, in MB; `None` where the system does not tell (it is Linux that does).
    pub fn peak_memory_mb(&self) -> Option<f64> {
        peak_memory_mb(self.child.id())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs this program to its end; what it printed, and the most memory that it was seen to hold.
pub async fn run_to_end(
    folder: &Path,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> anyhow::Result<(String, Option<f64>)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut memory_mb = None;
    // What it prints is less than a pipe holds.
    let status = loop {
        memory_mb = peak_memory_mb(child.id()).or(memory_mb);
        match child.try_wait()? {
            Some(status) => break status,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let mut printed = String::new();
    if let Some(mut out) = child.stdout.take() {
        std::io::Read::read_to_string(&mut out, &mut printed)?;
    }
    if !status.success() {
        bail!("`headcount {}` ended with {status}: {}", arguments.join(" "), printed.trim());
    }
    Ok((printed, memory_mb))
}

async fn is_answered(url: &Url) -> bool {
    // Whoever asks for a token is there as well.
    reqwest::get(url.clone()).await.is_ok_and(|answer| !answer.status().is_server_error())
}

fn peak_memory_mb(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}
