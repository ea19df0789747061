//! Threads that wait for parallel loops.
//!
//! A forward pass is a stream of short loops, many of them tens of microseconds long. So the caller begins at once, whoever is awake joins, and the
//! caller never waits for a thread that has not joined: a thread that the system runs late costs nothing. Threads that are out of work look
//! out for the next loop for a moment before they sleep.

use std::{
    any::Any,
    cell::UnsafeCell,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
};

/// What every thread of a loop runs: it takes tasks until there are none.
type Work<'a> = dyn Fn() + Sync + 'a;

/// Looks at the gate before a thread sleeps: some tens of microseconds. A native look includes the processor's pause; WebAssembly has none.
const LOOKS: u32 = if cfg!(target_arch = "wasm32") { 20_000 } else { 1_000 };

// The gate's parts, from the lowest bit: threads inside, seats that are free, whether it is open, and the number of the loop.
const INSIDE: u64 = 1;
const ALL_INSIDE: u64 = 0xffff;
const SEAT: u64 = 1 << 16;
const ALL_SEATS: u64 = 0x7fff << 16;
const OPEN: u64 = 1 << 31;
const LOOP: u64 = 1 << 32;

/// The most threads a loop takes beside its caller.
const MOST_SEATS: usize = (ALL_SEATS / SEAT) as usize;

pub(super) struct Pool {
    gate: AtomicU64,
    /// The loop's work while the gate is open or a thread is inside.
    work: UnsafeCell<Option<*const Work<'static>>>,
    /// Held by the caller whose loop it is.
    caller: Mutex<()>,
    threads: AtomicUsize,
    /// Raised to end all threads of the present life.
    life: AtomicU32,
    /// Guards nothing: what is waited for are atomics, which change before it is taken.
    lock: Mutex<()>,
    sleepers: AtomicUsize,
    wake: Condvar,
    caller_sleeps: AtomicBool,
    all_left: Condvar,
    panicked: Mutex<Option<Box<dyn Any + Send>>>,
    /// A thread stopped inside a loop without unwinding.
    failed: AtomicBool,
}

// SAFETY: `work` is written only by the holder of `caller` while the gate is closed and nobody is inside, and read only
// by threads that came in through the gate. It points to something `Sync`.
unsafe impl Sync for Pool {}
// SAFETY: as above; all else is `Send`.
unsafe impl Send for Pool {}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    pub(super) const fn new() -> Self {
        Self {
            gate: AtomicU64::new(0),
            work: UnsafeCell::new(None),
            caller: Mutex::new(()),
            threads: AtomicUsize::new(0),
            life: AtomicU32::new(0),
            lock: Mutex::new(()),
            sleepers: AtomicUsize::new(0),
            wake: Condvar::new(),
            caller_sleeps: AtomicBool::new(false),
            all_left: Condvar::new(),
            panicked: Mutex::new(None),
            failed: AtomicBool::new(false),
        }
    }

    /// Threads that serve.
    pub(super) fn threads(&self) -> usize {
        self.threads.load(SeqCst)
    }

    /// Counts a thread that is about to serve.
    pub(super) fn join(&self) -> Member<'_> {
        self.threads.fetch_add(1, SeqCst);
        Member { pool: self, life: self.life.load(SeqCst) }
    }

    /// Ends all threads.
    pub(super) fn end(&self) {
        self.life.fetch_add(1, SeqCst);
        let _held = held(&self.lock);
        self.wake.notify_all();
    }

    /// To be told when a thread died inside a loop: its caller then panics, since it would wait for ever.
    #[cfg(target_arch = "wasm32")]
    pub(super) fn fail(&self) {
        self.failed.store(true, SeqCst);
        let _held = held(&self.lock);
        self.all_left.notify_all();
    }

    /// Runs `work` on this thread and on at most `seats` others. A loop inside a loop, or of a second caller, runs on its caller alone.
    pub(super) fn run(&self, seats: usize, work: &Work<'_>) {
        let _turn = match self.caller.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return work(),
        };
        // Of a loop whose caller panicked too, and did not come to take it.
        held(&self.panicked).take();
        // SAFETY: only the lifetime changes, and `Closing` outlasts every use: it waits until nobody is inside.
        let work_for_all = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        // SAFETY: we hold `caller`, and the last loop left the gate closed and nobody inside.
        unsafe { *self.work.get() = Some(work_for_all) };
        let seats = seats.min(MOST_SEATS);
        let number = (self.gate.load(SeqCst) / LOOP + 1) % (u64::MAX / LOOP);
        self.gate.store(number * LOOP + OPEN + seats as u64 * SEAT, SeqCst);
        let closing = Closing(self);
        self.rouse(seats);
        work();
        drop(closing);
        if let Some(panic) = held(&self.panicked).take() {
            resume_unwind(panic);
        }
    }

    /// Wakes as many as there are seats that nobody awake will take.
    fn rouse(&self, seats: usize) {
        let asleep = self.sleepers.load(SeqCst);
        if asleep == 0 {
            return;
        }
        let awake = self.threads().saturating_sub(asleep);
        let wanted = seats.saturating_sub(awake).min(asleep);
        if wanted > 0 {
            let _held = held(&self.lock);
            (0..wanted).for_each(|_| self.wake.notify_one());
        }
    }

    /// Waits until every thread of the loop has left.
    fn close(&self) {
        self.gate.fetch_and(!OPEN, SeqCst);
        let busy = || self.gate.load(SeqCst) & ALL_INSIDE != 0 && !self.failed.load(SeqCst);
        for _ in 0..LOOKS {
            if !busy() {
                return;
            }
            std::hint::spin_loop();
        }
        self.caller_sleeps.store(true, SeqCst);
        let mut lock = held(&self.lock);
        while busy() {
            lock = self.all_left.wait(lock).unwrap_or_else(PoisonError::into_inner);
        }
        self.caller_sleeps.store(false, SeqCst);
    }
}

/// Closes the gate of a loop, also where the caller's own share of it panics.
struct Closing<'a>(&'a Pool);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
        assert!(!self.0.failed.load(SeqCst), "a thread of the engine stopped in the middle of its work");
    }
}

/// A thread of the pool.
pub(super) struct Member<'a> {
    pool: &'a Pool,
    life: u32,
}

impl Member<'_> {
    /// Takes part in loops until the pool ends.
    pub(super) fn serve(&self) {
        let mut last = 0;
        'life: loop {
            for _ in 0..LOOKS {
                if self.ended() {
                    return;
                }
                if self.enter(&mut last) {
                    self.work();
                    continue 'life;
                }
                std::hint::spin_loop();
            }
            let lock = held(&self.pool.lock);
            self.pool.sleepers.fetch_add(1, SeqCst);
            // Whoever opens the gate from now on sees us asleep.
            let entered = self.enter(&mut last);
            if !entered && !self.ended() {
                drop(self.pool.wake.wait(lock));
            } else {
                drop(lock);
            }
            self.pool.sleepers.fetch_sub(1, SeqCst);
            if entered {
                self.work();
            }
        }
    }

    fn ended(&self) -> bool {
        self.pool.life.load(SeqCst) != self.life
    }

    /// Takes a seat in a loop that is not the `last` one.
    fn enter(&self, last: &mut u64) -> bool {
        let mut gate = self.pool.gate.load(SeqCst);
        while gate & OPEN != 0 && gate & ALL_SEATS != 0 && gate / LOOP != *last {
            match self.pool.gate.compare_exchange_weak(gate, gate - SEAT + INSIDE, SeqCst, SeqCst) {
                Ok(_) => {
                    *last = gate / LOOP;
                    return true;
                }
                Err(now) => gate = now,
            }
        }
        false
    }

    fn work(&self) {
        let pool = self.pool;
        // SAFETY: we are inside, so the caller waits for us before its work goes out of scope.
        let work = unsafe { &*(*pool.work.get()).expect("an open gate has work behind it") };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            held(&pool.panicked).get_or_insert(panic);
        }
        let gate = pool.gate.fetch_sub(INSIDE, SeqCst);
        if gate & (OPEN | ALL_INSIDE) == INSIDE && pool.caller_sleeps.load(SeqCst) {
            let _held = held(&pool.lock);
            pool.all_left.notify_all();
        }
    }
}

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.pool.threads.fetch_sub(1, SeqCst);
    }
}
