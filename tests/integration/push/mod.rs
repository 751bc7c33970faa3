//! The push of metrics as a receiver sees it.

mod labels;
mod rig;
mod tls;
mod trouble;

use std::collections::BTreeMap;
use std::time::Duration;

use amazing_gitlab_exporter::catalogue::{Kind, child_pipelines, jobs, pipelines};
use amazing_gitlab_exporter::delivery::push::MAX_MESSAGE_BYTES;
use amazing_gitlab_exporter::telemetry::otlp::Protocol;

use crate::support::eventually;
use crate::support::otlp::{Number, Receiver};
use rig::{Rig, START, job, ref_source, ref_source_status, row};

/// What both deliveries say that does not change between two looks.
fn steady(samples: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let mut samples = samples;
    samples.retain(|name, _| {
        !name.starts_with("process_") && !name.starts_with("age_otlp_exports_total")
    });
    samples
}

#[tokio::test]
async fn the_birth_window_follows_pushes_that_arrive() {
    let receiver = Receiver::start().await;
    let mut rig = Rig::new(&receiver, Protocol::Grpc);
    rig.watch_intervals();
    let address = rig.target.endpoint.clone();
    // Nobody listens there.
    rig.target.endpoint = "http://127.0.0.1:1".parse().expect("an address");
    let push = rig.start_pushing();
    for _ in 0..4 {
        assert!(!push.push_now().await.complete);
    }
    assert_eq!(rig.birth_window_of_pushes(), rig::BIRTH_WINDOW);
    drop(push);
    rig.target.endpoint = address;
    let push = rig.start_pushing();
    for _ in 0..3 {
        assert!(push.push_now().await.complete);
    }
    assert_eq!(rig.birth_window_of_pushes(), Duration::from_secs(10));
}

#[tokio::test]
async fn a_push_says_what_a_scrape_says() {
    for (protocol, gzip) in [
        (Protocol::Grpc, true),
        (Protocol::Grpc, false),
        (Protocol::HttpProtobuf, true),
        (Protocol::HttpProtobuf, false),
    ] {
        let receiver = Receiver::start().await;
        let mut rig = Rig::new(&receiver, protocol);
        rig.target.gzip = gzip;
        let awkward = "feat/\"quoted\"\\back\nnew line 🦊";
        rig.record(&[
            pipelines::RUN_COUNT.add(ref_source("main", "push"), 3.0),
            pipelines::RUN_COUNT.add(ref_source(awkward, "web"), 1.0),
            pipelines::DURATION.observe(ref_source_status("main", "push", "success"), 42.5),
            pipelines::DURATION.observe(ref_source_status("main", "push", "success"), 1e6),
            pipelines::DURATION.observe(ref_source_status("main", "push", "failed"), 0.0),
            jobs::DURATION.observe(row(7), 7.0),
        ]);
        rig.show(&[
            pipelines::STATUS.set(ref_source_status("main", "push", "success"), 1.0),
            jobs::COVERAGE.set(job(awkward), 87.25),
        ]);
        rig.own.api_request("GET", "/projects/:id", "200", 0.125);
        rig.pass(rig::BIRTH_WINDOW);
        let push = rig.start_pushing();
        let pushed = push.push_now().await;
        assert!(pushed.complete, "{pushed:?}");

        let received = receiver.received();
        assert_eq!(steady(received.samples()), steady(rig.scrape()));
        assert_eq!(received.points.len(), pushed.points);
        let process = "process_resident_memory_bytes{}";
        assert!(received.samples()[process] > 0.0);
        for (name, (kind, unit, help)) in &received.metrics {
            let desc = rig::desc(name);
            assert_eq!(*kind, desc.kind.as_str(), "{name}");
            assert_eq!(unit, desc.unit, "{name}");
            assert_eq!(help, desc.help, "{name}");
        }
        assert_eq!(received.scope.0, "amazing-gitlab-exporter");
        assert_eq!(received.scope.1, env!("CARGO_PKG_VERSION"));
        assert_eq!(received.resource["service.name"], "amazing-gitlab-exporter");
        assert_eq!(received.resource["service.instance.id"], "instance-1");
        assert_eq!(received.resource["team"], "ci");
        let request = &received.requests[0];
        assert_eq!(request.grpc, protocol == Protocol::Grpc);
        assert_eq!(request.headers["authorization"], rig::CREDENTIALS);
        let encoding = match protocol {
            Protocol::Grpc => request.headers.get("grpc-encoding"),
            Protocol::HttpProtobuf => request.headers.get("content-encoding"),
        };
        assert_eq!(encoding.is_some_and(|encoding| encoding == "gzip"), gzip);
    }
}

#[tokio::test]
async fn a_series_is_born_at_zero_and_counts_from_then_on() {
    let receiver = Receiver::start().await;
    let mut rig = Rig::new(&receiver, Protocol::Grpc);
    rig.record(&[
        pipelines::RUN_COUNT.add(ref_source("main", "push"), 5.0),
        pipelines::DURATION.observe(ref_source_status("main", "push", "success"), 42.0),
    ]);
    let push = rig.start_pushing();
    rig.pass(Duration::from_secs(1));
    push.push_now().await;
    rig.pass(rig::BIRTH_WINDOW);
    push.push_now().await;

    let received = receiver.received();
    let of = |name: &str| -> Vec<_> {
        let points = received.points.iter();
        points
            .filter(|(series, _)| series.starts_with(name))
            .map(|(_, point)| point.clone())
            .collect()
    };
    let born = u64::try_from(START.0).unwrap() * 1_000_000_000;
    let start = born - 1_000_000_000;
    let [first, second] = &of("age_pipeline_run_count")[..] else {
        panic!("two pushes")
    };
    assert_eq!(first.number, Number::Value(0.0));
    assert_eq!(second.number, Number::Value(5.0));
    assert_eq!((first.start, second.start), (start, start));
    assert_eq!(first.time, born + 1_000_000_000);
    assert!(second.time > first.time);

    let [first, second] = &of("age_pipeline_duration_seconds")[..] else {
        panic!("two pushes")
    };
    let histogram = |point: &Number| match point {
        Number::Histogram {
            count,
            sum,
            buckets,
            bounds,
        } => (*count, *sum, buckets.iter().sum::<u64>(), bounds.len()),
        other => panic!("a histogram, not {other:?}"),
    };
    assert_eq!(histogram(&first.number), (0, 0.0, 0, 9));
    assert_eq!(histogram(&second.number), (1, 42.0, 1, 9));
    assert_eq!(second.start, start);
}

#[tokio::test]
async fn a_clock_that_is_set_cuts_no_initial_zero_short_and_takes_nothing_back() {
    let receiver = Receiver::start().await;
    let mut rig = Rig::new(&receiver, Protocol::Grpc);
    rig.record(&[pipelines::RUN_COUNT.add(ref_source("main", "push"), 5.0)]);
    let push = rig.start_pushing();
    let day = Duration::from_secs(86_400);
    let clock = rig.clock.clone();
    clock.leap(clock.now().plus(day));
    push.push_now().await;
    rig.pass(rig::BIRTH_WINDOW);
    push.push_now().await;
    clock.set(clock.now().minus(2 * day));
    push.push_now().await;
    let received = receiver.received();
    let pushed: Vec<_> = received
        .points
        .iter()
        .filter(|(series, _)| series.starts_with("age_pipeline_run_count"))
        .map(|(_, point)| (point.number.clone(), point.start, point.time))
        .collect();
    let [zero, value, later] = &pushed[..] else {
        panic!("three pushes: {pushed:?}")
    };
    assert_eq!(zero.0, Number::Value(0.0));
    assert_eq!([&value.0, &later.0], [&Number::Value(5.0); 2]);
    assert_eq!([value.1, later.1], [zero.1; 2], "another start is a reset");
    assert!(zero.2 < value.2 && value.2 < later.2, "{pushed:?}");
}

#[tokio::test]
async fn what_is_gone_is_told_once() {
    let receiver = Receiver::start().await;
    let mut rig = Rig::new(&receiver, Protocol::Grpc);
    rig.record(&[
        pipelines::RUN_COUNT.add(ref_source("gone", "push"), 5.0),
        pipelines::DURATION.observe(ref_source_status("gone", "push", "success"), 42.0),
    ]);
    rig.show(&[pipelines::STATUS.set(ref_source_status("gone", "push", "running"), 1.0)]);
    let push = rig.start_pushing();
    push.push_now().await;
    rig.show(&[pipelines::STATUS.set(ref_source_status("gone", "push", "success"), 1.0)]);
    push.push_now().await;
    {
        let received = receiver.received();
        let statuses: Vec<_> = received
            .samples()
            .into_keys()
            .filter(|series| series.starts_with("age_pipeline_status"))
            .collect();
        assert_eq!(statuses.len(), 1, "{statuses:?}");
        assert!(statuses[0].contains("success"), "{statuses:?}");
    }

    rig.retire("gone");
    receiver.received().clear();
    push.push_now().await;
    {
        let received = receiver.received();
        let latest = received.latest();
        // The exporter's own count of their series ends with them.
        let gone: Vec<_> = latest
            .iter()
            .filter(|(series, point)| point.gone && !series.starts_with("age_series{"))
            .collect();
        assert_eq!(gone.len(), 2, "{gone:?}");
        for (series, point) in gone {
            if series.starts_with("age_pipeline_run_count") {
                assert_eq!(point.number, Number::None);
            } else {
                let Number::Histogram {
                    count,
                    sum,
                    bounds,
                    buckets,
                } = &point.number
                else {
                    panic!("a histogram: {point:?}")
                };
                assert_eq!((*count, *sum), (0, 0.0));
                assert_eq!((bounds.len(), buckets), (9, &vec![0; 10]));
            }
        }
    }
    receiver.received().clear();
    push.push_now().await;
    assert!(
        receiver
            .received()
            .points
            .iter()
            .all(|(_, point)| !point.gone)
    );
}

#[tokio::test]
async fn a_series_that_came_back_before_the_push_did_not_go() {
    let receiver = Receiver::start().await;
    let mut rig = Rig::new(&receiver, Protocol::Grpc);
    let shown = pipelines::STATUS.set(ref_source_status("main", "push", "running"), 1.0);
    rig.show(std::slice::from_ref(&shown));
    let push = rig.start_pushing();
    push.push_now().await;
    rig.show(&[]);
    rig.show(&[shown]);
    receiver.received().clear();
    push.push_now().await;
    let received = receiver.received();
    assert!(received.points.iter().all(|(_, point)| !point.gone));
    assert!(
        received
            .samples()
            .keys()
            .any(|series| series.contains("running"))
    );
}

#[tokio::test]
async fn many_series_are_cut_into_messages_that_receivers_take() {
    for protocol in [Protocol::Grpc, Protocol::HttpProtobuf] {
        let receiver = Receiver::start().await;
        let mut rig = Rig::new(&receiver, protocol);
        const ROWS: usize = 12_000;
        for chunk in (0..ROWS).collect::<Vec<_>>().chunks(1_000) {
            let batch: Vec<_> = chunk
                .iter()
                .flat_map(|i| {
                    [
                        jobs::DURATION.observe(row(*i), 7.0),
                        child_pipelines::RUN_COUNT.add(rig::child(*i), 1.0),
                    ]
                })
                .collect();
            rig.record(&batch);
        }
        rig.pass(rig::BIRTH_WINDOW);
        let push = rig.start_pushing();
        let pushed = push.push_now().await;
        assert!(pushed.complete, "{pushed:?}");

        let received = receiver.received();
        let sizes: Vec<usize> = received
            .requests
            .iter()
            .map(|request| request.encoded_len)
            .collect();
        assert!(
            sizes.len() > 1 && sizes.len() == pushed.messages,
            "{sizes:?}"
        );
        // The default limit of gRPC servers.
        assert!(sizes.iter().all(|size| *size < 4 << 20), "{sizes:?}");
        // All but the last are filled.
        let filled = &sizes[..sizes.len() - 1];
        assert!(
            filled.iter().all(|size| *size > MAX_MESSAGE_BYTES / 10 * 9),
            "{sizes:?}"
        );
        assert!(received.points.len() >= 2 * ROWS);
        assert_eq!(received.latest().len(), received.points.len(), "none twice");
        assert_eq!(steady(received.samples()), steady(rig.scrape()));
    }
}

#[tokio::test]
async fn pushes_come_by_themselves() {
    let receiver = Receiver::start().await;
    let mut rig = Rig::new(&receiver, Protocol::Grpc);
    rig.interval = Duration::from_millis(20);
    rig.show(&[pipelines::STATUS.set(ref_source_status("main", "push", "running"), 1.0)]);
    let push = rig.start_pushing();
    eventually("three pushes", || receiver.received().requests.len() >= 3).await;
    let received = receiver.received();
    let mut times: Vec<u64> = received
        .points
        .iter()
        .filter(|(series, _)| series.starts_with("age_pipeline_status"))
        .map(|(_, point)| point.time)
        .collect();
    assert!(times.len() >= 3, "{times:?}");
    // On a busy machine a push that was given up can be taken in after the one that followed it.
    times.sort_unstable();
    // Each has a time of its own, also while the clock stands still.
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
    drop(push);
}

#[tokio::test]
async fn the_last_push_holds_every_event() {
    let receiver = Receiver::start().await;
    let mut rig = Rig::new(&receiver, Protocol::Grpc);
    rig.record(&[pipelines::RUN_COUNT.add(ref_source("old", "push"), 1.0)]);
    rig.pass(rig::BIRTH_WINDOW);
    let push = rig.start_pushing();
    push.push_now().await;
    rig.record(&[
        pipelines::RUN_COUNT.add(ref_source("old", "push"), 1.0),
        pipelines::RUN_COUNT.add(ref_source("young", "push"), 4.0),
    ]);
    let pushed = push.shutdown(crate::support::DEADLINE).await;
    assert!(pushed.complete, "{pushed:?}");
    let received = receiver.received();
    let samples = received.samples();
    let of = |git_ref: &str| {
        let mut found = samples.iter().filter(|(series, _)| {
            series.starts_with("age_pipeline_run_count") && series.contains(git_ref)
        });
        found.next().map(|(_, value)| *value)
    };
    assert_eq!(of("old"), Some(2.0));
    assert_eq!(of("young"), Some(4.0), "young as it is, nobody looks again");
    for (series, point) in &received.points {
        let is_gauge = rig::kind_of(series) == Kind::Gauge;
        assert!(is_gauge || point.start < point.time, "{series}: {point:?}");
    }
}
