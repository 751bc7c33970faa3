use super::*;
use crate::catalogue::labels::{JobLabels, ProjectLabels, RefLabels, RefSourceLabels};
use crate::catalogue::{jobs, pipelines};

fn instruments() -> Instruments {
    Instruments::new(&BucketSettings {
        pipelines: [1.0, 10.0].into(),
        ..BucketSettings::default()
    })
    .unwrap()
}

fn run(git_ref: &str) -> RefSourceLabels {
    RefSourceLabels {
        kind: "branch".into(),
        project: "p".into(),
        git_ref: git_ref.into(),
        source: "push".into(),
    }
}

fn newest(git_ref: &str) -> RefLabels {
    RefLabels {
        kind: "branch".into(),
        project: "p".into(),
        git_ref: git_ref.into(),
    }
}

#[test]
fn each_record_yields_what_it_changed_and_nothing_else() {
    let mut instruments = instruments();
    let deltas = instruments
        .record(&[
            pipelines::RUN_COUNT.add(run("main"), 1.0),
            pipelines::RUN_COUNT.add(run("main"), 2.0),
            pipelines::QUEUED_DURATION.observe(run("main"), 1.0),
            pipelines::QUEUED_DURATION.observe(run("main"), 10.5),
            pipelines::ID.set(newest("main"), 4.0),
            pipelines::ID.set(newest("main"), 0.0),
        ])
        .unwrap();
    let change = |desc: &Desc| {
        let family = FamilyId::of(desc).unwrap();
        let mut changes = deltas.iter().filter(|delta| delta.family == family);
        let delta = changes.next().unwrap();
        assert!(changes.next().is_none());
        delta.change.clone()
    };
    assert_eq!(deltas.len(), 3);
    assert_eq!(change(&pipelines::RUN_COUNT.desc), Change::Rise(3.0));
    assert_eq!(change(&pipelines::ID.desc), Change::Level(0.0));
    let histogram = Change::Histogram {
        count: 2,
        sum: 11.5,
        buckets: vec![1, 0, 1],
    };
    assert_eq!(change(&pipelines::QUEUED_DURATION.desc), histogram);

    let measurement = pipelines::RUN_COUNT.add(run("other"), 5.0);
    let deltas = instruments
        .record(std::slice::from_ref(&measurement))
        .unwrap();
    assert_eq!(deltas.len(), 1);
    assert_eq!(deltas[0].labels, measurement.labels);
    assert_eq!(deltas[0].change, Change::Rise(5.0));
    // The texts are shared with the measurement, not copied.
    for (text, original) in deltas[0].labels.iter().zip(&measurement.labels) {
        assert!(Text::ptr_eq(text, original));
    }
    assert_eq!(instruments.record(&[]).unwrap(), []);
}

#[test]
fn what_the_sdk_would_swallow_is_refused_and_counted() {
    let mut instruments = instruments();
    let deltas = instruments
        .record(&[
            pipelines::RUN_COUNT.add(run("a"), f64::NAN),
            pipelines::RUN_COUNT.add(run("b"), -1.0),
            pipelines::ID.set(newest("c"), f64::INFINITY),
            pipelines::QUEUED_DURATION.observe(run("d"), f64::NEG_INFINITY),
            pipelines::ID.set(newest("e"), -1.0),
            pipelines::RUN_COUNT.add(run("f"), 0.0),
        ])
        .unwrap();
    assert_eq!(deltas.len(), 2);
    assert_eq!(instruments.refused(), 4);
}

#[test]
fn a_series_in_several_chunks_is_combined() {
    let mut instruments = instruments();
    let mut batch = Vec::new();
    for n in 0..3 * MAX_BATCH {
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let value = n as f64;
        batch.push(pipelines::RUN_COUNT.add(run(&format!("r{}", n % 7)), 1.0));
        batch.push(pipelines::ID.set(newest("main"), value));
        batch.push(pipelines::QUEUED_DURATION.observe(run("main"), 2.0));
    }
    let deltas = instruments.record(&batch).unwrap();
    assert_eq!(deltas.len(), 7 + 2);
    let total: f64 = deltas
        .iter()
        .filter_map(|delta| match delta.change {
            Change::Rise(rise) => Some(rise),
            _ => None,
        })
        .sum();
    let count = u32::try_from(3 * MAX_BATCH).unwrap();
    let recorded = f64::from(count);
    assert_eq!(total, recorded);
    assert!(
        deltas
            .iter()
            .any(|delta| delta.change == Change::Level(recorded - 1.0))
    );
    let histogram = Change::Histogram {
        count: count.into(),
        sum: 2.0 * recorded,
        buckets: vec![0, count.into(), 0],
    };
    assert!(deltas.iter().any(|delta| delta.change == histogram));
}

#[test]
fn ever_new_series_never_overflow_the_sdk() {
    let mut instruments = instruments();
    for round in 0..5 {
        let batch: Vec<_> = (0..2 * MAX_BATCH)
            .map(|n| {
                let labels = JobLabels {
                    job_name: format!("job-{round}-{n}").into(),
                    project: "p".into(),
                    git_ref: "main".into(),
                    stage: "test".into(),
                };
                jobs::RUN_COUNT.add(labels, 1.0)
            })
            .collect();
        assert_eq!(instruments.record(&batch).unwrap().len(), 2 * MAX_BATCH);
    }
}

#[test]
fn more_than_a_batch_between_two_collects_would_be_noticed() {
    let mut instruments = instruments();
    let batch: Vec<_> = (0..3 * MAX_BATCH)
        .map(|n| {
            jobs::PENDING.set(
                ProjectLabels {
                    project: format!("p{n}").into(),
                },
                1.0,
            )
        })
        .collect();
    let texts = instruments.measure(&batch);
    instruments
        .reader
        .collect(&mut instruments.collected)
        .unwrap();
    let result = Changes::default().read(&instruments.collected, &texts);
    assert!(
        matches!(result, Err(InstrumentsError::Overflow(metric)) if metric == "age_jobs_pending")
    );
}

#[test]
fn nothing_of_a_failed_batch_is_left_behind() {
    let mut instruments = instruments();
    // As after a collect that failed.
    instruments.measure(&[pipelines::RUN_COUNT.add(run("lost"), 1.0)]);
    instruments.stale = true;
    let deltas = instruments
        .record(&[pipelines::RUN_COUNT.add(run("main"), 1.0)])
        .unwrap();
    assert_eq!(deltas.len(), 1);
    assert_eq!(*deltas[0].labels[2], *"main");
}

#[test]
fn unusable_buckets_are_an_error_that_names_the_metric() {
    for bounds in [
        vec![2.0, 1.0],
        vec![1.0, f64::NAN],
        vec![1.0, f64::INFINITY],
    ] {
        let buckets = BucketSettings {
            jobs: bounds.into(),
            ..BucketSettings::default()
        };
        let error = Instruments::new(&buckets).unwrap_err().to_string();
        assert!(error.contains("age_job_duration_seconds"), "{error}");
    }
}
