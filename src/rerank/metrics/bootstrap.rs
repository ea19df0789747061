//! How far a mean could lie elsewhere with other queries of the same kind.
//!
//! The percentile bootstrap (Efron and Tibshirani, "An introduction to the bootstrap", 1993): the queries are drawn with replacement, as many as there
//! are, the mean is taken, and that many times over; the interval holds the middle 95 % of these means. Given differences of two systems on the same
//! queries, it is the paired bootstrap, which sees nothing of how hard the queries are. A mean over several sets is drawn within each set, so that
//! each set keeps its weight and its size. Draws come from a seed: the same numbers give the same interval on every machine.
//!
//! With few queries (under some twenty) such intervals are too narrow, and a single query tells nothing of its kind: there is then no interval.

use serde::Serialize;

use crate::random::SplitMix64;

/// The part of the means that lies within an interval.
const CONFIDENCE: f64 = 0.95;

/// A mean and its interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean of the queries, or the mean over sets of their means.
    pub mean: f64,
    /// The lower end of the 95 % interval; none where a set has fewer than two queries.
    pub low: Option<f64>,
    /// The upper end of the 95 % interval.
    pub high: Option<f64>,
}

impl Estimate {
    /// Both ends of the interval, if there is one.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.low.zip(self.high)
    }
}

/// How to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// How many times the queries are drawn anew.
    pub resamples: usize,
    /// Where the draws begin.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 10_000, seed: 1 }
    }
}

impl Bootstrap {
    /// The mean over sets of the mean of each set's values, with its interval. Sets without values are left out; nothing if all are.
    pub fn estimate<S: AsRef<[f64]>>(&self, sets: &[S]) -> Option<Estimate> {
        self.estimates(sets, 1)?.pop()
    }

    /// The same for several figures of each query, which lie side by side: all are taken of the same draws.
    ///
    /// # Panics
    /// If a set's values are no multiple of `columns`.
    pub fn estimates<S: AsRef<[f64]>>(&self, sets: &[S], columns: usize) -> Option<Vec<Estimate>> {
        let sets: Vec<&[f64]> = sets.iter().map(AsRef::as_ref).filter(|values| !values.is_empty()).collect();
        assert!(sets.iter().all(|values| values.len().is_multiple_of(columns)), "every query has every figure");
        if sets.is_empty() {
            return None;
        }
        let means = over_sets(&sets, columns, |i, _| i);
        if sets.iter().any(|values| values.len() < 2 * columns) {
            return Some(means.into_iter().map(|mean| Estimate { mean, low: None, high: None }).collect());
        }
        let mut random = SplitMix64(self.seed);
        let mut drawn = vec![Vec::with_capacity(self.resamples); columns];
        for _ in 0..self.resamples {
            for (column, mean) in drawn.iter_mut().zip(over_sets(&sets, columns, |_, n| below(&mut random, n))) {
                column.push(mean);
            }
        }
        let tail = (1.0 - CONFIDENCE) / 2.0;
        let of = |(mean, mut drawn): (f64, Vec<f64>)| {
            drawn.sort_unstable_by(f64::total_cmp);
            Estimate { mean, low: quantile(&drawn, tail), high: quantile(&drawn, 1.0 - tail) }
        };
        Some(means.into_iter().zip(drawn).map(of).collect())
    }
}

/// The mean over sets of the mean of each set's values. Sets without values are left out; nothing if all are.
pub fn mean_of_sets<S: AsRef<[f64]>>(sets: &[S]) -> Option<f64> {
    let sets: Vec<&[f64]> = sets.iter().map(AsRef::as_ref).filter(|values| !values.is_empty()).collect();
    over_sets(&sets, 1, |i, _| i).pop().filter(|_| !sets.is_empty())
}

/// The mean over sets of each column's mean over as many queries as the set has; `pick(i, n)` says which is the i-th.
fn over_sets(sets: &[&[f64]], columns: usize, mut pick: impl FnMut(usize, usize) -> usize) -> Vec<f64> {
    let mut means = vec![0.0; columns];
    let mut sums = vec![0.0; columns];
    for values in sets {
        let queries = values.len() / columns;
        sums.fill(0.0);
        for i in 0..queries {
            let at = pick(i, queries) * columns;
            for (sum, value) in sums.iter_mut().zip(&values[at..at + columns]) {
                *sum += value;
            }
        }
        for (mean, sum) in means.iter_mut().zip(&sums) {
            *mean += sum / queries as f64 / sets.len() as f64;
        }
    }
    means
}

/// The value below which a part of the sorted values lies, interpolated linearly between the closest ones.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let place = part * sorted.len().checked_sub(1)? as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    Some(below + (above - below) * place.fract())
}

/// A number below `n`, which is so much smaller than 2^64 that the bias is nothing.
fn below(random: &mut SplitMix64, n: usize) -> usize {
    ((u128::from(random.next()) * n as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [&[f64]; 0] = [];

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let values: Vec<f64> = (0..50).map(|i| f64::from(i * i % 17)).collect();
        let of = |seed| Bootstrap { resamples: 2000, seed }.estimate(&[&values]).unwrap();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let (low, high) = of(1).interval().unwrap();
        assert!(low < of(1).mean && of(1).mean < high);
    }

    #[test]
    fn the_width_is_what_the_spread_of_a_mean_says() {
        // The mean of n draws has the values' deviation over the root of n: 1.96 of these to each side.
        let values: Vec<f64> = (0..200).map(|i| f64::from((i * 37) % 200)).collect();
        let mean = values.iter().sum::<f64>() / 200.0;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 200.0).sqrt();
        let one = Bootstrap::default().estimate(&[&values]).unwrap();
        let wanted = 1.96 * deviation / 200f64.sqrt();
        assert!((one.mean - mean).abs() < 1e-9);
        let (low, high) = one.interval().unwrap();
        assert!((high - mean - wanted).abs() < 0.05 * wanted, "{one:?}, {wanted}");
        assert!((mean - low - wanted).abs() < 0.05 * wanted, "{one:?}, {wanted}");
        // Over four sets of the same kind it is half as wide.
        let four = Bootstrap::default().estimate(&[&values, &values, &values, &values]).unwrap();
        let (low, high) = four.interval().unwrap();
        assert!((high - low - wanted).abs() < 0.05 * wanted, "{four:?}, {wanted}");
    }

    #[test]
    fn columns_are_taken_of_the_same_draws() {
        let a: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 40)).collect();
        let both: Vec<f64> = a.iter().flat_map(|v| [*v, 2.0 * v + 1.0]).collect();
        let [one, other] = Bootstrap::default().estimates(&[both], 2).unwrap()[..] else { panic!("two columns") };
        assert_eq!(Some(one), Bootstrap::default().estimate(&[a]));
        let ends = |e: Estimate| e.interval().map(|(low, high)| [e.mean, low, high]).unwrap();
        for (one, other) in ends(one).into_iter().zip(ends(other)) {
            assert!((2.0 * one + 1.0 - other).abs() < 1e-9, "{one}, {other}");
        }
    }

    #[test]
    fn sets_weigh_the_same_whatever_their_size() {
        let (small, large) = (vec![1.0; 2], vec![0.0; 1000]);
        let e = Bootstrap::default().estimate(&[&small, &large, &Vec::new()]).unwrap();
        assert_eq!(e, Estimate { mean: 0.5, low: Some(0.5), high: Some(0.5) });
        assert_eq!(mean_of_sets(&[&small, &large, &Vec::new()]), Some(0.5));
        assert_eq!(mean_of_sets(&[vec![], vec![]]), None);
        assert_eq!(mean_of_sets(&NONE), None);
        // One query says nothing of others, and hides nothing in a mean.
        let alone = Bootstrap::default().estimate(&[&[3.0][..], &[1.0, 2.0]]).unwrap();
        assert_eq!(alone, Estimate { mean: 2.25, low: None, high: None });
        assert_eq!(Bootstrap::default().estimate(&NONE), None);
        assert_eq!(Bootstrap::default().estimate(&[&[] as &[f64]]), None);
    }
}
