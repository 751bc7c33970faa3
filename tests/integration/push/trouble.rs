//! Receivers that are down, slow, refuse or reject.

use std::sync::Arc;
use std::time::Duration;

use amazing_gitlab_exporter::catalogue::pipelines;
use amazing_gitlab_exporter::telemetry::otlp::Protocol;
use tokio::sync::Notify;
use tonic::Code;

use super::rig::{self, Rig, ref_source, ref_source_status};
use crate::support::otlp::{Answer, Receiver};
use crate::support::{DEADLINE, Lines, eventually};

const BOTH: [Protocol; 2] = [Protocol::Grpc, Protocol::HttpProtobuf];

#[tokio::test]
async fn a_receiver_that_was_down_gets_everything_with_the_next_push() {
    for protocol in BOTH {
        let receiver = Receiver::start().await;
        let mut rig = Rig::new(&receiver, protocol);
        rig.record(&[pipelines::RUN_COUNT.add(ref_source("main", "push"), 5.0)]);
        rig.show(&[pipelines::STATUS.set(ref_source_status("main", "push", "running"), 1.0)]);
        rig.pass(rig::BIRTH_WINDOW);
        let push = rig.start_pushing();
        assert!(push.push_now().await.complete);

        let addr = receiver.addr();
        receiver.stop().await;
        rig.record(&[pipelines::RUN_COUNT.add(ref_source("main", "push"), 1.0)]);
        rig.show(&[]);
        let pushed = push.push_now().await;
        assert_eq!((pushed.complete, pushed.messages), (false, 0));
        assert_eq!((rig.exports("success"), rig.exports("error")), (1.0, 1.0));

        let receiver = Receiver::start_at(addr).await;
        assert!(push.push_now().await.complete);
        assert_eq!((rig.exports("success"), rig.exports("error")), (2.0, 1.0));
        let received = receiver.received();
        let latest = received.latest();
        let (_, gone) = latest
            .iter()
            .find(|(series, _)| series.starts_with("age_pipeline_status"))
            .expect("the end that could not be told is told now");
        assert!(gone.gone);
        let samples = received.samples();
        let (_, count) = samples
            .iter()
            .find(|(series, _)| series.starts_with("age_pipeline_run_count"))
            .expect("the counter");
        assert_eq!(*count, 6.0);
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again_within_the_push() {
    for protocol in BOTH {
        let receiver = Receiver::start().await;
        for _ in 0..2 {
            receiver.answer(Answer::Refuse(Code::Unavailable, 503));
        }
        let rig = Rig::new(&receiver, protocol);
        let push = rig.start_pushing();
        assert!(push.push_now().await.complete);
        assert_eq!(receiver.received().requests.len(), 3);
        assert_eq!((rig.exports("success"), rig.exports("error")), (1.0, 0.0));
    }
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    for protocol in BOTH {
        for (code, status) in [
            (Code::Unauthenticated, 401),
            (Code::InvalidArgument, 400),
            // Without RetryInfo the receiver does not say that it is about to recover.
            (Code::ResourceExhausted, 413),
        ] {
            let receiver = Receiver::start().await;
            receiver.answer(Answer::Refuse(code, status));
            let rig = Rig::new(&receiver, protocol);
            let push = rig.start_pushing();
            assert!(!push.push_now().await.complete);
            assert_eq!(receiver.received().requests.len(), 1, "{code:?} {status}");
            assert_eq!(rig.exports("error"), 1.0);
            assert!(push.push_now().await.complete, "the next push is fine");
        }
    }
}

#[tokio::test]
async fn a_partial_rejection_is_counted_and_not_sent_again() {
    for protocol in BOTH {
        let lines = Lines::default();
        let _logging = lines.capture();
        let receiver = Receiver::start().await;
        receiver.answer(Answer::RejectPart(3, "too old"));
        let rig = Rig::new(&receiver, protocol);
        let push = rig.start_pushing();
        assert!(push.push_now().await.complete);
        assert_eq!(receiver.received().requests.len(), 1);
        assert_eq!((rig.exports("partial"), rig.exports("success")), (1.0, 0.0));
        let text = lines.text();
        assert!(
            text.contains("rejected part of an export") && text.contains("too old"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn trouble_is_logged_with_its_cause_and_without_credentials() {
    for protocol in BOTH {
        let lines = Lines::default();
        let _logging = lines.capture();
        let receiver = Receiver::start().await;
        let mut rig = Rig::new(&receiver, protocol);
        receiver.stop().await;
        rig.target.endpoint.set_username("user").unwrap();
        rig.target
            .endpoint
            .set_password(Some("url-password"))
            .unwrap();
        let push = rig.start_pushing();
        push.push_now().await;
        let text = lines.text();
        assert!(text.contains("Connection refused"), "{text}");
        for secret in ["push-credentials", "url-password"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[tokio::test]
async fn a_stop_gives_up_a_hanging_push_and_pushes_a_last_time() {
    for protocol in BOTH {
        let receiver = Receiver::start().await;
        receiver.answer(Answer::Hold(Arc::new(Notify::new())));
        let mut rig = Rig::new(&receiver, protocol);
        rig.target.timeout = Duration::from_secs(3600);
        rig.record(&[pipelines::RUN_COUNT.add(ref_source("main", "push"), 5.0)]);
        let push = rig.start_pushing();
        tokio::select! {
            pushed = push.push_now() => panic!("it does not hang: {pushed:?}"),
            () = eventually("a push hangs", || !receiver.received().requests.is_empty()) => {}
        }
        let pushed = tokio::time::timeout(DEADLINE, push.shutdown(DEADLINE))
            .await
            .expect("the hanging push is given up");
        assert!(pushed.complete, "{pushed:?}");
        let samples = receiver.received().samples();
        let mut counts = samples
            .iter()
            .filter(|(series, _)| series.starts_with("age_pipeline_run_count"));
        assert_eq!(counts.next().map(|(_, count)| *count), Some(5.0));
    }
}

#[tokio::test]
async fn the_last_push_keeps_its_deadline() {
    for protocol in BOTH {
        let receiver = Receiver::start().await;
        receiver.answer(Answer::Hold(Arc::new(Notify::new())));
        let mut rig = Rig::new(&receiver, protocol);
        rig.target.timeout = Duration::from_secs(3600);
        let push = rig.start_pushing();
        let shutdown = push.shutdown(Duration::from_millis(50));
        let pushed = tokio::time::timeout(DEADLINE, shutdown)
            .await
            .expect("the deadline is far below the time-out of the request");
        assert!(!pushed.complete);
        assert_eq!(rig.exports("error"), 1.0);
    }
}

#[tokio::test]
async fn a_push_that_takes_too_long_is_given_up_and_told_again() {
    let receiver = Receiver::start().await;
    let mut rig = Rig::new(&receiver, Protocol::Grpc);
    rig.show(&[pipelines::STATUS.set(ref_source_status("main", "push", "running"), 1.0)]);
    rig.interval = Duration::from_millis(300);
    rig.target.timeout = Duration::from_secs(3600);
    let push = rig.start_pushing();
    assert!(push.push_now().await.complete);
    rig.show(&[]);
    receiver.answer(Answer::Hold(Arc::new(Notify::new())));
    assert!(!push.push_now().await.complete);
    receiver.answer_plainly();
    eventually("the end of the series is told after all", || {
        let received = receiver.received();
        let latest = received.latest();
        latest
            .iter()
            .any(|(series, point)| series.starts_with("age_pipeline_status") && point.gone)
    })
    .await;
}
