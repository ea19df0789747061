//! Connections: taken until a signal comes, then ended one by one.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{ConnectInfo, State},
};
use hyper::{Request, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::mpsc, time::sleep};

use super::Api;

/// For a request's head, and between two requests of a connection.
const HEAD: Duration = Duration::from_secs(60);
/// Before the next try to take a connection, where the system has no more.
const BREATH: Duration = Duration::from_millis(100);

/// One message a signal: the first drains, the second ends at once.
pub type Signals = mpsc::Receiver<()>;

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

/// Serves connections until a signal comes and those under way have ended; true if a second signal cut them off.
pub async fn serve(listener: TcpListener, api: &Arc<Api>, mut signals: Signals) -> bool {
    let connections = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD);
    let router = api.router();
    loop {
        let (stream, peer) = tokio::select! {
            _ = signals.recv() => break,
            taken = listener.accept() => match taken {
                Ok(taken) => taken,
                Err(_) => {
                    sleep(BREATH).await; // too many open files, most likely: some will be closed
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true); // answers are sent whole
        let service = TowerToHyperService::new(router.clone().layer(Extension(ConnectInfo(peer))));
        let connection = connections.watch(http.serve_connection(TokioIo::new(stream), service));
        // A connection that breaks is its client's business.
        tokio::spawn(async move { drop(connection.await) });
    }
    drop(listener);
    api.drain();
    tokio::select! {
        () = connections.shutdown() => false,
        _ = signals.recv() => true,
    }
}
