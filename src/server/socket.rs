//! A connection's socket with the patience that hyper leaves to others: for clients that do not read, and for those that have said all they will say.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// What a client must take of an answer in the time in which it must take something: one that takes a byte now and then holds the answer as long as it likes.
const LEAST: usize = 256 << 10;

pub(super) struct Socket<S = TcpStream> {
    stream: S,
    /// For a client to read some of what was written.
    unread: Patience,
    /// How much it took of it since.
    taken: usize,
    /// For the answer, where a client has ended its side: from here on one that waits looks like one that is gone.
    half_closed: Patience,
    /// Nothing more comes.
    ended: bool,
    /// Something was written since something was read.
    answers: bool,
    /// There is no room for what is to be written.
    full: bool,
}

struct Patience {
    time: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(time: Duration) -> Self {
        Self { time, sleep: None }
    }

    /// Whether it has come to its end since it was first asked.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let time = self.time;
        self.sleep.get_or_insert_with(|| Box::pin(sleep(time))).as_mut().poll(cx).is_ready()
    }
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S, unread: Duration, half_closed: Duration) -> Self {
        let (unread, half_closed) = (Patience::new(unread), Patience::new(half_closed));
        Self { stream, unread, taken: 0, half_closed, ended: false, answers: true, full: false }
    }

    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.full = written.is_pending();
        if let Poll::Ready(Ok(bytes)) = &written {
            self.answers = true;
            self.taken += bytes;
            if self.taken >= LEAST {
                self.relent();
            }
        }
        // It may have begun with an earlier write.
        let waited = self.full || self.unread.sleep.is_some();
        if waited && self.unread.is_over(cx) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")));
        }
        written
    }

    /// The client has done its part for now.
    fn relent(&mut self) {
        (self.unread.sleep, self.taken) = (None, 0);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ended {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            this.ended = buffer.filled().len() == before;
            if !this.ended {
                this.answers = false;
                return Poll::Ready(Ok(()));
            }
        }
        // Hyper ends a request when it hears of the end.
        let waits = this.full || !this.answers && !this.half_closed.is_over(cx);
        if waits { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, parts);
        this.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when all is written.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.relent();
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes a byte each time.
    struct Slow(Pin<Box<Sleep>>);

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            ready!(self.0.as_mut().poll(cx));
            self.0 = pause();
            Poll::Ready(Ok(1))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn pause() -> Pin<Box<Sleep>> {
        Box::pin(sleep(Duration::from_millis(10)))
    }

    async fn write(socket: &mut Socket<Slow>) -> io::Result<usize> {
        poll_fn(|cx| Pin::new(&mut *socket).poll_write(cx, &[0])).await
    }

    #[tokio::test]
    async fn a_client_that_takes_a_byte_now_and_then_is_not_waited_for() {
        let mut socket = Socket::new(Slow(pause()), Duration::from_millis(100), Duration::MAX);
        let mut written = Ok(1);
        for _ in 0..500 {
            if written.is_ok() {
                written = write(&mut socket).await;
            }
        }
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn what_a_client_took_late_does_not_count_when_all_is_written() {
        let time = Duration::from_secs(1);
        let mut socket = Socket::new(Slow(pause()), time, Duration::MAX);
        for _ in 0..2 {
            assert!(write(&mut socket).await.is_ok());
            assert!(poll_fn(|cx| Pin::new(&mut socket).poll_flush(cx)).await.is_ok());
            sleep(time + time / 10).await;
        }
    }
}
