//! How fast the engine is, by its latest batches.

use std::time::{Duration, Instant};

/// Seconds of computing after which a batch counts for half.
const HALF: f64 = 10.0;

/// Rows and the seconds that they took, the older ones for less.
#[derive(Default)]
pub(super) struct Speed {
    rows: f64,
    seconds: f64,
}

impl Speed {
    /// A batch of so many rows took so long. A queue is computed in `full` batches: the others, which take longer by the row, count only where even
    /// they were faster than what is known.
    pub(super) fn learn(&mut self, rows: usize, full: bool, took: Duration) {
        let (rows, seconds) = (rows as f64, took.as_secs_f64());
        if full || self.per_second().is_some_and(|known| rows > known * seconds) {
            let fade = (-seconds / HALF).exp2();
            (self.rows, self.seconds) = (self.rows * fade + rows, self.seconds * fade + seconds);
        }
    }

    /// Rows a second, once they are known.
    fn per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.rows / self.seconds)
    }

    /// How many rows can be computed from now until then.
    pub(super) fn room(&self, now: Instant, then: Instant) -> Option<usize> {
        Some((self.per_second()? * then.saturating_duration_since(now).as_secs_f64()) as usize)
    }

    /// Seconds for so many rows.
    pub(super) fn seconds(&self, rows: usize) -> Option<f64> {
        Some(rows as f64 / self.per_second()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_latest_full_batches() {
        let mut speed = Speed::default();
        let now = Instant::now();
        let room = |speed: &Speed| speed.room(now, now + Duration::from_secs(10));
        speed.learn(100, false, Duration::from_secs(1));
        assert_eq!((room(&speed), speed.seconds(5)), (None, None), "a small batch says nothing of a queue");
        speed.learn(1000, true, Duration::from_secs(1));
        assert_eq!((room(&speed), speed.seconds(500)), (Some(10_000), Some(0.5)));
        speed.learn(900, false, Duration::from_secs(1));
        assert_eq!(room(&speed), Some(10_000));
        for _ in 0..100 {
            speed.learn(2000, true, Duration::from_secs(1));
        }
        assert!(room(&speed).is_some_and(|rows| (19_980..=20_000).contains(&rows)));
        speed.learn(200_000, false, Duration::from_secs(1));
        assert!(room(&speed).is_some_and(|rows| rows > 20_000), "what is faster is believed at once");
        assert_eq!(speed.room(now, now), Some(0));
        assert_eq!(speed.room(now + Duration::from_secs(1), now), Some(0));
    }
}
