//! What a catalogue entry is made of.

use std::fmt;
use std::marker::PhantomData;

use super::Collector;
use super::labels::{LabelValues, Labels};
use crate::types::Tier;

/// How a metric's value behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A total of events; it only rises.
    Counter,
    /// What is so now.
    Gauge,
    /// How observations are spread over buckets, with their count and sum.
    Histogram,
}

impl Kind {
    /// The type as Prometheus names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Where a histogram's bucket bounds come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Buckets {
    /// No histogram.
    None,
    /// `histogram_buckets` of the metric's collector; a child pipeline takes the pipelines'.
    Configured,
    /// These bounds, whatever the settings say.
    Fixed(&'static [f64]),
}

/// What becomes of several series of a gauge that are one where the settings rewrite or drop labels. Counters and
/// histograms add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// Nothing that says something: such labels are not dropped.
    None,
    /// The sum: numbers of things, sizes.
    Sum,
    /// The largest: ids and times of what is newest, durations, what is 1 or absent.
    Largest,
    /// The smallest: coverage, the start of what runs longest.
    Smallest,
    /// The worst status.
    Worst,
}

impl Merge {
    /// The rule in words, for documents; empty without one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Sum => "sum",
            Self::Largest => "largest",
            Self::Smallest => "smallest",
            Self::Worst => "worst status",
        }
    }
}

/// The most labels a metric has.
pub const MAX_LABELS: usize = 12;

/// A metric as data: the single source of name, type, unit, labels and meaning.
#[derive(Debug)]
pub struct Desc {
    /// Full name; those of this program begin with `age_`.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Label names, sorted.
    pub labels: &'static [&'static str],
    /// UCUM unit: `s`, `By`, `%`; empty for plain numbers (never `1`, which grows a suffix).
    pub unit: &'static str,
    /// One or two sentences: what it is and what it counts or measures.
    pub help: &'static str,
    /// Who measures it.
    pub collector: Collector,
    /// What it needs of GitLab.
    pub tier: Tier,
    /// Whether its name, type and labels are contract.
    pub plan: bool,
    /// Bucket bounds.
    pub buckets: Buckets,
    /// What becomes of several of its series that are one.
    pub merge: Merge,
    /// Whether this program records it.
    pub implemented: bool,
}

/// Entries are compared by name: each stands once in the catalogue.
impl PartialEq for Desc {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.name == other.name
    }
}

impl Eq for Desc {}

/// One value for one series: what a collector hands to the recorder.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The metric.
    pub desc: &'static Desc,
    /// Label values, in the order of `desc.labels`.
    pub labels: LabelValues,
    /// Rise of a counter, observation of a histogram, or value of a gauge.
    pub value: f64,
}

/// A series named, without a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesKey {
    /// The metric.
    pub desc: &'static Desc,
    /// Label values, in the order of `desc.labels`.
    pub labels: LabelValues,
}

/// The facts of an entry that its constructor does not already know.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// See [`Desc::name`].
    pub name: &'static str,
    /// See [`Desc::unit`].
    pub unit: &'static str,
    /// See [`Desc::help`].
    pub help: &'static str,
    /// See [`Desc::collector`].
    pub collector: Collector,
    /// See [`Desc::tier`].
    pub tier: Tier,
    /// See [`Desc::plan`].
    pub plan: bool,
}

macro_rules! entry {
    ($(#[$doc:meta])* $name:ident, $kind:expr) => {
        $(#[$doc])*
        pub struct $name<L> {
            /// The entry as data.
            pub desc: Desc,
            labels: PhantomData<fn(L)>,
        }

        impl<L> fmt::Debug for $name<L> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.desc.name)
            }
        }

        impl<L: Labels> $name<L> {
            const fn build(spec: Spec, buckets: Buckets, merge: Merge) -> Self {
                let Spec { name, unit, help, collector, tier, plan } = spec;
                assert!(L::KEYS.len() <= MAX_LABELS, "a metric has more labels than MAX_LABELS");
                let desc = Desc {
                    name,
                    kind: $kind,
                    labels: L::KEYS,
                    unit,
                    help,
                    collector,
                    tier,
                    plan,
                    buckets,
                    merge,
                    implemented: true,
                };
                Self { desc, labels: PhantomData }
            }

            /// The same entry for a part of the program that is not built yet.
            #[must_use]
            pub const fn not_built(self) -> Self {
                let Self { desc, labels } = self;
                Self { desc: Desc { implemented: false, ..desc }, labels }
            }

            #[allow(dead_code, reason = "gauges are never initialized without a value")]
            fn measurement(&'static self, labels: L, value: f64) -> Measurement {
                Measurement { desc: &self.desc, labels: labels.into_values(), value }
            }
        }
    };
}

entry!(/// A counter with the label set `L`.
    Counter, Kind::Counter);
entry!(/// A gauge with the label set `L`.
    Gauge, Kind::Gauge);
entry!(/// A histogram with the label set `L`.
    Histogram, Kind::Histogram);

impl<L: Labels> Counter<L> {
    /// Declares a counter.
    #[must_use]
    pub const fn new(spec: Spec) -> Self {
        Self::build(spec, Buckets::None, Merge::Sum)
    }

    /// A rise by `value`.
    pub fn add(&'static self, labels: L, value: f64) -> Measurement {
        self.measurement(labels, value)
    }

    /// The series, to be shown at 0.
    pub fn series(&'static self, labels: L) -> SeriesKey {
        SeriesKey {
            desc: &self.desc,
            labels: labels.into_values(),
        }
    }
}

impl<L: Labels> Gauge<L> {
    /// Declares a gauge.
    #[must_use]
    pub const fn new(spec: Spec) -> Self {
        Self::build(spec, Buckets::None, Merge::None)
    }

    /// The same gauge, several series of which become one by a rule.
    #[must_use]
    pub const fn merged(self, merge: Merge) -> Self {
        let Self { desc, labels } = self;
        Self {
            desc: Desc { merge, ..desc },
            labels,
        }
    }

    /// The value now.
    pub fn set(&'static self, labels: L, value: f64) -> Measurement {
        self.measurement(labels, value)
    }
}

impl<L: Labels> Histogram<L> {
    /// Declares a histogram.
    #[must_use]
    pub const fn new(spec: Spec, buckets: Buckets) -> Self {
        Self::build(spec, buckets, Merge::Sum)
    }

    /// One observation.
    pub fn observe(&'static self, labels: L, value: f64) -> Measurement {
        self.measurement(labels, value)
    }

    /// The series, to be shown at 0.
    pub fn series(&'static self, labels: L) -> SeriesKey {
        SeriesKey {
            desc: &self.desc,
            labels: labels.into_values(),
        }
    }
}
