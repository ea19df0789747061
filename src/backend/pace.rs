//! Who asks for results may stop asking, and a browser wants its thread back: long work passes through here between its pieces.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    error::{Error, Result},
    weights::{BoxFuture, MaybeSend},
};

/// Called between pieces of work that take some milliseconds each.
pub trait Pace: MaybeSend {
    /// True once the work is no longer wanted.
    fn cancelled(&self) -> bool;

    /// A future to wait for before going on, where the thread belongs to somebody else; none to go on at once.
    fn pause(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }
}

impl dyn Pace + '_ {
    /// Waits if the thread is wanted elsewhere.
    ///
    /// # Errors
    /// `aborted` once the work is no longer wanted.
    pub async fn breathe(&self) -> Result<()> {
        if let Some(pause) = self.pause() {
            pause.await;
        }
        if self.cancelled() { Err(Error::aborted()) } else { Ok(()) }
    }
}

/// Work that nobody cancels.
pub struct Free;

impl Pace for Free {
    fn cancelled(&self) -> bool {
        false
    }
}

/// A flag that any thread may raise.
#[derive(Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Stops the work at its next pause.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Pace for Cancel {
    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
