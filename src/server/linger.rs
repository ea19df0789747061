//! What a client still sends when its request is answered already. A connection that is closed with unread input is reset, and the answer with it; so
//! the rest is read and dropped for a while.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use futures::StreamExt;
use hyper::{
    Request,
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
};
use tokio::{runtime::Handle, time::timeout};

/// For all of the rest.
const LINGER: Duration = Duration::from_secs(10);

struct Lingering {
    /// None after its end.
    body: Option<Body>,
    /// The client sends nothing before it is told to, which reading does.
    waits: bool,
}

/// The request with a body that is read to its end, whoever drops it before.
pub(super) fn linger(request: Request<Incoming>) -> Request<Body> {
    let waits = request.headers().contains_key("expect");
    request.map(|body| Body::new(Lingering { body: Some(Body::new(body)), waits }))
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.waits = false;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !self.waits && !body.is_end_stream());
        if let (Some(rest), Ok(runtime)) = (rest, Handle::try_current()) {
            let mut rest = rest.into_data_stream();
            runtime.spawn(timeout(LINGER, async move { while let Some(Ok(_)) = rest.next().await {} }));
        }
    }
}
