//! Running the binary, and talking to it as Svix would.

use super::support::wait::PATIENCE;
use super::support::{Db, SECRET, key, signature};
use headcount::clock::{Clock, SystemClock};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tokio::time::Instant;

pub const ADMIN_TOKEN: &str = "the-admin-token-of-the-tests";
pub const APP_TOKEN: &str = "the-app-token-of-the-tests";

/// The binary with an environment of its own and a folder to run in.
pub fn headcount(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headcount"));
    command.env_clear().env("HEADCOUNT_DATABASE_URL", url).current_dir(std::env::temp_dir());
    command
}

pub fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The JSON on the last line of what a command prints.
pub fn json(output: &Output) -> serde_json::Value {
    let out = text(&output.stdout);
    serde_json::from_str(out.lines().last().unwrap_or_default())
        .unwrap_or_else(|_| panic!("no JSON in {out} {}", text(&output.stderr)))
}

/// Exit code 1 and a word of why, without a panic or a secret.
pub fn fails_quietly_with(what: &str, code: Option<i32>, error: &str, expected: &str) {
    assert_eq!(code, Some(1), "{what}: {error}");
    assert!(error.contains(expected), "{what}: {error}");
    assert!(!error.contains("panicked") && !error.contains("sk_live_"), "{what}: {error}");
}

/// A running `headcount serve`, killed when dropped.
pub struct Server {
    child: Child,
    pub address: String,
    /// Of the admin listener.
    pub admin: String,
    pub log: PathBuf,
    _folder: tempfile::TempDir,
    client: Client,
}

impl Server {
    pub async fn start(db: &Db) -> Self {
        Self::start_with(db, &[], &[]).await
    }

    pub async fn start_with(db: &Db, args: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_as(headcount(&db.url), args, variables).await
    }

    /// One that may open so many files and connections, and no more.
    pub async fn start_limited(db: &Db, descriptors: u32) -> Self {
        let mut command = Command::new("/bin/sh");
        let limited = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_headcount")]);
        command.env_clear().env("HEADCOUNT_DATABASE_URL", &db.url).current_dir(std::env::temp_dir());
        Self::start_as(command, &[], &[]).await
    }

    async fn start_as(mut command: Command, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        // Both at once, so that they differ.
        let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [address, admin] = free.map(|listener| listener.local_addr().unwrap().to_string());
        let child = command
            .args(["serve", "--listen", &address, "--log", "debug"])
            .args(args)
            .env("CLERK_WEBHOOK_SIGNING_SECRET", SECRET)
            .env("HEADCOUNT_MAX_DELETE_DELIVERED", "off")
            .env("HEADCOUNT_ADMIN_LISTEN", &admin)
            .env("HEADCOUNT_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("HEADCOUNT_APP_TOKEN", APP_TOKEN)
            .envs(variables.iter().copied())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        // The one that `main` of the binary sets; in a test there is no main.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = Self { child, address, admin, log, _folder: folder, client: Client::new() };
        server.until(|| async { server.get("/readyz").await == Some(StatusCode::OK) }).await;
        server
    }

    pub async fn get(&self, path: &str) -> Option<StatusCode> {
        let answer = self.client.get(format!("http://{}{path}", self.address)).send().await;
        answer.ok().map(|answer| answer.status())
    }

    /// Signed by us, now.
    pub async fn deliver(&self, id: &str, body: &str) -> Option<StatusCode> {
        self.deliver_whole(id, body).await.ok().map(|answer| answer.status())
    }

    /// Over a connection of its own; the status, where there was an answer.
    pub async fn deliver_once(&self, id: &str, body: &str) -> Option<u16> {
        let now = SystemClock.now().seconds();
        let request = Client::new().post(format!("http://{}/webhooks/clerk", self.address));
        let signed = request
            .header("svix-id", id)
            .header("svix-timestamp", now.to_string())
            .header("svix-signature", signature(&key(), id, now, body.as_bytes()));
        signed.body(body.to_owned()).send().await.ok().map(|answer| answer.status().as_u16())
    }

    /// The whole answer, headers included.
    pub async fn deliver_whole(&self, id: &str, body: &str) -> reqwest::Result<reqwest::Response> {
        let now = SystemClock.now().seconds();
        let request =
            self.client.post(format!("http://{}/webhooks/clerk", self.address)).body(body.to_owned());
        request
            .header("svix-id", id)
            .header("svix-timestamp", now.to_string())
            .header("svix-signature", signature(&key(), id, now, body.as_bytes()))
            .send()
            .await
    }

    /// Signed with another secret than the usual one; the status.
    pub async fn deliver_signed(&self, secret: &str, id: &str, body: &str) -> u16 {
        let now = SystemClock.now().seconds();
        let key = headcount::source::signature::SigningKey::parse(secret).unwrap();
        let signature = signature(&key, id, now, body.as_bytes());
        let headers =
            [("svix-id", id), ("svix-timestamp", &*now.to_string()), ("svix-signature", &*signature)];
        self.post("clerk", &headers, body.to_owned()).await.unwrap().0.as_u16()
    }

    /// `None` where the connection failed.
    pub async fn post(
        &self,
        source: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Option<(StatusCode, String)> {
        self.post_at(&format!("/webhooks/{source}"), headers, body).await
    }

    /// To any path of the public listener.
    pub async fn post_at(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Option<(StatusCode, String)> {
        let mut request = self.client.post(format!("http://{}{path}", self.address)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await.ok()?;
        Some((answer.status(), answer.text().await.ok()?))
    }

    /// A call to the admin listener: status and JSON of the answer.
    pub async fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        let mut request =
            self.client.request(method, format!("http://{}{path}", self.admin)).bearer_auth(token);
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    /// Somebody is here: as the application calls it.
    pub async fn ensure(&self, provider_id: &str) -> (u16, Value) {
        let body = serde_json::json!({"source": "clerk", "provider_id": provider_id});
        self.call("POST", "/v1/users/ensure", APP_TOKEN, Some(body)).await
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// `kill -9`.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        // Fails where it is gone already.
        let _ = nix::sys::signal::kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal);
    }

    pub fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end");
    }

    /// Waits for the condition.
    pub async fn until<F, W>(&self, condition: F)
    where
        F: Fn() -> W,
        W: Future<Output = bool>,
    {
        let deadline = Instant::now() + PATIENCE;
        while !condition().await {
            assert!(
                Instant::now() < deadline,
                "waited too long; log: {}",
                std::fs::read_to_string(&self.log).unwrap()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until nothing waits any more.
    pub async fn drained(&self, db: &Db) {
        self.until(|| async { db.count("headcount.inbox WHERE status = 'pending'").await == 0 }).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}
