//! Independent tasks over the cores that there are.

use crate::error::Result;
#[cfg(feature = "threads")]
use crate::error::{Error, ErrorKind};

/// A pool of threads; without the `threads` feature, the caller's thread.
pub struct Threads {
    #[cfg(feature = "threads")]
    pool: rayon::ThreadPool,
}

impl Threads {
    /// `count` threads, 0 for one a core.
    ///
    /// # Errors
    /// `oom` if the system refuses to start them.
    #[cfg_attr(not(feature = "threads"), allow(unused_variables))]
    pub fn new(count: usize) -> Result<Self> {
        Ok(Self {
            #[cfg(feature = "threads")]
            pool: rayon::ThreadPoolBuilder::new().num_threads(count).build().map_err(|e| {
                Error::new(ErrorKind::OutOfMemory, format!("cannot start {count} threads: {e}"))
                    .hint("use fewer threads")
            })?,
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        #[cfg(feature = "threads")]
        return self.pool.current_num_threads();
        #[cfg(not(feature = "threads"))]
        1
    }

    /// Runs `task(state, i)` for every i in `range`; every thread makes its own states.
    pub(crate) fn each<S>(
        &self,
        range: std::ops::Range<usize>,
        state: impl Fn() -> S + Sync + Send,
        task: impl Fn(&mut S, usize) + Sync + Send,
    ) {
        #[cfg(feature = "threads")]
        if self.count() > 1 && range.len() > 1 {
            use rayon::prelude::*;
            return self.pool.install(|| range.into_par_iter().with_max_len(1).for_each_init(state, task));
        }
        let mut state = state();
        range.for_each(|i| task(&mut state, i));
    }

    /// Runs `task(i, piece)` over consecutive pieces of `len` elements.
    pub(crate) fn each_piece<T: Send>(&self, data: &mut [T], len: usize, task: impl Fn(usize, &mut [T]) + Sync + Send) {
        #[cfg(feature = "threads")]
        if self.count() > 1 && data.len() > len {
            use rayon::prelude::*;
            return self.pool.install(|| data.par_chunks_mut(len).enumerate().for_each(|(i, piece)| task(i, piece)));
        }
        data.chunks_mut(len).enumerate().for_each(|(i, piece)| task(i, piece));
    }
}
