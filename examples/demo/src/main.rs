//! The demo: a simulated GitLab that lives in real time, the exporter over it, and an OTLP receiver
//! that shows what is pushed. All on 127.0.0.1, until Ctrl-C; no token, server or account needed.

mod gitlab;
mod rarities;
mod receiver;

use std::error::Error;
use std::io::{self, Write};
use std::net::TcpListener;

use amazing_gitlab_exporter::app::{App, StateFile};
use amazing_gitlab_exporter::catalogue::Collector;
use amazing_gitlab_exporter::clock::Clock;
use amazing_gitlab_exporter::config::Config;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let gitlab = gitlab::Live::start()?;
    let receiver = receiver::start(listen(8082)?, listen(4317)?)?;
    let config = configuration(gitlab.url(), gitlab.token(), &receiver.grpc);
    let listener = listen(8080)?;
    let app = App::new(
        Config::from_yaml(&config)?,
        Clock::System,
        StateFile::GoOn,
        |_| {},
    )?;
    let telemetry = app.install_telemetry()?;
    let running = app.start(listener).await?;
    let links = format!(
        "
amazing-gitlab-exporter is watching a simulated GitLab.

  Metrics          http://{exporter}/metrics
  Status page      http://{exporter}/
  Received by OTLP http://{receiver}/metrics
  Received spans   http://{receiver}/spans
  Simulated GitLab {gitlab} (token {token})

Things happen every few seconds: look again. Ctrl-C ends it.

",
        exporter = running.address(),
        receiver = receiver.page,
        gitlab = gitlab.url(),
        token = gitlab.token(),
    );
    // In one piece: who reads the first line may close the pipe then.
    io::stdout().write_all(links.as_bytes())?;
    tokio::signal::ctrl_c().await?;
    running.stop(Some(telemetry)).await;
    Ok(())
}

/// Listens on the usual port, or on a free one where that is taken.
fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))
}

/// Short intervals and a short birth window, so that there is something to see within a minute.
fn configuration(gitlab: &str, token: &str, receiver: &str) -> String {
    format!(
        "
log: {{level: warn}}
server: {{listen_address: '127.0.0.1:0', webhook: {{enabled: true, secret_token: a-secret-for-the-demo}}}}
gitlab: {{url: '{gitlab}', token: '{token}', max_requests_per_second: 50, subscriptions: {{enabled: true}}}}
discovery: {{interval: 30s}}
collectors:
{collectors}project_defaults:
  refs: {{branches: {{regexp: '.*'}}}}
wildcards: [{{}}]
otel:
  metrics: {{endpoint: '{receiver}', interval: 5s}}
  traces: {{endpoint: '{receiver}'}}
telemetry: {{birth_window: 10s}}
",
        collectors = collectors()
    )
}

/// Every collector, switched on, with what some need beside that.
fn collectors() -> String {
    let all = Collector::ALL.into_iter();
    // Their switch is one of pipelines, on by default.
    let all = all.filter(|collector| *collector != Collector::ChildPipelines);
    let lines = all.map(|collector| {
        let (seconds, more) = match collector {
            Collector::Pipelines => (5, ""),
            Collector::Jobs => (5, ", runner_description_regexp: '.+', tags_regexp: '.+'"),
            Collector::MergeRequests | Collector::CodeReview | Collector::Environments => (10, ""),
            Collector::TestReports => (10, ", include_test_cases: true"),
            Collector::Variables => (30, ", regexp: '^DEPLOY_'"),
            _ => (30, ""),
        };
        let name = collector.as_str();
        format!("  {name}: {{enabled: true, interval_seconds: {seconds}{more}}}\n")
    });
    lines.collect()
}
