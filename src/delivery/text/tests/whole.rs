//! Whole answers: order, OpenMetrics, chunks, gzip and the exporter's own metrics.

use super::*;
use crate::catalogue::labels::{JobFailureLabels, JobLabels, RefSourceLabels};
use crate::catalogue::{jobs, pipelines};

fn run(git_ref: &str) -> RefSourceLabels {
    RefSourceLabels {
        kind: "branch".into(),
        project: "p".into(),
        git_ref: git_ref.into(),
        source: "push".into(),
    }
}

fn job(name: &str) -> JobLabels {
    JobLabels {
        job_name: name.into(),
        project: "p".into(),
        git_ref: "main".into(),
        stage: "test".into(),
    }
}

fn failure() -> JobFailureLabels {
    JobFailureLabels {
        failure_reason: "script_failure".into(),
        job_name: "unit".into(),
        project: "p".into(),
        git_ref: "main".into(),
        stage: "test".into(),
    }
}

fn small() -> Ours {
    let mut ours = Ours::new(&BucketSettings {
        pipelines: [0.5, 1.0, 2_000_000.0].into(),
        ..BucketSettings::default()
    });
    ours.record(&[
        jobs::FAILURES.add(failure(), 2.0),
        pipelines::QUEUED_DURATION.observe(run("main"), 0.75),
        pipelines::QUEUED_DURATION.observe(run("main"), 3e6),
        pipelines::RUN_COUNT.add(run("a \"b\"\\\n"), 1.0),
    ]);
    ours
}

#[test]
fn text_is_written_in_the_order_of_the_catalogue() {
    let labels = r#"kind="branch",project="p",ref="main",source="push""#;
    let failed =
        r#"failure_reason="script_failure",job_name="unit",project="p",ref="main",stage="test""#;
    let (queued, runs, failures) = (
        &pipelines::QUEUED_DURATION.desc,
        &pipelines::RUN_COUNT.desc,
        &jobs::FAILURES.desc,
    );
    let expected = format!(
        r#"# HELP age_pipeline_queued_duration_seconds {}
# TYPE age_pipeline_queued_duration_seconds histogram
age_pipeline_queued_duration_seconds_bucket{{{labels},le="0.5"}} 0
age_pipeline_queued_duration_seconds_bucket{{{labels},le="1"}} 1
age_pipeline_queued_duration_seconds_bucket{{{labels},le="2000000"}} 1
age_pipeline_queued_duration_seconds_bucket{{{labels},le="+Inf"}} 2
age_pipeline_queued_duration_seconds_sum{{{labels}}} 3000000.75
age_pipeline_queued_duration_seconds_count{{{labels}}} 2
# HELP age_pipeline_run_count {}
# TYPE age_pipeline_run_count counter
age_pipeline_run_count{{kind="branch",project="p",ref="a \"b\"\\\n",source="push"}} 1
# HELP age_job_failures_total {}
# TYPE age_job_failures_total counter
age_job_failures_total{{{failed}}} 2
"#,
        queued.help, runs.help, failures.help
    );
    assert_eq!(small().text(Format::Text, vec![]), expected);
}

#[test]
fn open_metrics_names_types_units_and_bounds_as_its_specification_says() {
    let labels = r#"kind="branch",project="p",ref="main",source="push""#;
    let failed =
        r#"failure_reason="script_failure",job_name="unit",project="p",ref="main",stage="test""#;
    let (queued, runs, failures) = (
        &pipelines::QUEUED_DURATION.desc,
        &pipelines::RUN_COUNT.desc,
        &jobs::FAILURES.desc,
    );
    let expected = format!(
        r#"# TYPE age_pipeline_queued_duration_seconds histogram
# UNIT age_pipeline_queued_duration_seconds seconds
# HELP age_pipeline_queued_duration_seconds {}
age_pipeline_queued_duration_seconds_bucket{{{labels},le="0.5"}} 0
age_pipeline_queued_duration_seconds_bucket{{{labels},le="1.0"}} 1
age_pipeline_queued_duration_seconds_bucket{{{labels},le="2e+06"}} 1
age_pipeline_queued_duration_seconds_bucket{{{labels},le="+Inf"}} 2
age_pipeline_queued_duration_seconds_sum{{{labels}}} 3000000.75
age_pipeline_queued_duration_seconds_count{{{labels}}} 2
# TYPE age_pipeline_run_count unknown
# HELP age_pipeline_run_count {}
age_pipeline_run_count{{kind="branch",project="p",ref="a \"b\"\\\n",source="push"}} 1
# TYPE age_job_failures counter
# HELP age_job_failures {}
age_job_failures_total{{{failed}}} 2
# EOF
"#,
        queued.help, runs.help, failures.help
    );
    assert_eq!(small().text(Format::OpenMetrics, vec![]), expected);
}

#[test]
fn an_empty_table_is_an_empty_answer() {
    let ours = Ours::new(&BucketSettings::default());
    assert_eq!(ours.text(Format::Text, vec![]), "");
    assert_eq!(ours.text(Format::OpenMetrics, vec![]), "# EOF\n");
}

#[test]
fn help_and_labels_are_escaped_by_each_format_s_own_rule() {
    use prometheus::{IntGauge, Opts, Registry};
    let registry = Registry::new();
    let opts = Opts::new("process_hostile", "a \"quoted\" back\\slash\nand line")
        .const_label("path", "C:\\ \"x\"\n");
    let gauge = IntGauge::with_opts(opts).unwrap();
    registry.register(Box::new(gauge)).unwrap();
    let ours = Ours::new(&BucketSettings::default());
    let text = ours.text(Format::Text, registry.gather());
    assert_eq!(
        text,
        "# HELP process_hostile a \"quoted\" back\\\\slash\\nand line\n\
         # TYPE process_hostile gauge\n\
         process_hostile{path=\"C:\\\\ \\\"x\\\"\\n\"} 0\n"
    );
    let text = ours.text(Format::OpenMetrics, registry.gather());
    assert!(text.contains("# HELP process_hostile a \\\"quoted\\\" back\\\\slash\\nand line\n"));
}

fn many() -> Ours {
    let mut ours = Ours::new(&BucketSettings::default());
    let batch: Vec<_> = (0..3000)
        .flat_map(|n| {
            let name = format!("job-{n}");
            [
                jobs::QUEUED_DURATION.observe(job(&name), 7.0),
                jobs::ID.set(job(&name), 1.0),
            ]
        })
        .collect();
    ours.record(&batch);
    ours
}

#[test]
fn a_long_answer_comes_in_chunks_and_families_stay_whole() {
    let ours = many();
    let stream = TextStream::new(ours.table.walk(LATER), vec![], Format::Text, false);
    let chunks: Vec<_> = stream.map(Result::unwrap).collect();
    assert!(chunks.len() > 10);
    for chunk in &chunks[..chunks.len() - 1] {
        assert!(
            (64 * 1024..80 * 1024).contains(&chunk.len()),
            "{}",
            chunk.len()
        );
    }
    let text = String::from_utf8(chunks.concat()).unwrap();
    let types: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("# TYPE"))
        .collect();
    assert_eq!(types.len(), 2);
    assert_eq!(text.lines().count(), 4 + 3000 * (8 + 3) + 3000);
}

#[test]
fn gzip_is_the_same_text() {
    let ours = many();
    for format in [Format::Text, Format::OpenMetrics] {
        let stream = TextStream::new(ours.table.walk(LATER), vec![], format, true);
        let packed = concat(stream);
        let text = ours.text(format, vec![]);
        assert!(packed.len() * 5 < text.len());
        assert_eq!(String::from_utf8(gunzip(&packed)).unwrap(), text);
    }
    let empty = Ours::new(&BucketSettings::default());
    let stream = TextStream::new(empty.table.walk(LATER), vec![], Format::Text, true);
    assert_eq!(gunzip(&concat(stream)), b"");
}

#[test]
fn a_slow_reader_neither_holds_writers_up_nor_sees_two_states() {
    use crate::series::Update;
    let mut ours = many();
    let mut stream = TextStream::new(ours.table.walk(LATER), vec![], Format::Text, false);
    let mut text = stream.next().unwrap().unwrap().to_vec();
    // While the reader sleeps, every gauge is replaced by others.
    ours.gauges.clear();
    ours.record(&[jobs::ID.set(job("other"), 1.0)]);
    ours.table.apply(Update::default(), LATER);
    text.extend(stream.flat_map(|chunk| chunk.unwrap().to_vec()));
    let text = String::from_utf8(text).unwrap();
    let ids = text.lines().filter(|line| line.starts_with("age_job_id{"));
    assert_eq!(ids.clone().count(), 3000);
    assert!(!text.contains("other"));
    assert!(ours.text(Format::Text, vec![]).contains("other"));
}

/// A registry as the exporter's own metrics come from it, in an order that is not the catalogue's.
fn own() -> prometheus::Registry {
    use prometheus::{Counter, Gauge, Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
    let registry = Registry::new();
    let cpu = Counter::new("process_cpu_seconds_total", "CPU time.").unwrap();
    cpu.inc_by(1.5);
    let duration = HistogramOpts::new("age_api_request_duration_seconds", "Durations.");
    let duration = Histogram::with_opts(duration.buckets(vec![0.5, 1.0])).unwrap();
    duration.observe(0.75);
    let requests = Opts::new("age_api_requests_total", "Requests.");
    let requests = IntCounterVec::new(requests, &["endpoint"]).unwrap();
    requests.with_label_values(&["/projects"]).inc();
    let remaining = Gauge::new("age_api_rate_limit_remaining", "Left.").unwrap();
    remaining.set(f64::INFINITY);
    // What the table writes is not the registry's to say.
    let intruder = Counter::new("age_job_failures_total", "Intruder.").unwrap();
    registry.register(Box::new(cpu)).unwrap();
    registry.register(Box::new(duration)).unwrap();
    registry.register(Box::new(requests)).unwrap();
    registry.register(Box::new(remaining)).unwrap();
    registry.register(Box::new(intruder)).unwrap();
    registry
}

#[test]
fn the_exporter_s_own_metrics_follow_in_the_order_of_the_catalogue() {
    let ours = small();
    let facts = ours.text(Format::Text, vec![]);
    let text = ours.text(Format::Text, own().gather());
    let tail = text.strip_prefix(&facts).unwrap();
    let expected = r#"# HELP age_api_requests_total Requests.
# TYPE age_api_requests_total counter
age_api_requests_total{endpoint="/projects"} 1
# HELP age_api_request_duration_seconds Durations.
# TYPE age_api_request_duration_seconds histogram
age_api_request_duration_seconds_bucket{le="0.5"} 0
age_api_request_duration_seconds_bucket{le="1"} 1
age_api_request_duration_seconds_bucket{le="+Inf"} 1
age_api_request_duration_seconds_sum 0.75
age_api_request_duration_seconds_count 1
# HELP age_api_rate_limit_remaining Left.
# TYPE age_api_rate_limit_remaining gauge
age_api_rate_limit_remaining +Inf
# HELP process_cpu_seconds_total CPU time.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 1.5
"#;
    assert_eq!(tail, expected);
    assert!(!text.contains("Intruder"));
}

#[test]
fn the_exporter_s_own_metrics_are_open_metrics_too() {
    let text = small().text(Format::OpenMetrics, own().gather());
    let expected = r#"# TYPE age_api_requests counter
# HELP age_api_requests Requests.
age_api_requests_total{endpoint="/projects"} 1
# TYPE age_api_request_duration_seconds histogram
# UNIT age_api_request_duration_seconds seconds
# HELP age_api_request_duration_seconds Durations.
age_api_request_duration_seconds_bucket{le="0.5"} 0
age_api_request_duration_seconds_bucket{le="1.0"} 1
age_api_request_duration_seconds_bucket{le="+Inf"} 1
age_api_request_duration_seconds_sum 0.75
age_api_request_duration_seconds_count 1
# TYPE age_api_rate_limit_remaining gauge
# HELP age_api_rate_limit_remaining Left.
age_api_rate_limit_remaining +Inf
# TYPE process_cpu_seconds counter
# UNIT process_cpu_seconds seconds
# HELP process_cpu_seconds CPU time.
process_cpu_seconds_total 1.5
# EOF
"#;
    assert!(text.ends_with(expected), "{text}");
}
