//! Without a state file, what happens while the exporter is down is history: it is not counted, and
//! makes no spike.

use super::program::{Home, kill, looks};
use super::reading;
use crate::programs::story::{PROJECT, Story};
use crate::support::{prometheus, until};

/// How often it is killed.
const KILLS: usize = 4;
/// Series of the pipelines that the story runs.
const LABELS: [(&str, &str); 3] = [("project", PROJECT), ("ref", "main"), ("source", "web")];

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_it_is_down_is_not_counted_and_makes_no_spike() {
    let story = Story::begin();
    let home = Home::new(&story.configuration(""), &[]);
    let mut exporter = home.start_and_read().await;
    let Some((_program, promql)) = prometheus::start(&home.prometheus()).await else {
        return;
    };
    looks(&promql).await;
    let series = format!("age_pipeline_run_count{{project='{PROJECT}', ref='main', source='web'}}");
    for round in 0..=KILLS {
        if round > 0 {
            // What happened meanwhile is history, and has no series.
            assert_eq!(counted(&home).await, None, "in round {round}");
        }
        story.run_three();
        until("three are counted, and seen", async || {
            let counted = (counted(&home).await, promql.value(&series, None).await);
            match counted {
                (Some(3.0), Some(3.0)) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        if round < KILLS {
            kill(exporter).await;
            story.run_three();
            exporter = home.start_and_read().await;
        }
    }
    let web = reading::of_prometheus(&promql).await.into_iter();
    let web: Vec<_> = web
        // Where one succeeds, that none has failed is shown, too.
        .filter(|((_, labels), _)| {
            labels
                .get("status")
                .is_none_or(|status| status == "success")
        })
        .filter(|((_, labels), _)| {
            let mut wanted = LABELS.iter();
            wanted.all(|(key, value)| labels.get(*key).is_some_and(|has| has == value))
        })
        .collect();
    let metrics: Vec<&str> = web.iter().map(|((metric, _), _)| metric.as_str()).collect();
    assert_eq!(
        metrics,
        [
            "age_pipeline_run_count",
            "age_pipeline_finished_total",
            "age_pipeline_duration_seconds",
            "age_pipeline_queued_duration_seconds"
        ]
    );
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let expected = reading::Rise {
        first: 0.0,
        rises: 3.0 * (KILLS + 1) as f64,
        falls: KILLS,
    };
    for ((metric, _), rise) in web {
        assert_eq!(rise, expected, "{metric}");
    }
}

/// What the exporter's own text says of the story's pipelines.
async fn counted(home: &Home) -> Option<f64> {
    let text = home.metrics().await;
    let line = text.lines().find(|line| {
        line.starts_with("age_pipeline_run_count{")
            && LABELS
                .iter()
                .all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")))
    })?;
    line.rsplit_once(' ')?.1.parse().ok()
}
