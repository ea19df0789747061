//! Okapi BM25 (Robertson and Zaragoza, "The probabilistic relevance framework: BM25 and beyond", 2009), in the form that Lucene made usual:
//!
//! `score = sum over the query's terms of idf x count x (k1 + 1) / (count + k1 x (1 - b + b x length / mean length))`, with
//! `idf = ln(1 + (documents - having it + 0.5) / (having it + 0.5))`, which is never negative.

use std::collections::HashMap;

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// An index of documents, which are known by their place.
#[derive(Default)]
pub struct Bm25 {
    postings: HashMap<String, Vec<Posting>>,
    /// Terms of each document.
    lengths: Vec<u32>,
    total: u64,
}

struct Posting {
    document: u32,
    count: u32,
}

impl Bm25 {
    /// Adds a document, which is its terms.
    ///
    /// # Panics
    /// At 2^32 documents.
    pub fn add(&mut self, terms: Vec<String>) {
        let document = u32::try_from(self.lengths.len()).expect("fewer than 2^32 documents");
        let length = u32::try_from(terms.len()).unwrap_or(u32::MAX);
        self.lengths.push(length);
        self.total += u64::from(length);
        for term in terms {
            let postings = self.postings.entry(term).or_default();
            match postings.last_mut() {
                Some(last) if last.document == document => last.count += 1,
                _ => postings.push(Posting { document, count: 1 }),
            }
        }
    }

    /// How many documents there are.
    pub fn documents(&self) -> usize {
        self.lengths.len()
    }

    /// The score of one document; 0 if it has none of the terms.
    pub fn score(&self, query: &[String], document: usize) -> f64 {
        let of_term = |term: &String| {
            let postings = self.postings.get(term)?;
            let at = postings.binary_search_by_key(&document, |p| p.document as usize).ok()?;
            Some(self.weight(postings.len(), &postings[at]))
        };
        query.iter().filter_map(of_term).sum()
    }

    /// The best documents that have any of the terms, and their scores; of equal ones those first for which `lot` is smaller.
    pub fn search<L: Ord>(&self, query: &[String], top: usize, lot: impl Fn(usize) -> L) -> Vec<(usize, f64)> {
        let mut scores = vec![0.0; self.lengths.len()];
        for postings in query.iter().filter_map(|term| self.postings.get(term)) {
            for posting in postings {
                scores[posting.document as usize] += self.weight(postings.len(), posting);
            }
        }
        let better = |a: &(usize, f64), b: &(usize, f64)| b.1.total_cmp(&a.1).then_with(|| lot(a.0).cmp(&lot(b.0)));
        let mut found: Vec<(usize, f64)> = scores.into_iter().enumerate().filter(|(_, score)| *score > 0.0).collect();
        if top < found.len() {
            found.select_nth_unstable_by(top, better);
            found.truncate(top);
        }
        found.sort_unstable_by(better);
        found
    }

    /// What a term that `having` documents have adds to the score of one of them.
    fn weight(&self, having: usize, posting: &Posting) -> f64 {
        let (documents, having) = (self.lengths.len() as f64, having as f64);
        let idf = ((documents - having + 0.5) / (having + 0.5)).ln_1p();
        let mean = self.total as f64 / documents;
        let count = f64::from(posting.count);
        let length = f64::from(self.lengths[posting.document as usize]);
        idf * count * (K1 + 1.0) / (count + K1 * (1.0 - B + B * length / mean))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn index(texts: &[&str]) -> Bm25 {
        let mut index = Bm25::default();
        for text in texts {
            index.add(terms(text));
        }
        index
    }

    #[test]
    fn worked_by_hand() {
        let index = index(&["a b", "b b c", "d", ""]);
        let mean = 6.0 / 4.0;
        // "b" is in two of four documents, "c" in one.
        let (b, c) = ((1.0 + 2.5 / 2.5f64).ln(), (1.0 + 3.5 / 1.5f64).ln());
        let part = |count: f64, length: f64| count * 2.2 / (count + 1.2 * (0.25 + 0.75 * length / mean));
        let close = |got: f64, wanted: f64| assert!((got - wanted).abs() < 1e-12, "{got}, expected {wanted}");
        close(index.score(&terms("b"), 0), b * part(1.0, 2.0));
        close(index.score(&terms("b c x"), 1), b * part(2.0, 3.0) + c * part(1.0, 3.0));
        close(index.score(&terms("b b"), 0), 2.0 * b * part(1.0, 2.0));
        close(index.score(&terms("b"), 2), 0.0);
        close(index.score(&terms("b"), 3), 0.0);
    }

    #[test]
    fn search_finds_what_score_says() {
        let index = index(&["a b", "b b c", "d", "", "b a", "c"]);
        let query = terms("b c");
        let found = index.search(&query, 10, |document| document);
        let order = |found: &[(usize, f64)]| found.iter().map(|f| f.0).collect::<Vec<usize>>();
        assert_eq!(order(&found), [1, 5, 0, 4]);
        for top in [3, 10] {
            let other = index.search(&query, top, |document| 9 - document);
            assert_eq!(order(&other), [1, 5, 4, 0][..top.min(4)], "of the equal ones 4 comes before 0");
        }
        for (document, score) in &found {
            assert!((score - index.score(&query, *document)).abs() < 1e-12);
        }
        let search = |index: &Bm25, query: &[String], top| index.search(query, top, |document| document);
        assert_eq!(search(&index, &query, 2), found[..2]);
        assert!(search(&index, &terms("x"), 10).is_empty() && search(&index, &[], 10).is_empty());
        assert!(search(&Bm25::default(), &query, 10).is_empty());
        assert_eq!(index.documents(), 6);
    }
}
