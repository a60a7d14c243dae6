//! A TCP proxy that can fall silent: what runs through it then hangs without a sign, as behind a failover or a network that
//! drops everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct Proxy {
    pub address: String,
    /// Connections of earlier generations carry nothing any more.
    generation: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let generation = Arc::new(AtomicU64::new(0));
        let (target, now) = (target.to_owned(), generation.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&target).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let (mine, now) = (now.load(SeqCst), now.clone());
                tokio::spawn(carry(from_client, to_server, mine, now.clone()));
                tokio::spawn(carry(from_server, to_client, mine, now));
            }
        });
        Self { address, generation }
    }

    /// What is connected now hears nothing any more, and is not closed. New connections work.
    pub fn silence(&self) {
        self.generation.fetch_add(1, SeqCst);
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mine: u64,
    now: Arc<AtomicU64>,
) {
    let mut bytes = [0; 16 * 1024];
    loop {
        match from.read(&mut bytes).await {
            Ok(count) if now.load(SeqCst) == mine => {
                if count == 0 || to.write_all(&bytes[..count]).await.is_err() {
                    return;
                }
            }
            Ok(_) => std::future::pending().await,
            Err(_) => return,
        }
    }
}
