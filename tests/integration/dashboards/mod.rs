//! The Grafana dashboards: what stands in the files, and what their queries come to on a real
//! Prometheus.

mod answers;
mod cost;
mod drawn;
mod facts;
mod look;
mod recorded;
mod schema;
mod wanted;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use amazing_gitlab_exporter::catalogue::{self, Kind};
use gitlab_dashboards::recorded::{self as rules, Recorded};
use gitlab_dashboards::{Dashboard, Shape, Variable};
use promql_parser::label::Labels as Names;
use promql_parser::parser::{self, Expr, LabelModifier, VectorSelector};

/// Labels that Prometheus or the receiver adds.
const ADDED: [&str; 2] = ["instance", "job"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards")
}

/// A query with a value for each variable, which looks back from now: what begins with a bar ends now.
fn as_written(dashboard: &Dashboard, expr: &str, range: &str) -> String {
    let mut text = dashboard.written_out(expr);
    for ahead in ["$__interval", "1d", "7d"] {
        text = text.replace(&format!("[{ahead}] offset -{ahead}"), &format!("[{ahead}]"));
    }
    text = text.replace("[$__interval]", &format!("[{range}]"));
    for window in ["$__rate_interval", "$__range", "$time_range"] {
        text = text.replace(window, range);
    }
    text = text.replace("$__interval", "1s");
    for variable in dashboard.variables() {
        let value = match variable {
            Variable::Choice { of, .. } => of.last().expect("a choice").1,
            _ => ".*",
        };
        text = text.replace(&format!("${}", variable.name()), value);
    }
    text
}

/// The same query of what the recorded series are recorded from.
fn filled(dashboard: &Dashboard, expr: &str, range: &str) -> String {
    let mut text = as_written(dashboard, expr, range);
    for recorded in rules::ALL {
        let series = format!("sum_over_time({}{{", recorded.name());
        text = text.replace(&series, &format!("increase({}{{", recorded.metric));
    }
    let (series, metric) = rules::ARTIFACT_SIZE;
    text.replace(series, metric)
}

#[test]
fn the_files_are_what_the_source_makes_of_them() {
    let mut files = BTreeSet::new();
    for dashboard in gitlab_dashboards::all() {
        let name = dashboard.file_name();
        let file = std::fs::read_to_string(folder().join(&name)).expect("readable");
        assert!(
            file == dashboard.text(),
            "grafana/dashboards/{name} is not what grafana/src makes: run cargo run -p gitlab-dashboards"
        );
        files.insert(name);
    }
    for entry in std::fs::read_dir(folder()).expect("readable") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_string_lossy().into_owned();
        assert!(files.contains(&name), "{name} has no source");
    }
}

#[test]
fn there_are_eight_with_names_of_their_own_and_panels_that_do_not_overlap() {
    let all = gitlab_dashboards::all();
    let uids: BTreeSet<String> = all
        .iter()
        .map(|board| board.json()["uid"].to_string())
        .collect();
    assert_eq!(uids.len(), 8);
    for dashboard in &all {
        let json = dashboard.json();
        let uid = json["uid"].as_str().expect("a uid");
        assert!(uid.len() <= 40, "{uid}");
        let panels = json["panels"].as_array().expect("panels");
        let ids: BTreeSet<String> = panels.iter().map(|panel| panel["id"].to_string()).collect();
        assert_eq!(ids.len(), panels.len(), "{uid}");
        let mut taken = BTreeSet::new();
        for panel in panels {
            let of = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
            for x in of("x")..of("x") + of("w") {
                for y in of("y")..of("y") + of("h") {
                    assert!(x < 24 && taken.insert((x, y)), "{uid}: {}", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn every_panel_says_what_it_shows_and_what_stands_there_without_data() {
    for dashboard in gitlab_dashboards::all() {
        let titles: BTreeSet<&str> = dashboard.panels().map(|panel| panel.title()).collect();
        assert_eq!(titles.len(), dashboard.panels().count());
        for panel in dashboard.panels() {
            let title = panel.title();
            assert!(panel.description().ends_with('.'), "{title}");
            assert!(panel.description().len() > 25, "{title}");
            let json = panel.json(&|expr| dashboard.written_out(expr));
            let defaults = &json["fieldConfig"]["defaults"];
            assert!(
                !defaults["noValue"].as_str().unwrap_or("").is_empty(),
                "{title}"
            );
            assert!(defaults["unit"].is_string(), "{title}");
        }
    }
}

/// Metrics that no dashboard shows. Runs of jobs are the count of their durations there.
const ON_NO_DASHBOARD: &[&str] = &[
    "age_api_rate_limit_limit",
    "age_api_rate_limit_reset_timestamp",
    "age_http_connections",
    "age_http_refusals_total",
    "age_job_created_timestamp",
    "age_job_last_run_queued_duration_seconds",
    "age_job_run_count",
    "age_job_runner_queued_duration_seconds",
    "age_pipeline_created_timestamp",
    "age_pipeline_variable_info",
    "age_test_case_duration_seconds",
    "process_max_fds",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
];

#[test]
fn every_metric_and_label_in_them_is_in_the_catalogue_and_few_metrics_are_on_none() {
    let (mut seen, mut named) = (BTreeSet::new(), BTreeSet::new());
    for dashboard in gitlab_dashboards::all() {
        for panel in dashboard.panels() {
            for query in panel.queries() {
                for text in [as_written, filled].map(|fill| fill(&dashboard, &query.expr, "1h")) {
                    let expr =
                        parser::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
                    check(&expr, &text, &mut seen);
                }
            }
        }
        for variable in dashboard.variables() {
            let Some((label, of)) = variable.query() else {
                continue;
            };
            let text = filled(&dashboard, of, "1h");
            let expr = parser::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert!(
                check(&expr, &text, &mut named).contains(label),
                "{text}: {label}"
            );
        }
    }
    // It gives links their address.
    seen.extend(named.take("age_gitlab_info"));
    let built = catalogue::all().filter(|desc| desc.implemented);
    let missing: Vec<&str> = built
        .map(|desc| desc.name)
        .filter(|name| !seen.contains(*name))
        .collect();
    let allowed = ON_NO_DASHBOARD;
    let mut missing = missing;
    missing.sort_unstable();
    assert_eq!(missing, allowed, "metrics on no dashboard");
    assert!(allowed.len() <= 15);
}

/// Checks a part of a query, and returns the labels that its result can have.
fn check(expr: &Expr, text: &str, seen: &mut BTreeSet<String>) -> BTreeSet<String> {
    match expr {
        Expr::VectorSelector(selector) => check_selector(selector, text, seen),
        Expr::MatrixSelector(matrix) => check_selector(&matrix.vs, text, seen),
        Expr::Subquery(subquery) => check(&subquery.expr, text, seen),
        Expr::Paren(paren) => check(&paren.expr, text, seen),
        Expr::Unary(unary) => check(&unary.expr, text, seen),
        Expr::Aggregate(aggregate) => {
            let labels = check(&aggregate.expr, text, seen);
            if let Some(parameter) = &aggregate.param {
                check(parameter, text, seen);
            }
            // These keep the labels of what they choose.
            let chooses = matches!(aggregate.op.to_string().as_str(), "topk" | "bottomk");
            match &aggregate.modifier {
                Some(LabelModifier::Include(names)) => kept(names, &labels, text),
                Some(LabelModifier::Exclude(_)) => panic!("{text}: say what is kept"),
                None if chooses => labels,
                None => BTreeSet::new(),
            }
        }
        Expr::Binary(binary) => {
            let mut labels = check(&binary.lhs, text, seen);
            labels.extend(check(&binary.rhs, text, seen));
            if let Some(matching) = binary.modifier.as_ref().and_then(|it| it.matching.as_ref()) {
                let (LabelModifier::Include(names) | LabelModifier::Exclude(names)) = matching;
                kept(names, &labels, text);
            }
            labels
        }
        Expr::Call(call) => {
            let mut labels = BTreeSet::new();
            for argument in &call.args.args {
                if let (Expr::StringLiteral(word), "label_join" | "label_replace") =
                    (&**argument, call.func.name)
                {
                    labels.insert(word.val.clone());
                } else {
                    labels.extend(check(argument, text, seen));
                }
            }
            labels
        }
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => BTreeSet::new(),
    }
}

fn kept(names: &Names, labels: &BTreeSet<String>, text: &str) -> BTreeSet<String> {
    for name in &names.labels {
        let is_there = labels.contains(name) || ADDED.contains(&name.as_str());
        assert!(is_there, "{text}: no metric in it has {name}");
    }
    names.labels.iter().cloned().collect()
}

fn check_selector(
    selector: &VectorSelector,
    text: &str,
    seen: &mut BTreeSet<String>,
) -> BTreeSet<String> {
    let name = selector
        .name
        .as_deref()
        .expect("a selector names its metric");
    let recorded = rules::ALL.iter().find(|recorded| recorded.name() == name);
    if let Some(labels) = recorded
        .map(Recorded::labels)
        .or_else(|| artifact_size(name))
    {
        let mut labels: BTreeSet<String> = labels.into_iter().map(str::to_owned).collect();
        for matcher in &selector.matchers.matchers {
            let label = &matcher.name;
            assert!(labels.contains(label), "{text}: {name} has no {label}");
        }
        labels.extend(ADDED.map(str::to_owned));
        return labels;
    }
    let desc = catalogue::all().find(|desc| match desc.kind {
        Kind::Histogram => {
            let part = name.strip_prefix(desc.name);
            matches!(part, Some("_bucket" | "_count" | "_sum"))
        }
        _ => name == desc.name,
    });
    let desc = desc.unwrap_or_else(|| panic!("{text}: {name} is no metric"));
    assert!(desc.implemented, "{text}: {name} is not recorded");
    seen.insert(desc.name.to_owned());
    let mut labels: BTreeSet<String> = desc.labels.iter().map(ToString::to_string).collect();
    if name.ends_with("_bucket") {
        labels.insert("le".to_owned());
    }
    for matcher in &selector.matchers.matchers {
        assert!(
            labels.contains(&matcher.name),
            "{text}: {name} has no {}",
            matcher.name
        );
    }
    labels.extend(ADDED.map(str::to_owned));
    labels
}

/// The labels of the recorded series that is no increase, if it is this one.
fn artifact_size(name: &str) -> Option<Vec<&'static str>> {
    (name == rules::ARTIFACT_SIZE.0).then(|| vec!["project", "ref", "stage"])
}

/// Success rates are of pipelines that finished: success against success and failed.
#[test]
fn no_rate_of_success_divides_by_pipelines_created() {
    for dashboard in gitlab_dashboards::all() {
        for panel in dashboard.panels() {
            for query in panel.queries() {
                let text = filled(&dashboard, &query.expr, "1h");
                let expr = parser::parse(&text).expect("it was parsed before");
                let wrong = |name: String| {
                    name.ends_with("_run_count") || name == "age_pipeline_duration_seconds_count"
                };
                assert!(!below_a_line(&expr).any(wrong), "{}: {text}", panel.title());
            }
        }
    }
}

/// Metrics that something is divided by.
fn below_a_line(expr: &Expr) -> impl Iterator<Item = String> {
    let mut names = Vec::new();
    collect(expr, false, &mut names);
    names.into_iter()
}

fn collect(expr: &Expr, below: bool, names: &mut Vec<String>) {
    match expr {
        Expr::VectorSelector(selector) if below => names.extend(selector.name.clone()),
        Expr::MatrixSelector(matrix) if below => names.extend(matrix.vs.name.clone()),
        Expr::Subquery(subquery) => collect(&subquery.expr, below, names),
        Expr::Paren(paren) => collect(&paren.expr, below, names),
        Expr::Unary(unary) => collect(&unary.expr, below, names),
        Expr::Aggregate(aggregate) => collect(&aggregate.expr, below, names),
        Expr::Binary(binary) => {
            collect(&binary.lhs, below, names);
            let divides = binary.op.to_string() == "/";
            collect(&binary.rhs, below || divides, names);
        }
        Expr::Call(call) => {
            for argument in &call.args.args {
                collect(argument, below, names);
            }
        }
        _ => {}
    }
}

/// Counters are read by how they rose, states once per subject: else two replicas, of which one
/// takes a project over from the other, would be counted twice.
#[test]
fn queries_are_right_while_a_project_moves_to_another_replica() {
    for dashboard in gitlab_dashboards::all() {
        for panel in dashboard.panels() {
            for query in panel.queries() {
                let text = as_written(&dashboard, &query.expr, "1h");
                let expr = parser::parse(&text).expect("it was parsed before");
                once_each(&expr, &text, Above::Nothing);
            }
        }
    }
}

/// What stands around a part of a query.
#[derive(Clone, Copy, PartialEq)]
enum Above {
    Nothing,
    /// `rate` and the like.
    Rise,
    /// An aggregation over what it holds.
    Aggregate,
    /// The right side of `and`, which gives no value.
    Filter,
}

fn once_each(expr: &Expr, text: &str, above: Above) {
    match expr {
        Expr::VectorSelector(selector) => {
            let name = selector.name.as_deref().unwrap_or_default();
            let own = catalogue::all()
                .any(|desc| desc.name == name && desc.collector == catalogue::Collector::Exporter);
            let ok = own || above != Above::Nothing || name.starts_with("age:");
            assert!(ok, "{text}: {name} may stand there twice");
        }
        Expr::MatrixSelector(_) => assert!(above == Above::Rise, "{text}"),
        Expr::Subquery(subquery) => once_each(&subquery.expr, text, Above::Nothing),
        Expr::Paren(paren) => once_each(&paren.expr, text, above),
        Expr::Unary(unary) => once_each(&unary.expr, text, above),
        Expr::Aggregate(aggregate) => once_each(&aggregate.expr, text, Above::Aggregate),
        Expr::Binary(binary) => {
            once_each(&binary.lhs, text, above);
            let filters = matches!(binary.op.to_string().as_str(), "and" | "unless");
            once_each(
                &binary.rhs,
                text,
                if filters { Above::Filter } else { above },
            );
        }
        Expr::Call(call) => {
            // What rules record is recorded once.
            let of_recorded = text.contains("age:") && call.func.name == "sum_over_time";
            let rises = matches!(call.func.name, "rate" | "increase") || of_recorded;
            for argument in &call.args.args {
                once_each(argument, text, if rises { Above::Rise } else { above });
            }
        }
        _ => {}
    }
}

#[test]
fn tables_name_each_query_once() {
    for dashboard in gitlab_dashboards::all() {
        for panel in dashboard.panels() {
            if panel.shape() != Shape::Table {
                continue;
            }
            let headings: BTreeSet<&str> = panel
                .queries()
                .iter()
                .map(|query| query.legend.as_str())
                .collect();
            assert_eq!(headings.len(), panel.queries().len(), "{}", panel.title());
        }
    }
}
