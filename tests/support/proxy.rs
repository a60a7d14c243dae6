//! A TCP proxy that fails on request: it falls silent, cuts, answers by half, delays, or lets the test act, each at a
//! step of its choice. What a client sends in one piece is a step: a statement to a database, a request to a provider.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens at a step, after the server was sent it.
pub enum Fault {
    /// Both sides are closed before the answer: the client never learns what became of the step.
    Cut,
    /// The client gets half of the answer, and then the end of the stream.
    HalfAnAnswer,
    /// Nothing comes any more, and nothing is closed.
    Silence,
    /// The test does something, and the connection goes on.
    Act(Box<dyn FnOnce() + Send>),
}

pub struct Proxy {
    pub address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Connections of earlier generations carry nothing any more.
    generation: AtomicU64,
    delay_ms: AtomicU64,
    armed: Mutex<Option<(u64, Fault)>>,
}

impl State {
    /// The fault, where this is the step that it waits for.
    fn step(&self) -> Option<Fault> {
        let mut armed = self.armed.lock().unwrap();
        let (left, _) = armed.as_mut()?;
        *left -= 1;
        if *left > 0 { None } else { armed.take().map(|(_, fault)| fault) }
    }

    fn is_armed(&self) -> bool {
        self.armed.lock().unwrap().is_some()
    }
}

impl Proxy {
    pub async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let (target, shared) = (target.to_owned(), state.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                tokio::spawn(Carried { client, server, state: shared.clone() }.carry());
            }
        });
        Self { address, state }
    }

    /// What is connected now hears nothing any more, and is not closed. New connections work.
    pub fn silence(&self) {
        self.state.generation.fetch_add(1, SeqCst);
    }

    /// Every step waits so long on its way.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_ms.store(u64::try_from(delay.as_millis()).unwrap(), SeqCst);
    }

    /// The step after which the fault happens, counted from now over all connections: 1 is the next one.
    pub fn arm(&self, step: u64, fault: Fault) {
        *self.state.armed.lock().unwrap() = Some((step, fault));
    }

    /// Whether the fault has yet to happen.
    pub fn is_armed(&self) -> bool {
        self.state.is_armed()
    }
}

struct Carried {
    client: TcpStream,
    server: TcpStream,
    state: Arc<State>,
}

impl Carried {
    async fn carry(self) {
        let Self { client, server, state } = self;
        let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
            (client.into_split(), server.into_split());
        let mine = state.generation.load(SeqCst);
        let (mut sent, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        let mut halves = false;
        loop {
            let (count, is_step) = tokio::select! {
                biased;
                count = from_client.read(&mut sent) => (count, true),
                count = from_server.read(&mut answered) => (count, false),
            };
            let Some(count) = count.ok().filter(|count| *count > 0) else { return };
            if state.generation.load(SeqCst) != mine {
                std::future::pending::<()>().await;
            }
            if !is_step {
                let bytes = &answered[..if halves { count / 2 } else { count }];
                if to_client.write_all(bytes).await.is_err() || halves {
                    return;
                }
                continue;
            }
            tokio::time::sleep(Duration::from_millis(state.delay_ms.load(SeqCst))).await;
            if to_server.write_all(&sent[..count]).await.is_err() {
                return;
            }
            match state.step() {
                None => {}
                Some(Fault::Cut) => return,
                Some(Fault::HalfAnAnswer) => halves = true,
                Some(Fault::Silence) => std::future::pending().await,
                Some(Fault::Act(act)) => act(),
            }
        }
    }
}
