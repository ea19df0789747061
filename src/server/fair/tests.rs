use std::{
    ops::Range,
    sync::Mutex,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    backend::Pace,
    error::Result,
    model::Logits,
    random::SplitMix64,
    rerank::{Part, Prompts},
    server::{
        engine::{EngineInfo, Spell},
        job::{Counts, Ticket},
    },
};

/// Only says how many rows a batch has.
pub(in crate::server) struct Rows(pub(in crate::server) usize);

impl Engine for Rows {
    fn info(&self) -> EngineInfo {
        unreachable!("nobody asks")
    }
    fn spell(&self, _: &Spell, _: &dyn Pace) -> Result<Prompts> {
        unreachable!("nobody asks")
    }
    fn rows(&self, _: usize) -> usize {
        self.0
    }
    fn knows(&self, shared: &[u32]) -> bool {
        shared == [7]
    }
    fn score(&self, _: &[Part<'_>], _: &dyn Pace) -> Result<Vec<Vec<Logits>>> {
        unreachable!("nobody asks")
    }
}

/// A job of documents of such lengths behind a prefix.
fn job(shared: &[u32], lengths: &[usize]) -> Arc<Job> {
    job_until(None, shared, lengths)
}

fn job_until(due: Option<Instant>, shared: &[u32], lengths: &[usize]) -> Arc<Job> {
    let counts = Arc::new(Mutex::new(Counts::default()));
    let own: Vec<Vec<u32>> = lengths.iter().map(|n| vec![0; *n]).collect();
    let prompts = Prompts { shared: shared.to_vec(), truncated: vec![false; own.len()], own };
    Job::new(vec![prompts], due, Ticket::draw(&counts, 9).unwrap(), Box::new(|_, _, _| {})).0
}

fn taken(fair: &mut Fair, rows: usize, jobs: &[Arc<Job>]) -> Vec<(usize, Range<usize>)> {
    let place = |share: &Share| jobs.iter().position(|j| Arc::ptr_eq(j, &share.job)).unwrap();
    fair.take(&Rows(rows), None, |_| None).into_iter().map(|s| (place(&s), s.documents)).collect()
}

#[test]
fn clients_get_equal_parts_of_a_batch() {
    let jobs = [job(&[1], &[128; 1000]), job(&[2], &[128; 5]), job(&[3], &[64; 1000])];
    let mut fair = Fair::default();
    for (client, job) in ["a", "b", "c"].iter().zip(&jobs) {
        fair.push(client, job.clone());
    }
    // A turn is 384 rows: two documents of a and b, whose prefix counts, and five of c. Three more of a; then two of b fill the batch.
    assert_eq!(taken(&mut fair, 3 * 512, &jobs), [(0, 0..5), (1, 0..4), (2, 0..5)]);
}

#[test]
fn who_comes_anew_is_asked_first_but_not_for_more_than_half_of_a_batch() {
    let mut jobs = vec![job(&[], &[10; 1000]), job(&[], &[10; 1000])];
    let mut fair = Fair::default();
    fair.push("a", jobs[0].clone());
    fair.push("b", jobs[1].clone());
    taken(&mut fair, 100, &jobs);
    for n in 0..9 {
        jobs.push(job(&[], &[10]));
        fair.push(&format!("new {n}"), jobs[2 + n].clone());
    }
    let second = taken(&mut fair, 100, &jobs);
    let (new, old): (Vec<_>, Vec<_>) = second.iter().partition(|(j, _)| *j >= 2);
    assert_eq!(new.iter().map(|(j, _)| *j).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
    assert_eq!(old.iter().map(|(_, documents)| documents.len()).sum::<usize>(), 5);
    let third = taken(&mut fair, 100, &jobs);
    assert_eq!(third.iter().map(|(j, _)| *j).take(4).collect::<Vec<_>>(), [7, 8, 9, 10]);
}

/// In which batch each job ended.
fn ends(fair: &mut Fair, rows: usize, jobs: &[Arc<Job>]) -> Vec<usize> {
    let (mut left, mut ends) = (jobs.iter().map(|j| j.groups[0].own.len()).collect::<Vec<_>>(), vec![0; jobs.len()]);
    for batch in 0.. {
        let taken = taken(fair, rows, jobs);
        if taken.is_empty() {
            break;
        }
        for (j, documents) in taken {
            left[j] -= documents.len();
            ends[j] = batch;
        }
    }
    assert!(left.iter().all(|n| *n == 0), "{left:?}");
    ends
}

#[test]
fn the_requests_of_one_client_end_one_after_the_other_and_small_ones_first() {
    let mut jobs: Vec<_> = (0..10).map(|_| job(&[], &[100; 1000])).collect();
    jobs.extend([job(&[], &[100; 3]), job(&[], &[100; 3])]);
    let mut fair = Fair::default();
    jobs.iter().for_each(|job| fair.push("a", job.clone()));
    assert_eq!(ends(&mut fair, 10_000, &jobs), [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 0, 0]);
}

#[test]
fn small_requests_pass_a_large_one_however_far_it_has_come() {
    let large = job(&[], &[100; 100]);
    let mut fair = Fair::default();
    fair.push("a", large);
    for _ in 0..24 {
        fair.take(&Rows(200), None, |_| None);
        let small = job(&[], &[100]);
        fair.push("a", small.clone());
        let shares = fair.take(&Rows(200), None, |_| None);
        assert!(shares.iter().any(|share| Arc::ptr_eq(&share.job, &small)), "{} rows are left", fair.rows());
    }
}

/// In each batch there is room for the small one that has just come, and for as much of the four large ones: these are passed by three quarters of
/// what they need, one after the other.
#[test]
fn small_requests_pass_each_of_several_large_ones() {
    let large = [9, 10, 10, 12].map(|documents| job(&[], &vec![100; 10 * documents]));
    let mut fair = Fair::default();
    large.iter().for_each(|job| fair.push("a", job.clone()));
    let mut order = Vec::new();
    while fair.rows() > fair.computing {
        let small = job(&[], &[150]);
        fair.push("a", small.clone());
        let shares = fair.take(&Rows(350), None, |_| None);
        assert!(shares.iter().any(|share| Arc::ptr_eq(&share.job, &small)), "{} rows are left", fair.rows());
        order.extend(large.iter().position(|job| shares.iter().any(|share| Arc::ptr_eq(&share.job, job))));
    }
    order.dedup();
    assert_eq!(order, [0, 1, 2, 3]);
}

/// Small ones that come without end, and as much as there is room for: each large one ends after twice what it needs, and they wait for one at most.
#[test]
fn large_and_small_requests_without_end_share_alike() {
    let large: Vec<_> = (0..4).map(|_| job(&[], &[100; 100])).collect();
    let mut fair = Fair::default();
    large.iter().for_each(|job| fair.push("a", job.clone()));
    let of_large = |_| {
        fair.push("a", job(&[], &[100]));
        let shares = fair.take(&Rows(100), None, |_| None);
        large.iter().any(|job| Arc::ptr_eq(job, &shares[0].job))
    };
    let turns: Vec<bool> = (0..800).map(of_large).collect();
    for two in turns.chunks(200) {
        assert_eq!(two.iter().filter(|large| **large).count(), 100);
    }
}

#[test]
fn a_large_request_is_passed_only_by_as_much_as_it_needs() {
    let mut fair = Fair::default();
    let large = job(&[], &[100; 10]);
    fair.push("a", large.clone());
    let passed = (0..).take_while(|_| {
        fair.push("a", job(&[], &[100]));
        let shares = fair.take(&Rows(100), None, |_| None);
        !shares.iter().any(|share| Arc::ptr_eq(&share.job, &large))
    });
    assert_eq!(passed.count(), 10);
}

#[test]
fn who_would_be_late_goes_first_whoever_has_a_turn() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    // A row takes a millisecond. What is due last came first, and is the smallest.
    let room = |now: Instant| move |job: &Job| Some(job.due?.saturating_duration_since(now).as_millis() as usize);
    let small = job_until(Some(at(5000)), &[], &[10; 20]);
    let tight = job_until(Some(at(1400)), &[], &[10; 100]);
    let other = job(&[], &[10; 1000]);
    let mut fair = Fair::default();
    fair.push("a", small.clone());
    fair.push("a", tight.clone());
    fair.push("b", other.clone());
    let mut order = Vec::new();
    for now in (0..2000).step_by(200) {
        for share in fair.take(&Rows(200), None, room(at(now))) {
            let one = [&small, &tight, &other].iter().position(|j| Arc::ptr_eq(j, &share.job)).unwrap();
            order.push((now, one, share.documents.len()));
        }
    }
    // Turns as usual for 200 rows: 225 could be spared, after that less than 200 could.
    let tight: Vec<_> = order.iter().filter(|(_, one, _)| *one == 1).collect();
    assert!(tight.iter().all(|(now, ..)| *now < 1400), "{order:?}");
    assert_eq!(tight.iter().map(|(.., n)| n).sum::<usize>(), 100, "{order:?}");
    assert!((200..1400).step_by(200).all(|t| order.iter().any(|(now, one, _)| *now == t && *one != 1)), "{order:?}");
    // What the promise took from b's part is b's afterwards.
    let late: Vec<_> = order.iter().filter(|(now, ..)| *now >= 1400).collect();
    assert!(late.iter().all(|(_, one, n)| (*one, *n) == (2, 20)), "{order:?}");
}

#[test]
fn how_long_another_one_would_have_to_wait() {
    let at = |seconds| Some(Instant::now() + Duration::from_secs(seconds));
    // A row takes a second; every job has 1,200, of which 1,050 are promised.
    let room = |job: &Job| job.due.map(|_| 1200);
    let new = |rows, room| Due { rows, room };
    let mut fair = Fair::default();
    assert_eq!(fair.wait("a", new(902, 1000), room), 0, "nobody else is there");
    fair.push("a", job_until(at(1000), &[1, 2], &[100; 4]));
    assert_eq!(fair.rows(), 402);
    assert_eq!(fair.wait("a", new(902, 1000), room), 902 + 402 - 750);
    assert_eq!(fair.wait("b", new(902, 1000), room), 902 + 402 - 750);
    // 200 rows go before those of its own client, 201 are about as many, and another client has as many at most.
    assert_eq!(fair.wait("a", new(200, 400), room), 0);
    assert_eq!(fair.wait("a", new(201, 400), room), 201 + 402 - 300);
    fair.push("b", job_until(at(1000), &[], &[100; 3]));
    assert_eq!(fair.wait("a", new(200, 400), room), 400 - 300);
    assert_eq!(fair.wait("c", new(200, 400), room), 600 - 300);
    // What is being computed is not done yet.
    fair.take(&Rows(102), None, room);
    assert_eq!((fair.rows(), fair.computing), (702, 100));
    fair.take(&Rows(1000), None, room);
    assert!(fair.take(&Rows(1000), None, room).is_empty());
    assert_eq!((fair.rows(), fair.wait("a", new(902, 1000), room)), (0, 0));
}

#[test]
fn a_long_document_does_not_wait_for_ever_for_short_ones() {
    let jobs = [job(&[], &[10; 1000]), job(&[], &[900]), job(&[], &[10; 1000])];
    let mut fair = Fair::default();
    for (client, job) in ["a", "b", "c"].iter().zip(&jobs) {
        fair.push(client, job.clone());
    }
    // It takes four turns' rows, and so four batches at most, whatever fits beside the others.
    let batches: Vec<_> = (0..4).map(|_| taken(&mut fair, 1000, &jobs)).collect();
    assert!(!batches[0].iter().any(|(j, _)| *j == 1), "{batches:?}");
    assert!(batches.iter().flatten().any(|(j, _)| *j == 1), "{batches:?}");
}

#[test]
fn a_document_over_the_budget_goes_alone_and_a_known_prefix_is_free() {
    let jobs = [job(&[7], &[5, 2000, 5])];
    let mut fair = Fair::default();
    fair.push("a", jobs[0].clone());
    let batches: Vec<_> = (0..4).map(|_| taken(&mut fair, 10, &jobs)).collect();
    assert_eq!(batches, [vec![(0, 0..1)], vec![(0, 1..2)], vec![(0, 2..3)], vec![]]);
    let jobs = [job(&[7], &[5, 5]), job(&[8], &[4, 4])];
    jobs.iter().for_each(|job| fair.push("a", job.clone()));
    assert_eq!(taken(&mut fair, 10, &jobs), [(1, 0..2)]);
    assert_eq!(taken(&mut fair, 10, &jobs), [(0, 0..2)]);
}

#[test]
fn a_prefix_longer_than_the_budget_is_shared_by_as_much_as_itself() {
    let mut fair = Fair::default();
    fair.push("a", job(&[1; 400], &[10; 100]));
    let mut documents =
        || -> usize { fair.take(&Rows(10_000), Some(100), |_| None).iter().map(|share| share.documents.len()).sum() };
    assert_eq!([(); 4].map(|()| documents()), [40, 40, 20, 0]);
}

#[test]
fn jobs_that_are_gone_are_forgotten() {
    let jobs = [job(&[], &[5; 9]), job(&[], &[5; 9])];
    let mut fair = Fair::default();
    jobs.iter().for_each(|job| fair.push("a", job.clone()));
    jobs[0].leave();
    assert_eq!(taken(&mut fair, 1000, &jobs), [(1, 0..9)]);
    assert_eq!(fair.drain().len(), 0);
}

#[test]
fn every_document_goes_once_and_in_order_within_the_budget() {
    let mut random = SplitMix64(5);
    let mut below = |n: usize| random.next() as usize % n;
    for _ in 0..300 {
        let budget = 1 + below(600);
        let mut fair = Fair::default();
        let mut jobs: Vec<Arc<Job>> = Vec::new();
        let mut next: Vec<usize> = Vec::new();
        let mut idle = 0;
        while idle < 2 {
            if jobs.len() < 12 {
                let lengths: Vec<usize> = (0..1 + below(30)).map(|_| 1 + below(90)).collect();
                let shared = [1, 2, 3][..below(4)].to_vec();
                jobs.push(job(&shared, &lengths));
                next.push(0);
                fair.push(["a", "b", "c"][below(3)], jobs[jobs.len() - 1].clone());
            }
            let shares = taken(&mut fair, budget, &jobs);
            idle = if shares.is_empty() { idle + 1 } else { 0 };
            let mut rows = 0;
            for (j, documents) in &shares {
                assert_eq!(documents.start, next[*j], "in order");
                next[*j] = documents.end;
                rows += jobs[*j].groups[0].own[documents.clone()].iter().map(Vec::len).sum::<usize>();
            }
            let alone = shares.len() == 1 && shares[0].1.len() == 1;
            assert!(alone || rows <= budget, "{rows} rows of {budget}");
        }
        for (job, next) in jobs.iter().zip(&next) {
            assert_eq!(job.groups[0].own.len(), *next, "all of them");
        }
    }
}
