//! Standard error, written by a thread of its own: where nobody reads it, lines are lost and not answers.

use std::{
    collections::VecDeque,
    io::Write,
    sync::{Condvar, LazyLock, Mutex},
    thread,
    time::Duration,
};

use super::job::lock;

/// Bytes of lines that may wait.
const ROOM: usize = 1 << 20;

/// What is said of so many lost lines.
pub(super) type Tell = fn(u64) -> String;

/// Lines on their way to a writer.
pub(super) struct Lines {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<String>,
    bytes: usize,
    /// How many lines found no room since that was said last, and how it is said.
    lost: Option<(u64, Tell)>,
    /// What was taken out last is being written.
    writing: bool,
}

impl Lines {
    /// Lines that a thread of their own writes.
    pub(super) fn to(mut out: impl Write + Send + 'static) -> &'static Self {
        let lines: &'static Self = Box::leak(Box::new(Self { waiting: Mutex::default(), changed: Condvar::new() }));
        // Without the thread all lines are lost: there is no place where that could be told.
        let _ = thread::Builder::new().name("log".into()).spawn(move || {
            loop {
                // Nobody is told that the log cannot be written: there is no other place.
                let _ = out.write_all(lines.next().as_bytes()).and_then(|()| out.flush());
            }
        });
        lines
    }

    /// Adds a line, if there is room.
    pub(super) fn say(&self, line: String, lost: Tell) {
        let mut waiting = lock(&self.waiting);
        if waiting.bytes + line.len() > ROOM {
            waiting.lost = Some((waiting.lost.map_or(1, |(n, _)| n + 1), lost));
            return;
        }
        waiting.tell();
        waiting.add(line);
        drop(waiting);
        self.changed.notify_all();
    }

    fn next(&self) -> String {
        let mut waiting = lock(&self.waiting);
        waiting.writing = false;
        self.changed.notify_all();
        loop {
            if waiting.lines.is_empty() {
                waiting.tell();
            }
            if let Some(line) = waiting.lines.pop_front() {
                waiting.bytes -= line.len();
                waiting.writing = true;
                return line;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Waits until all is written, but no longer than that. False if it is not.
    pub(super) fn flush(&self, most: Duration) -> bool {
        let some = |w: &mut Waiting| w.writing || !w.lines.is_empty();
        self.changed.wait_timeout_while(lock(&self.waiting), most, some).is_ok_and(|(_, waited)| !waited.timed_out())
    }
}

impl Waiting {
    /// Adds what is to be said of lost lines.
    fn tell(&mut self) {
        if let Some((n, told)) = self.lost.take() {
            self.add(told(n));
        }
    }

    fn add(&mut self, mut line: String) {
        line.push('\n');
        self.bytes += line.len();
        self.lines.push_back(line);
    }
}

/// Standard error of this process.
pub(super) static STDERR: LazyLock<&'static Lines> = LazyLock::new(|| Lines::to(std::io::stderr()));

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    /// A reader that takes a write only when it is told to.
    struct Slow(mpsc::Receiver<()>, Arc<Mutex<String>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv(); // without a teller: at once
            lock(&self.1).push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stops_costs_lines_and_hears_how_many() {
        let (go, told) = mpsc::channel();
        let text = Arc::<Mutex<String>>::default();
        let lines = Lines::to(Slow(told, text.clone()));
        let lost: Tell = |n| format!("{n} lost");
        let long = "x".repeat(ROOM / 4);
        for n in 0..9 {
            lines.say(format!("{n}{long}"), lost);
        }
        assert!(!lines.flush(Duration::from_millis(1)), "nobody reads: it does not wait for that");
        assert_eq!(*lock(&text), "");
        drop(go);
        assert!(lines.flush(Duration::from_secs(60)));
        let text = lock(&text);
        let heads: Vec<&str> = text.lines().map(|l| l.trim_end_matches('x')).collect();
        // One more where the thread had taken the first line out before the room was gone.
        assert!(heads == ["0", "1", "2", "6 lost"] || heads == ["0", "1", "2", "3", "5 lost"], "{heads:?}");
    }
}
