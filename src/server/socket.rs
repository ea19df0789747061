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

pub(super) struct Socket {
    stream: TcpStream,
    /// For a client to read some of what was written.
    unread: Patience,
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

impl Socket {
    pub(super) fn new(stream: TcpStream, unread: Duration, half_closed: Duration) -> Self {
        let (unread, half_closed) = (Patience::new(unread), Patience::new(half_closed));
        Self { stream, unread, half_closed, ended: false, answers: true, full: false }
    }

    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.full = written.is_pending();
        if !self.full {
            self.unread.sleep = None;
            self.answers = true;
        } else if self.unread.is_over(cx) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")));
        }
        written
    }
}

impl AsyncRead for Socket {
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

impl AsyncWrite for Socket {
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

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
