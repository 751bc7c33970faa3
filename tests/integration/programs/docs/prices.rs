//! The documents name what costs GitLab a query for each row.

use regex::Regex;

use super::assert_none;
use super::markdown::{read, root};

/// Types of which a list has many.
const ROWS: [&str; 9] = [
    "CiJob",
    "CiRunner",
    "Deployment",
    "Environment",
    "MergeRequest",
    "Pipeline",
    "PipelineSchedule",
    "ValueStream",
    "ValueStreamStage",
];

/// Fields that cost a query for each row by the cost model, with their types.
fn priced() -> Vec<(String, String)> {
    let prices = read("tests/simulator/src/cost/prices.tsv");
    let mut priced: Vec<(String, String)> = prices
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            let [kind, name, per, queries, ..] = cells.as_slice() else {
                return None;
            };
            let each_row = matches!(*per, "each" | "filled" | "row");
            let queries: f64 = queries.parse().ok()?;
            let (on, field) = name.split_once('.')?;
            let is_meant = *kind == "field" && each_row && queries > 0.0 && ROWS.contains(&on);
            is_meant.then(|| (on.to_owned(), field.to_owned()))
        })
        .collect();
    priced.dedup();
    priced
}

/// The text of every query.
fn queries() -> String {
    let folder = root().join("src/gitlab/graphql/queries");
    let files = std::fs::read_dir(folder).expect("a folder");
    let texts = files.map(|file| std::fs::read_to_string(file.expect("an entry").path()));
    texts.map(|text| text.expect("a text")).collect()
}

#[test]
fn fields_with_a_query_for_each_row_are_documented_with_a_reason() {
    let page = read("docs/api-usage.md");
    let (_, section) = page
        .split_once("### Fields with a query per row")
        .expect("the section");
    let table = section.split("\n## ").next().unwrap_or_default();
    let queries = queries();
    let priced = priced();
    assert!(priced.len() > 15, "{priced:?}");
    let mut missing = Vec::new();
    for (on, field) in priced {
        let asked = Regex::new(&format!(r"(?m)^\s*(?:\w+: )?{field}(?:\(| \{{| @|$)"));
        let is_asked = asked.expect("a pattern").is_match(&queries);
        let named = Regex::new(&format!(r"`(?:{on}\.)?{field}[`(]")).expect("a pattern");
        if is_asked && !named.is_match(table) {
            missing.push(format!("docs/api-usage.md: {on}.{field} is in no row"));
        }
    }
    assert_none(missing);
}
