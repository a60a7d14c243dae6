//! Connections: a bounded number of them, none that dawdles, and a graceful end.

use super::connections::{Admission, Admitted, ConnectionLimits, Connections, OpenConnection, TELL_EVERY};
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, Request, Response};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// For a request's head to arrive, counted from the end of the request before.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// For the requests that are in when the end comes.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// After a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// For a connection that was cut to give back what it had.
const ROOM_PAUSE: Duration = Duration::from_millis(2);

/// Serves until `stop`, then answers what is in.
pub async fn serve(listener: TcpListener, app: Router, limits: ConnectionLimits, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let connections = Connections::new(limits);
    let mut tell = tokio::time::interval(TELL_EVERY);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = tell.tick() => {
                tell_of_cut(&connections);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                if let Some(admitted) = room_for(&connections, address.ip(), &stop).await {
                    answer(stream, admitted, app.clone(), &graceful);
                }
            }
            Err(error) => {
                // Mostly there are no descriptors left, and a connection that waits has one.
                let pause = if connections.make_room() { ROOM_PAUSE } else { ACCEPT_PAUSE };
                if pause == ACCEPT_PAUSE {
                    warn!("a connection could not be accepted: {error}");
                }
                tokio::time::sleep(pause).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await.is_err() {
        warn!("some requests did not end in time");
    }
}

/// Waits until there is room. Meanwhile further connections wait in the system's backlog.
async fn room_for(
    connections: &Arc<Connections>,
    peer: IpAddr,
    stop: &CancellationToken,
) -> Option<Admitted> {
    loop {
        match connections.admit(peer) {
            Admission::Admitted(admitted) => return Some(admitted),
            Admission::Refused => return None,
            Admission::Full if stop.is_cancelled() => return None,
            Admission::Full => tokio::time::sleep(ROOM_PAUSE).await,
        }
    }
}

fn tell_of_cut(connections: &Connections) {
    let count = connections.cut_off();
    if count > 0 {
        warn!(connections.count = count, "too many connections: those that sent nothing were cut for others");
    }
}

fn answer(stream: TcpStream, admitted: Admitted, app: Router, graceful: &GracefulShutdown) {
    // Answers are small and one at a time: nothing is gained by waiting for more to send.
    let _ = stream.set_nodelay(true);
    let state = admitted.connection.clone();
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |request| one_request(request, state.clone(), app.clone()));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        // Who has sent all that there is may close that half, and is answered all the same.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = admitted.connection.is_cut() => debug!("a connection that waited was cut for another"),
            ended = connection => {
                if let Err(error) = ended {
                    debug!("a connection ended early: {error}");
                }
            }
        }
        drop(admitted);
    });
}

async fn one_request(
    request: Request<Incoming>,
    state: Arc<OpenConnection>,
    app: TowerToHyperService<Router>,
) -> Result<Response<Body>, Infallible> {
    let is_post = request.method() == Method::POST;
    let request = request.map(|body| Body::new(WatchedBody::new(body, state.clone())));
    let response = app.call(request).await?;
    if is_post && response.status().is_success() {
        state.has_proven_itself();
    }
    state.waits();
    Ok(response)
}

/// A body that tells its connection when it has arrived whole.
struct WatchedBody {
    body: Incoming,
    connection: Arc<OpenConnection>,
}

impl WatchedBody {
    fn new(body: Incoming, connection: Arc<OpenConnection>) -> Self {
        if body.is_end_stream() {
            connection.answers();
        }
        Self { body, connection }
    }
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None)) || self.body.is_end_stream() {
            self.connection.answers();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
