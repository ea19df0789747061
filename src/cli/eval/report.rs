//! From rankings to figures: every metric by set and by language, with intervals.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::{Options, scoring::order, sets::Set};
use crate::rerank::metrics::{Estimate, Measure, Metric, mean_of_sets};

/// What is compared: the model, and beside it a baseline and a second model.
pub(super) struct System<'a> {
    pub(super) kind: Kind,
    /// What people call it.
    pub(super) name: String,
    /// By set, query and candidate, the highest first.
    pub(super) score: Box<dyn Fn(usize, usize, usize) -> f64 + 'a>,
}

/// The part that a system plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Baseline,
    Second,
}

/// A figure of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    Of(Kind),
    /// The first less the second, query by query.
    Difference(Kind, Kind),
}

impl Figure {
    /// Its name in JSON.
    fn name(self) -> &'static str {
        match self {
            Self::Of(Kind::Model) => "model",
            Self::Of(Kind::Baseline) => "baseline",
            Self::Of(Kind::Second) => "second_model",
            Self::Difference(Kind::Model, _) => "model_minus_baseline",
            Self::Difference(..) => "second_minus_model",
        }
    }
}

/// A metric's figures.
pub(super) struct Figures(Vec<(Figure, Estimate)>);

impl Figures {
    pub(super) fn get(&self, figure: Figure) -> Option<Estimate> {
        self.0.iter().find(|(known, _)| *known == figure).map(|(_, estimate)| *estimate)
    }
}

impl Serialize for Figures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(figure, estimate)| (figure.name(), estimate)))
    }
}

/// The figures of a set, a language, or all sets.
#[derive(Serialize)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) queries: usize,
    /// Queries without a relevant document: they count 0.
    pub(super) without_relevant: usize,
    /// In the order of `--metrics`.
    #[serde(serialize_with = "in_order")]
    pub(super) metrics: Vec<(String, Figures)>,
    /// The share of the relevant documents that were found for the model to rank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retrieval_recall: Option<f64>,
    /// Of a set: its languages, if there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) languages: Vec<Group>,
}

fn in_order<S: Serializer>(metrics: &[(String, Figures)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(metrics.iter().map(|(name, figures)| (name, figures)))
}

/// All groups.
#[derive(Serialize)]
pub(super) struct Groups {
    /// The mean over sets; each set counts the same.
    pub(super) overall: Group,
    pub(super) sets: Vec<Group>,
    /// All queries of a language, whatever their set.
    pub(super) languages: Vec<Group>,
}

/// A query's part in the figures.
struct Values {
    /// Of each metric, all figures.
    figures: Vec<f64>,
    /// The share of its relevant documents among the candidates, if it has any.
    found: Option<f64>,
}

/// Where a query stands: its set, and its place there.
type Place = (usize, usize);

pub(super) struct Reporter<'a> {
    options: &'a Options,
    sets: &'a [Set],
    figures: Vec<Figure>,
    values: Vec<Vec<Values>>,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(options: &'a Options, sets: &'a [Set], systems: &[System]) -> Self {
        let kinds: Vec<Kind> = systems.iter().map(|s| s.kind).collect();
        let mut figures: Vec<Figure> = kinds.iter().copied().map(Figure::Of).collect();
        for (one, other) in [(Kind::Model, Kind::Baseline), (Kind::Second, Kind::Model)] {
            if kinds.contains(&one) && kinds.contains(&other) {
                figures.push(Figure::Difference(one, other));
            }
        }
        let mut reporter = Self { options, sets, figures, values: Vec::new() };
        let of_set = |s: usize| (0..sets[s].queries.len()).map(|q| reporter.values(systems, (s, q))).collect();
        reporter.values = (0..sets.len()).map(of_set).collect();
        reporter
    }

    fn values(&self, systems: &[System], (s, q): Place) -> Values {
        let query = &self.sets[s].queries[q];
        let judged: Vec<u32> = query.judged.values().copied().collect();
        let judging = self.options.judging();
        let rankings: Vec<(Kind, Vec<u32>)> = systems
            .iter()
            .map(|system| {
                let order = order(query, |c| (system.score)(s, q, c));
                (system.kind, order.into_iter().map(|c| query.candidates[c].label).collect())
            })
            .collect();
        let of = |metric: &Metric, kind: Kind| {
            let ranking = rankings.iter().find(|(known, _)| *known == kind);
            ranking.map_or(0.0, |(_, labels)| metric.of(labels, &judged, judging))
        };
        let figure = |metric: &Metric, figure: &Figure| match *figure {
            Figure::Of(kind) => of(metric, kind),
            Figure::Difference(one, other) => of(metric, one) - of(metric, other),
        };
        let metrics = self.options.metrics().into_iter();
        let figures =
            metrics.flat_map(|m| self.figures.iter().map(move |f| figure(&m, f)).collect::<Vec<_>>()).collect();
        let recall = Metric { measure: Measure::Recall, cutoff: None };
        let found = judged.iter().any(|label| judging.relevant(*label)).then(|| of(&recall, systems[0].kind));
        Values { figures, found }
    }

    /// The groups of the report.
    pub(super) fn groups(&self) -> Groups {
        let places = |s: usize| -> Vec<Place> { (0..self.sets[s].queries.len()).map(|q| (s, q)).collect() };
        let all: Vec<Vec<Place>> = (0..self.sets.len()).map(places).collect();
        let of_set = |(set, places): (&Set, &Vec<Place>)| {
            let mut group = self.group(set.name.clone(), std::slice::from_ref(places));
            let languages = self.by_language(places);
            if languages.len() > 1 {
                group.languages = languages;
            }
            group
        };
        Groups {
            overall: self.group(format!("mean of {} sets", self.sets.len()), &all),
            sets: self.sets.iter().zip(&all).map(of_set).collect(),
            languages: self.by_language(&all.concat()),
        }
    }

    fn by_language(&self, places: &[Place]) -> Vec<Group> {
        let mut languages: BTreeMap<&str, Vec<Place>> = BTreeMap::new();
        for &(s, q) in places {
            languages.entry(&self.sets[s].queries[q].language).or_default().push((s, q));
        }
        languages.into_iter().map(|(name, places)| self.group(name.to_owned(), &[places])).collect()
    }

    /// The means over strata of queries.
    fn group(&self, name: String, strata: &[Vec<Place>]) -> Group {
        let of = |place: &Place| &self.values[place.0][place.1];
        let rows =
            |places: &Vec<Place>| places.iter().flat_map(|p| of(p).figures.iter().copied()).collect::<Vec<f64>>();
        let strata_values: Vec<Vec<f64>> = strata.iter().map(rows).collect();
        let names: Vec<String> = self.options.metrics().iter().map(Metric::to_string).collect();
        let estimates = self.options.bootstrap().estimates(&strata_values, names.len() * self.figures.len());
        let estimates = estimates.unwrap_or_default();
        let figures = estimates.chunks(self.figures.len());
        let figures = figures.map(|e| Figures(self.figures.iter().copied().zip(e.iter().copied()).collect()));
        let found: Vec<Vec<f64>> =
            strata.iter().map(|places| places.iter().filter_map(|p| of(p).found).collect()).collect();
        let queries: usize = strata.iter().map(Vec::len).sum();
        Group {
            name,
            queries,
            without_relevant: queries - found.iter().map(Vec::len).sum::<usize>(),
            metrics: names.into_iter().zip(figures).collect(),
            retrieval_recall: self.options.depth().and_then(|_| mean_of_sets(&found)),
            languages: Vec::new(),
        }
    }
}
