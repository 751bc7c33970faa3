//! Events: how fresh what they announce is shown, and what it costs, while 50 come in a second. The same
//! changes are announced by webhooks, by subscriptions, and not at all.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::clock::Clock;
use gitlab_simulator::auth::AccessLevel;
use gitlab_simulator::faults::{Fault, Rule};
use gitlab_simulator::time::Millis;
use gitlab_simulator::world::{Finish, JobSpec, PipelineSpec};
use gitlab_simulator::{Options, Simulator, World, WorldConfig};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::exporter::{Exporter, first_round_is_over};
use crate::report::{figure, note};
use crate::role::Outcome;

const PROJECTS: usize = 1000;
/// Between two events.
const APART: Duration = Duration::from_millis(20);
/// How long GitLab takes for each answer.
const ANSWER: Fault = Fault::Slow { milliseconds: 100 };
const DEADLINE: Duration = Duration::from_secs(300);
const SECRET: &str = "a-secret-for-webhooks";

/// What tells the exporter of changes.
const WAYS: [&str; 3] = ["webhook", "subscription", "poll"];

/// 1,000 projects with GitLab's answers after 100 ms, for `AGE_BENCH_LIVE` seconds (600) by each of the ways
/// that `AGE_BENCH_LIVE_BY` names (all: `webhook,subscription,poll`). `AGE_BENCH_LIVE_ROLE=reporter` has a token
/// below Maintainer, from which GraphQL hides runners.
pub fn measure() -> Outcome {
    let seconds = std::env::var("AGE_BENCH_LIVE").ok();
    let seconds = seconds.map_or(Ok(600), |seconds| seconds.parse())?;
    let wanted = std::env::var("AGE_BENCH_LIVE_BY").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    for way in WAYS {
        if wanted.is_empty() || wanted.contains(&way) {
            by(way, seconds)?;
        }
    }
    Ok(())
}

fn by(way: &'static str, seconds: u64) -> Outcome {
    let mut world = World::new(WorldConfig {
        start: now(),
        ..WorldConfig::default()
    });
    let role = match std::env::var("AGE_BENCH_LIVE_ROLE").as_deref() {
        Ok("reporter") => AccessLevel::Reporter,
        _ => AccessLevel::Maintainer,
    };
    for token in &mut world.tokens {
        token.default_role = role;
    }
    let mut projects = Vec::with_capacity(PROJECTS);
    for number in 0..PROJECTS {
        projects.push(world.add_project(&format!("group/project-{number}"))?);
    }
    let gitlab = Simulator::start(
        world,
        &Options {
            threads: 8,
            ..Options::default()
        },
    )?;
    let exporter = start(&gitlab, way)?;
    gitlab.faults().add(Rule::new(ANSWER));
    gitlab.requests().reset();
    gitlab.costs().reset();
    let cpu = exporter.cpu();
    let to = (way == "webhook").then_some(exporter.address);
    let events = play(&gitlab, &projects, to, Duration::from_secs(seconds))?;
    let (cpu, paid) = (exporter.cpu() - cpu, gitlab.costs().total());
    let requests = gitlab.requests().len();
    // What was announced last is read meanwhile; a poll may be an interval away.
    std::thread::sleep(Duration::from_secs(if way == "poll" { 35 } else { 5 }));
    let metrics = exporter.metrics()?;
    note(&format!(
        "by {way}: {events} changes in {seconds} s, {requests} requests to GitLab"
    ));
    if way != "poll" {
        let handling = Buckets::of(&metrics, "age_event_handling_seconds", way);
        for (name, share, target) in [("p50", 0.5, 1.0), ("p99", 0.99, 3.0)] {
            let name = format!("{way}: from an event's arrival to what it announced, {name}");
            figure(&name, handling.quantile(share), "s", Some(target));
        }
    }
    for trigger in WAYS {
        let fresh = Buckets::of(&metrics, "age_event_freshness_seconds", trigger);
        if fresh.is_empty() {
            continue;
        }
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            let name = format!("{way}: from GitLab's time to what is shown, {trigger}, {name}");
            figure(&name, fresh.quantile(share), "s", None);
        }
    }
    let (events, seconds) = (events as f64, seconds as f64);
    for (name, value, unit) in [
        (
            "requests to GitLab for a change",
            requests as f64 / events,
            "",
        ),
        ("processor", cpu.as_secs_f64() / seconds, "cores"),
        (
            "GitLab's database queries for a change",
            paid.queries / events,
            "",
        ),
        (
            "GitLab's processor for it",
            paid.cpu_ms / 1_000.0 / seconds,
            "cores",
        ),
    ] {
        figure(&format!("{way}: {name}"), value, unit, None);
    }
    Ok(())
}

/// An exporter that has read everything once, and is told of changes.
fn start(gitlab: &Simulator, way: &str) -> Outcome<Exporter> {
    let secret = format!("server.webhook.secret_token={SECRET}");
    let mut settings = vec![
        "gitlab.max_requests_per_second=100",
        "gitlab.burst_requests_per_second=100",
        "gitlab.max_concurrent_requests=20",
        "gitlab.max_server_share=0",
    ];
    match way {
        "webhook" => settings.extend(["server.webhook.enabled=true", &secret]),
        "subscription" => settings.push("gitlab.subscriptions.enabled=true"),
        _ => {}
    }
    let exporter = Exporter::start_at(gitlab.url(), gitlab.token(), &settings)?;
    let standing = format!("age_subscriptions{{state=\"standing\"}} {PROJECTS}");
    let is_ready = |metrics: &str| {
        first_round_is_over(metrics) && (way != "subscription" || metrics.contains(&standing))
    };
    while !is_ready(&exporter.metrics()?) {
        if exporter.started.elapsed() > DEADLINE {
            return Err("the first sync does not end".into());
        }
        gitlab.world().advance_to(now());
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(exporter)
}

fn now() -> Millis {
    Millis::try_from(Clock::System.unix_nanos() / 1_000_000).unwrap_or_default()
}

/// Pipelines begin and end, and each is announced `to` the exporter; how many changes that were.
fn play(
    gitlab: &Simulator,
    projects: &[u64],
    to: Option<SocketAddr>,
    time: Duration,
) -> Outcome<usize> {
    let mut random = StdRng::seed_from_u64(7);
    let spec = PipelineSpec::branch("main").job(JobSpec::new("test", "unit"));
    let (start, mut events) = (Instant::now(), 0_usize);
    let mut running: Vec<(u64, u64)> = Vec::new();
    while start.elapsed() < time {
        let (project, pipeline, status, finished) = {
            let mut world = gitlab.world();
            world.advance_to(now());
            if running.len() > 200 || (!running.is_empty() && random.random_ratio(1, 2)) {
                let place = random.random_range(0..running.len());
                let (project, pipeline) = running.swap_remove(place);
                world.finish_pipeline(pipeline, &Finish::success())?;
                (project, pipeline, "success", Some(now()))
            } else {
                let project = projects[random.random_range(0..projects.len())];
                let pipeline = world.create_pipeline(project, &spec)?;
                running.push((project, pipeline));
                (project, pipeline, "running", None)
            }
        };
        let finished = finished.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
        let body = serde_json::json!({
            "object_kind": "pipeline", "project": {"id": project},
            "object_attributes": {
                "id": pipeline, "status": status,
                "finished_at": finished.map(|at| at.to_string()),
            },
        });
        if let Some(to) = to {
            post(to, &body.to_string())?;
        }
        events += 1;
        let due = APART * u32::try_from(events).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    Ok(events)
}

fn post(to: SocketAddr, body: &str) -> Outcome {
    let mut connection = TcpStream::connect(to)?;
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nX-Gitlab-Token: {SECRET}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    match answer.starts_with("HTTP/1.1 202 ") {
        true => Ok(()),
        false => Err(answer.into()),
    }
}

/// A histogram's cumulative counts by bound, of pipelines.
struct Buckets(BTreeMap<u64, (f64, f64)>);

impl Buckets {
    fn of(metrics: &str, name: &str, trigger: &str) -> Self {
        let lines = metrics.lines().filter(|line| {
            line.starts_with(&format!("{name}_bucket{{"))
                && line.contains("collector_type=\"pipelines\"")
                && line.contains(&format!("trigger=\"{trigger}\""))
        });
        let bucket = lines.filter_map(|line| {
            let bound = line.split_once("le=\"")?.1.split('"').next()?;
            let bound: f64 = bound.replace("+Inf", "inf").parse().ok()?;
            let count = line.rsplit(' ').next()?.parse().ok()?;
            Some((bound.to_bits(), (bound, count)))
        });
        Self(bucket.collect())
    }

    fn is_empty(&self) -> bool {
        self.0.values().all(|(_, count)| *count == 0.0)
    }

    /// By linear interpolation, as Prometheus does; 0 where nothing was observed.
    fn quantile(&self, share: f64) -> f64 {
        let all = self.0.values().next_back().map_or(0.0, |(_, count)| *count);
        let wanted = all * share;
        let (mut below, mut under) = (0.0, 0.0);
        for (bound, count) in self.0.values() {
            if *count >= wanted && *count > under {
                if bound.is_infinite() {
                    return below;
                }
                return below + (bound - below) * (wanted - under) / (count - under);
            }
            (below, under) = (*bound, *count);
        }
        0.0
    }
}
