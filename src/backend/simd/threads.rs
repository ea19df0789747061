//! Independent tasks over the cores that there are.

#[cfg(feature = "threads")]
mod pool;

#[cfg(all(feature = "threads", not(target_arch = "wasm32")))]
use std::{sync::Arc, thread::JoinHandle};

use crate::error::Result;
#[cfg(all(feature = "threads", not(target_arch = "wasm32")))]
use crate::error::{Error, ErrorKind};

#[cfg(all(feature = "threads", target_arch = "wasm32", not(target_feature = "atomics")))]
compile_error!("in WebAssembly the feature `threads` needs shared memory: build it by `./build.sh build`");

/// Bytes that make a piece of work worth handing to another thread.
#[cfg(feature = "threads")]
const GRAIN: usize = 16 << 10;

/// The caller's thread and those that help it; without the `threads` feature, the caller's alone.
///
/// In WebAssembly all values share the threads that JavaScript has started (`serve`), however many models are loaded.
pub struct Threads {
    #[cfg(feature = "threads")]
    most: usize,
    #[cfg(all(feature = "threads", not(target_arch = "wasm32")))]
    pool: Arc<pool::Pool>,
    #[cfg(all(feature = "threads", not(target_arch = "wasm32")))]
    helpers: Vec<JoinHandle<()>>,
}

#[cfg(all(feature = "threads", target_arch = "wasm32"))]
static POOL: pool::Pool = pool::Pool::new();

#[cfg(not(feature = "threads"))]
impl Threads {
    /// The caller's thread, whatever `count` is.
    ///
    /// # Errors
    /// None: so that callers need not know how the crate was built.
    pub fn new(_count: usize) -> Result<Self> {
        Ok(Self {})
    }

    /// How many there are: one.
    pub fn count(&self) -> usize {
        1
    }
}

#[cfg(all(feature = "threads", not(target_arch = "wasm32")))]
impl Threads {
    /// `count` threads with the caller's, 0 for one a core.
    ///
    /// # Errors
    /// `oom` if the system refuses to start them.
    pub fn new(count: usize) -> Result<Self> {
        let most = if count == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { count };
        let mut threads = Self { most, pool: Arc::new(pool::Pool::new()), helpers: Vec::new() };
        for n in 1..most {
            let (pool, (here, there)) = (threads.pool.clone(), std::sync::mpsc::channel());
            let serve = move || {
                let member = pool.join();
                // Nobody listens if the thread came too late to be waited for.
                let _ = here.send(());
                member.serve();
            };
            let helper = std::thread::Builder::new().name(format!("edge-reranker {n}")).spawn(serve).map_err(|e| {
                Error::new(ErrorKind::OutOfMemory, format!("cannot start {most} threads: {e}"))
                    .hint("use fewer threads")
            })?;
            threads.helpers.push(helper);
            let _ = there.recv();
        }
        Ok(threads)
    }

    fn pool(&self) -> &pool::Pool {
        &self.pool
    }
}

#[cfg(all(feature = "threads", not(target_arch = "wasm32")))]
impl Drop for Threads {
    fn drop(&mut self) {
        self.pool.end();
        for helper in self.helpers.drain(..) {
            // A thread's panic has been passed on to the caller of its loop.
            let _ = helper.join();
        }
    }
}

#[cfg(all(feature = "threads", target_arch = "wasm32"))]
impl Threads {
    /// At most `count` threads with the caller's, 0 for all that JavaScript starts.
    ///
    /// # Errors
    /// None: so that callers need not know how the crate was built.
    pub fn new(count: usize) -> Result<Self> {
        Ok(Self { most: if count == 0 { usize::MAX } else { count } })
    }

    fn pool(&self) -> &'static pool::Pool {
        &POOL
    }

    /// Makes the calling thread one of the helpers, until an `end` that comes after `joined` is called.
    pub(crate) fn serve(joined: impl FnOnce()) {
        let member = POOL.join();
        joined();
        member.serve();
    }

    /// Ends all helpers.
    pub(crate) fn end() {
        POOL.end();
    }

    /// Says that a helper trapped, so that whoever waits for it traps too.
    pub(crate) fn fail() {
        POOL.fail();
    }
}

#[cfg(feature = "threads")]
impl Threads {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.most.min(1 + self.pool().threads())
    }

    /// Runs `task(from..to)` over `0..len`, at most `step` at a time; `task` runs once for every thread, and calls for its share.
    fn share(&self, len: usize, step: usize, task: impl Fn(&mut dyn FnMut() -> Option<std::ops::Range<usize>>) + Sync) {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            task(&mut || {
                let from = next.fetch_add(step, std::sync::atomic::Ordering::Relaxed);
                (from < len).then(|| from..len.min(from + step))
            });
        };
        match (self.count() - 1).min(len.div_ceil(step).saturating_sub(1)) {
            0 => work(),
            helpers => self.pool().run(helpers, &work),
        }
    }
}

impl Threads {
    /// Runs `task(state, i)` for every i in `range`; every thread makes its own states.
    #[cfg(feature = "threads")]
    pub(crate) fn each<S>(
        &self,
        range: std::ops::Range<usize>,
        state: impl Fn() -> S + Sync + Send,
        task: impl Fn(&mut S, usize) + Sync + Send,
    ) {
        self.share(range.len(), 1, |take| {
            let Some(first) = take() else { return };
            let mut state = state();
            let mut some = Some(first);
            while let Some(own) = some {
                own.for_each(|i| task(&mut state, range.start + i));
                some = take();
            }
        });
    }

    /// Runs `task(i, piece)` over consecutive pieces of `len` elements. Small pieces are handed out several at a time, but not those of one
    /// element, which are places for results.
    #[cfg(feature = "threads")]
    pub(crate) fn each_piece<T: Send>(&self, data: &mut [T], len: usize, task: impl Fn(usize, &mut [T]) + Sync + Send) {
        struct Start<T>(*mut T);
        // SAFETY: a pointer into `data`, which is borrowed exclusively; every element is reached by one thread only.
        unsafe impl<T: Send> Sync for Start<T> {}
        let (start, all) = (&Start(data.as_mut_ptr()), data.len());
        let step = if len == 1 { 1 } else { (GRAIN / (len * size_of::<T>())).max(1) };
        self.share(all.div_ceil(len), step, |take| {
            while let Some(pieces) = take() {
                for i in pieces {
                    let (from, to) = (i * len, all.min((i + 1) * len));
                    // SAFETY: inside `data`, and piece i is handed out once.
                    task(i, unsafe { std::slice::from_raw_parts_mut(start.0.add(from), to - from) });
                }
            }
        });
    }

    /// Runs `task(state, i)` for every i in `range`.
    #[cfg(not(feature = "threads"))]
    pub(crate) fn each<S>(
        &self,
        range: std::ops::Range<usize>,
        state: impl Fn() -> S + Sync + Send,
        task: impl Fn(&mut S, usize) + Sync + Send,
    ) {
        let mut state = state();
        range.for_each(|i| task(&mut state, i));
    }

    /// Runs `task(i, piece)` over consecutive pieces of `len` elements.
    #[cfg(not(feature = "threads"))]
    pub(crate) fn each_piece<T: Send>(&self, data: &mut [T], len: usize, task: impl Fn(usize, &mut [T]) + Sync + Send) {
        data.chunks_mut(len).enumerate().for_each(|(i, piece)| task(i, piece));
    }
}

#[cfg(all(test, feature = "threads"))]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        time::{Duration, Instant},
    };

    use super::Threads;

    fn run(threads: &Threads, len: usize, task: impl Fn(usize) + Sync + Send) {
        threads.each(0..len, || (), |(), i| task(i));
    }

    /// Every element is reached once, in loops of every length, with pauses in which the threads fall asleep.
    #[test]
    fn every_task_runs_once() {
        for count in [1, 2, 5] {
            let threads = Threads::new(count).unwrap();
            assert_eq!(threads.count(), count);
            for round in 0..2000 {
                let len = round % 37;
                let seen: Vec<AtomicUsize> = (0..len).map(|_| AtomicUsize::new(0)).collect();
                run(&threads, len, |i| {
                    seen[i].fetch_add(1, SeqCst);
                });
                assert!(seen.iter().all(|n| n.load(SeqCst) == 1), "{count} threads, {len} tasks");
                if round % 400 == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            let mut data = vec![0.0; 100_001];
            threads.each_piece(&mut data, 10, |i, piece| piece.iter_mut().for_each(|x| *x += i as f32));
            assert!(data.iter().enumerate().all(|(at, &x)| x == (at / 10) as f32));
        }
    }

    #[test]
    fn others_help() {
        let threads = Threads::new(4).unwrap();
        let all = AtomicUsize::new(0);
        let until = Instant::now() + Duration::from_secs(20);
        run(&threads, 4, |_| {
            all.fetch_add(1, SeqCst);
            while all.load(SeqCst) < 4 && Instant::now() < until {
                std::thread::yield_now();
            }
        });
        assert!(Instant::now() < until, "four tasks at once on four threads");
    }

    #[test]
    fn loops_in_loops_and_of_several_callers_end() {
        let threads = Threads::new(3).unwrap();
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..300 {
                        run(&threads, 8, |i| {
                            run(&threads, 2, |j| {
                                sum.fetch_add(i * 2 + j, SeqCst);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(sum.load(SeqCst), 3 * 300 * 120);
    }

    /// Also where the caller's own share panics.
    #[test]
    fn a_loop_after_one_in_which_all_panicked_is_sound() {
        let threads = Threads::new(3).unwrap();
        for _ in 0..20 {
            let all = || {
                run(&threads, 30, |i| {
                    std::thread::sleep(Duration::from_micros(50));
                    panic!("task {i}");
                });
            };
            assert!(catch_unwind(AssertUnwindSafe(all)).is_err());
            run(&threads, 30, |_| {});
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_threads_go_on() {
        let threads = Threads::new(3).unwrap();
        for bad in 0..20 {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                run(&threads, 20, |i| {
                    std::thread::sleep(Duration::from_micros(50));
                    assert_ne!(i, bad, "the bad one");
                });
            }));
            assert!(caught.is_err());
        }
        let count = AtomicUsize::new(0);
        run(&threads, 20, |_| {
            count.fetch_add(1, SeqCst);
        });
        assert_eq!(count.load(SeqCst), 20);
    }
}
