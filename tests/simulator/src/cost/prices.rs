//! The prices: every one is a line of `prices.tsv`, with where it comes from.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What something costs: database queries, and milliseconds of processor time in Ruby.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Database queries.
    pub queries: f64,
    /// Milliseconds of processor time; of the database's lines, of waiting.
    pub cpu_ms: f64,
}

impl Price {
    /// So many times.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self {
            queries: self.queries * times as f64,
            cpu_ms: self.cpu_ms * times as f64,
        }
    }
}

/// The prices of one field, route, type or status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// Each time that it is asked.
    pub each: Price,
    /// Besides, where it answers with something.
    pub filled: Price,
    /// Besides, for each row that comes back.
    pub row: Price,
    /// Instead of [`Self::row`], where only the basic facts are asked.
    pub simple: Option<Price>,
    /// Besides, the first time in a project.
    pub first: Price,
    /// Each object that comes back.
    pub base: Price,
    /// Besides, for each scalar that is asked of it.
    pub scalar: Price,
}

/// Jobs of a pipeline that only a project's past stands for: the mean of the measured instance.
pub const JOBS_OF_PAST_PIPELINE: u64 = 8;

/// All lines.
const LINES: &str = include_str!("prices.tsv");

/// Prices by kind and name.
type Prices = HashMap<&'static str, HashMap<&'static str, Item>>;

static PRICES: LazyLock<Prices> = LazyLock::new(|| {
    let mut prices = Prices::new();
    for line in lines() {
        let Some((kind, name, per, price)) = read(line) else {
            continue;
        };
        let item = prices.entry(kind).or_default().entry(name).or_default();
        match per {
            "filled" => item.filled = price,
            "row" => item.row = price,
            "simple" => item.simple = Some(price),
            "first" => item.first = price,
            "base" => item.base = price,
            "scalar" => item.scalar = price,
            _ => item.each = price,
        }
    }
    prices
});

fn lines() -> impl Iterator<Item = &'static str> {
    LINES.lines().filter(|line| !line.starts_with('#'))
}

fn read(line: &'static str) -> Option<(&'static str, &'static str, &'static str, Price)> {
    let mut columns = line.split('\t');
    let (kind, name, per) = (columns.next()?, columns.next()?, columns.next()?);
    let price = Price {
        queries: columns.next()?.parse().ok()?,
        cpu_ms: columns.next()?.parse().ok()?,
    };
    Some((kind, name, per, price))
}

fn of(kind: &str, name: &str) -> Option<&'static Item> {
    PRICES.get(kind)?.get(name)
}

/// The price of a field, such as `Project.pipelines`; `None`: it costs what comes back.
#[must_use]
pub fn field(name: &str) -> Option<&'static Item> {
    of("field", name)
}

/// The price of objects of a type.
#[must_use]
pub fn object(name: &str) -> Option<&'static Item> {
    of("object", name)
}

/// The price of a route, such as `/projects/:id/pipelines`; the floor where it has none of its own.
#[must_use]
pub fn route(template: &str) -> Item {
    let known = of("route", template).cloned();
    known.unwrap_or_else(|| Item {
        each: floor("rest"),
        ..Item::default()
    })
}

/// The price of an answer without data, by status.
#[must_use]
pub fn refused(status: u16) -> Option<Price> {
    of("status", &status.to_string()).map(|item| item.each)
}

/// The floor of a request by `graphql` or `rest`.
#[must_use]
pub fn floor(api: &str) -> Price {
    of("floor", api).map(|item| item.each).unwrap_or_default()
}

/// Milliseconds that a thread waits for a `query`, or for a `row` that is read.
#[must_use]
pub fn database(what: &str) -> f64 {
    of("database", what).map_or(0.0, |item| item.each.cpu_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_price_with_its_source() {
        let mut seen = std::collections::HashSet::new();
        for line in lines() {
            let (kind, name, per, price) = read(line).expect(line);
            let kinds = ["database", "floor", "status", "field", "route", "object"];
            assert!(kinds.contains(&kind), "{line}");
            let all = ["each", "filled", "row", "simple", "first", "base", "scalar"];
            assert!(all.contains(&per), "{line}");
            assert!(price.queries >= 0.0 && price.cpu_ms >= 0.0, "{line}");
            let source = line.split('\t').nth(5);
            assert!(source.is_some_and(|source| !source.is_empty()), "{line}");
            assert!(seen.insert((kind, name, per)), "twice: {line}");
        }
        assert!(seen.len() > 150, "{}", seen.len());
    }

    #[test]
    fn every_field_and_type_is_in_the_schema() {
        let types = crate::graphql::analysis::Types::parse(&crate::graphql::sdl()).expect("SDL");
        for name in PRICES["field"].keys() {
            let (parent, field) = name.split_once('.').expect("a type and a field");
            let fields = types.fields.get(parent).expect(name);
            assert!(fields.contains_key(field), "{name}");
        }
        for name in PRICES["object"].keys() {
            assert!(types.fields.contains_key(*name), "{name}");
        }
    }
}
