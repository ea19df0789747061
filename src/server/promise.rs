//! Whether a request can be answered in time, and which of those that were let in must go first so that they are. Time is counted in rows of the
//! engine here. Whatever the usual order is, all requests end in time as long as, for each, those that are due no later have no more rows left than
//! there is room for until then (the earliest due first does it: J. R. Jackson, 1955). So a request is let in if that stays true, and the usual order
//! gives way as soon as one more batch of it would make it untrue. Where the engine has become slower than it was, as many as possible
//! end in time (J. M. Moore, 1968).

use std::collections::BinaryHeap;

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

/// Which of these can all end in time, after `before` rows: as many as possible, the earliest due first.
fn keepable(dues: &[Due], before: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..dues.len()).collect();
    order.sort_by_key(|&i| dues[i].room);
    let (mut sum, mut kept, mut late) = (before, BinaryHeap::new(), vec![false; dues.len()]);
    for &i in &order {
        sum += dues[i].rows;
        kept.push((dues[i].rows, i));
        if sum > dues[i].room
            && let Some((rows, largest)) = kept.pop()
        {
            sum -= rows;
            late[largest] = true;
        }
    }
    order.retain(|&i| !late[i]);
    order
}

/// Which of these must go now, in order: a batch of so many rows of other work would make one of them late.
pub(super) fn pressing(dues: &[Due], batch: usize) -> Vec<usize> {
    let mut order = keepable(dues, 0);
    let ends = order.iter().scan(0, |sum, &i| {
        *sum += dues[i].rows;
        Some(dues[i].room - *sum)
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
            wait = wait.max((sum + own).saturating_sub(new.room));
            (sum, own) = (sum + own, 0);
        }
        sum += due.rows;
        if sum > due.room {
            // Until that one has ended, or is due before the new one.
            wait = wait.max((sum - new.rows).min(due.room - new.room));
        }
    }
    if own > 0 { wait.max((sum + own).saturating_sub(new.room)) } else { wait }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn due((rows, room): (usize, usize)) -> Due {
        Due { rows, room }
    }

    #[test]
    fn as_many_as_possible_are_kept() {
        let dues = [(50, 100), (10, 20), (60, 100), (5, 4)].map(due);
        assert_eq!(keepable(&dues, 0), [1, 0]);
        assert_eq!(keepable(&dues, 15), [0]);
        assert_eq!(keepable(&[], 5), [0; 0]);
    }

    #[test]
    fn those_go_first_that_a_batch_of_others_would_make_late() {
        let dues = [(50, 500), (10, 30), (10, 200)].map(due);
        assert_eq!(pressing(&dues, 20), [0; 0]);
        assert_eq!(pressing(&dues, 21), [1]);
        assert_eq!(pressing(&dues, 181), [1, 2]);
    }

    #[test]
    fn who_does_not_end_in_time_by_the_usual_order_waits() {
        assert_eq!(wait(due((100, 400)), 300, &[], 0), 0);
        assert_eq!(wait(due((100, 400)), 310, &[], 0), 10);
        // The promises before it leave no room, however small it is: until the first is kept.
        let dues = [(90, 100), (50, 150)].map(due);
        assert_eq!(wait(due((10, 150)), 10, &dues, 0), 0);
        assert_eq!(wait(due((10, 149)), 10, &dues, 0), 0);
        assert_eq!(wait(due((11, 150)), 10, &dues, 0), 1);
        assert_eq!(wait(due((11, 99)), 11, &dues, 0), 51);
        assert_eq!(wait(due((11, 60)), 11, &dues, 0), 90);
        assert_eq!(wait(due((5, 150)), 10, &dues, 10), 5);
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
                queue.iter().map(|(rows, at)| due((*rows, at - now))).collect()
            };
            if below(3) == 0 {
                let new = due((1 + below(200), 1 + below(900)));
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
            for i in first.into_iter().chain(rest) {
                let rows = queue[i].0.min(left);
                (queue[i].0, left) = (queue[i].0 - rows, left - rows);
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
