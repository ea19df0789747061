//! Connections: taken until a signal comes, then ended one by one.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State},
};
use hyper::{Request, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc, watch},
    time::{sleep, timeout},
};

use super::{Api, linger::linger, socket::Socket};

/// Before the next try to take a connection, where the system has no more.
const BREATH: Duration = Duration::from_millis(100);
/// Of a connection: more than that waits in the system.
const BUFFER: usize = 64 << 10;
/// For the last who asked while the server ended, and for a first request that was on its way when it began to.
const LATE: Duration = Duration::from_secs(1);

/// One message a signal: the first drains, the second ends at once.
pub type Signals = mpsc::Receiver<()>;

/// How many connections there may be, and how long a client may do nothing.
#[derive(Clone, Debug)]
pub struct Limits {
    /// More wait in the system until some are closed.
    pub connections: usize,
    /// From the first signal on.
    pub drain: Duration,
    /// From a connection to its first byte.
    pub silent: Duration,
    /// From the end of an answer to the end of the next request's head, and for the first head.
    pub head: Duration,
    /// For a client to take the next 256 KiB of an answer, or the rest of it.
    pub unread: Duration,
    /// From the end of the client's side of the connection to the answer: then it counts as gone.
    pub half_closed: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            drain: Duration::from_secs(70),
            silent: Duration::from_secs(15),
            head: Duration::from_secs(75), // proxies keep connections for 60 seconds, and must be the first to close one
            unread: Duration::from_secs(30),
            half_closed: Duration::from_secs(1),
        }
    }
}

impl Api {
    /// The API as an axum router, to be part of a server of your own.
    pub fn router(self: &Arc<Self>) -> Router {
        async fn answer(State(api): State<Arc<Api>>, request: Request<Body>) -> axum::response::Response {
            let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
            api.answer(request, peer).await
        }
        Router::new().fallback(answer).with_state(self.clone())
    }
}

/// Serves connections until a signal comes and requests under way have ended. Meanwhile new ones are answered, too: the health paths tell that this
/// server is about to end, and whoever asks for scores is sent away. True if a second signal, or the time for it, cut connections off.
pub async fn serve(listener: TcpListener, api: &Arc<Api>, mut signals: Signals, limits: &Limits) -> bool {
    let slots = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let door = Door { listener, api, limits, slots };
    let (before, after) = (watch::Sender::new(false), watch::Sender::new(false));
    tokio::select! {
        _ = signals.recv() => {}
        never = door.take(&before) => match never {},
    }
    api.drain();
    before.send_replace(true);
    let cut = tokio::select! {
        () = before.closed() => false,
        () = sleep(limits.drain) => true,
        _ = signals.recv() => true,
        never = door.take(&after) => match never {},
    };
    after.send_replace(true);
    if !cut {
        let _ = timeout(LATE, after.closed()).await;
    }
    cut
}

struct Door<'a> {
    listener: TcpListener,
    api: &'a Arc<Api>,
    limits: &'a Limits,
    slots: Arc<Semaphore>,
}

impl Door<'_> {
    /// Takes connections, which end in their own time once `end` says so.
    async fn take(&self, end: &watch::Sender<bool>) -> Infallible {
        loop {
            let slot = self.slots.clone().acquire_owned().await.expect("nobody closes it");
            let Ok((stream, peer)) = self.listener.accept().await else {
                sleep(BREATH).await; // too many open files, most likely: some will be closed
                continue;
            };
            let connection = connection(stream, peer, self.api.clone(), self.limits.clone(), end.subscribe());
            tokio::spawn(async move {
                connection.await;
                drop(slot);
            });
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    api: Arc<Api>,
    limits: Limits,
    mut end: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true); // answers are sent whole
    let mut byte = [0];
    tokio::select! {
        // `readable` comes back at once for new connections, though there is nothing.
        first = timeout(limits.silent, stream.peek(&mut byte)) => if first.is_err() { return },
        () = soon_after(&mut end) => return,
    }
    let asked = AtomicBool::new(false);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let api = api.clone();
        async move { Ok::<_, Infallible>(api.answer(linger(request), Some(peer)).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(BUFFER);
    let socket = TokioIo::new(Socket::new(stream, limits.unread, limits.half_closed));
    let mut served = pin!(http.serve_connection(socket, service));
    // A connection that breaks is its client's business.
    tokio::select! {
        _ = served.as_mut() => return,
        _ = end.wait_for(|end| *end) => {}
    }
    // Hyper would wait for a first request as long as ever.
    let waits = || !asked.load(Ordering::Relaxed);
    if waits() && (timeout(LATE, served.as_mut()).await.is_ok() || waits()) {
        return;
    }
    served.as_mut().graceful_shutdown();
    let _ = served.await;
}

async fn soon_after(end: &mut watch::Receiver<bool>) {
    let _ = end.wait_for(|end| *end).await; // an error is an end, too
    sleep(LATE).await;
}
