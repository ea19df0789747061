//! Whether a request can be answered in time, and which of those that were let in must go first so that they are. Time is counted in rows of the
//! engine here. Seven eighths of the engine are promised. Whatever the usual order is, all requests end in time as long as, for each, those that are
//! due no later have no more rows left than there is room for in that part until then (the earliest due first does it: J. R. Jackson, 1955). So a request
//! is let in if that stays true, and the usual order gives up that part of a batch as soon as one more batch of it would make it untrue; what is
//! left of the batch keeps small requests from waiting meanwhile. Where the engine has become slower than it was, as many as possible end in time
//! (J. M. Moore, 1968).

use std::collections::BinaryHeap;

/// The part of the engine that is promised.
const PROMISED: (usize, usize) = (7, 8);

/// A request ends in time by the usual order if it needs no more than this part of its time: the rest is for those that come after it, and for
/// an engine that becomes slower.
const PART: (usize, usize) = (3, 4);

/// Work with a deadline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) rows: usize,
    /// Rows that can be computed until then.
    pub(super) room: usize,
}

impl Due {
    /// The part of its room that can be promised.
    fn promised(self) -> usize {
        promised(self.room)
    }
}

/// The part of so many rows that is for promises.
pub(super) fn promised(rows: usize) -> usize {
    rows / PROMISED.1 * PROMISED.0
}

/// Which of these can all end in time, after `before` rows: as many as possible, the earliest due first.
fn keepable(dues: &[Due], before: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..dues.len()).collect();
    order.sort_by_key(|&i| dues[i].room);
    let (mut sum, mut kept, mut late) = (before, BinaryHeap::new(), vec![false; dues.len()]);
    for &i in &order {
        sum += dues[i].rows;
        kept.push((dues[i].rows, i));
        if sum > dues[i].promised()
            && let Some((rows, largest)) = kept.pop()
        {
            sum -= rows;
            late[largest] = true;
        }
    }
    order.retain(|&i| !late[i]);
    order
}

/// Which of these must go now, in order, in the promised part of the next batch: a batch of other work would make one of them late.
pub(super) fn pressing(dues: &[Due], batch: usize) -> Vec<usize> {
    let mut order = keepable(dues, 0);
    let ends = order.iter().scan(0, |sum, &i| {
        *sum += dues[i].rows;
        Some(dues[i].promised() - *sum)
    });
    let last = ends.enumerate().filter(|(_, spare)| *spare < batch).last();
    order.truncate(last.map_or(0, |(place, _)| place + 1));
    order
}

/// How many rows must be computed before there is room for a new request: 0 if it can come in. `dues` are there already, `before` rows are being
/// computed, and by the usual order the new one ends after `usual` rows, its own among them.
pub(super) fn wait(new: Due, usual: usize, dues: &[Due], before: usize) -> usize {
    let part = new.room / PART.1 * PART.0;
    let (mut wait, mut sum, mut own) = (usual.saturating_sub(part), before, new.rows);
    for i in keepable(dues, before) {
        let due = dues[i];
        if own > 0 && due.room > new.room {
            wait = wait.max((sum + own).saturating_sub(new.promised()));
            (sum, own) = (sum + own, 0);
        }
        sum += due.rows;
        if sum > due.promised() {
            // Until that one has ended, or is due before the new one.
            wait = wait.max((sum - new.rows).min(due.room - new.room));
        }
    }
    if own > 0 { wait.max((sum + own).saturating_sub(new.promised())) } else { wait }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    /// Seven eighths of the room are as many rows as are promised here.
    fn due((rows, sevens): (usize, usize)) -> Due {
        Due { rows, room: 8 * sevens }
    }

    #[test]
    fn as_many_as_possible_are_kept() {
        let dues = [(350, 100), (70, 20), (420, 100), (29, 4)].map(due);
        assert_eq!(keepable(&dues, 0), [1, 0]);
        assert_eq!(keepable(&dues, 105), [0]);
        assert_eq!(keepable(&[], 5), [0; 0]);
    }

    #[test]
    fn those_go_first_that_a_batch_of_others_would_make_late() {
        let dues = [(350, 500), (70, 30), (70, 200)].map(due);
        assert_eq!(pressing(&dues, 140), [0; 0]);
        assert_eq!(pressing(&dues, 141), [1]);
        assert_eq!(pressing(&dues, 1261), [1, 2]);
    }

    #[test]
    fn who_does_not_end_in_time_by_the_usual_order_waits() {
        assert_eq!(wait(due((100, 50)), 300, &[], 0), 0);
        assert_eq!(wait(due((100, 50)), 310, &[], 0), 10);
        // The promises before it leave no room, however small it is: until the first is kept.
        let dues = [(630, 100), (350, 150)].map(due);
        assert_eq!(wait(due((70, 150)), 70, &dues, 0), 0);
        assert_eq!(wait(due((70, 149)), 70, &dues, 0), 0);
        assert_eq!(wait(due((71, 150)), 71, &dues, 0), 1);
        assert_eq!(wait(due((71, 99)), 71, &dues, 0), 8 * 51);
        assert_eq!(wait(due((71, 10)), 71, &dues, 0), 980);
        assert_eq!(wait(due((35, 150)), 70, &dues, 70), 35);
    }

    /// Requests come at random moments and the usual order is the worst there is, the latest due first: nobody who was let in is late.
    #[test]
    fn what_was_let_in_ends_in_time_whatever_the_usual_order() {
        const BATCH: usize = 40;
        let mut random = SplitMix64(11);
        let mut below = |n: usize| random.next() as usize % n;
        let (mut let_in, mut refused) = (0, 0);
        // Rows left, and when they are due.
        let (mut now, mut queue) = (0, Vec::<(usize, usize)>::new());
        for _ in 0..20_000 {
            let dues = |queue: &[(usize, usize)], now: usize| -> Vec<Due> {
                queue.iter().map(|(rows, at)| Due { rows: *rows, room: at - now }).collect()
            };
            if below(3) == 0 {
                let new = Due { rows: 1 + below(200), room: 1 + below(900) };
                if wait(new, new.rows, &dues(&queue, now), 0) == 0 {
                    queue.push((new.rows, now + new.room));
                    let_in += 1;
                } else {
                    refused += 1;
                }
            }
            let first = pressing(&dues(&queue, now), BATCH);
            let mut rest: Vec<usize> = (0..queue.len()).filter(|i| !first.contains(i)).collect();
            rest.sort_by_key(|&i| std::cmp::Reverse(queue[i].1));
            let mut left = BATCH;
            let all: Vec<usize> = rest.iter().chain(&first).copied().collect();
            for (order, least) in [(first, BATCH - promised(BATCH)), (all, 0)] {
                for i in order {
                    let rows = queue[i].0.min(left - least);
                    (queue[i].0, left) = (queue[i].0 - rows, left - rows);
                }
            }
            now += BATCH - left;
            queue.retain(|(rows, at)| {
                assert!(*rows == 0 || *at > now, "{rows} rows are late");
                *rows > 0
            });
        }
        assert!(let_in > 1000 && refused > 1000, "{let_in} {refused}");
    }
}
