use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::sample;
use super::site::{Site, TOKEN};
use crate::catalogue::{self, Collector};
use crate::gitlab::graphql::gaps::{GAPS, Loss, Why};
use crate::server::LIMITS;
use crate::server::status::{CollectorStatus, FirstSync, Reachability, Reading, TokenExpiry};

/// What stands between `start` and `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).unwrap_or_else(|| panic!("no {start}")) + start.len();
    let to = text[from..].find(end).unwrap_or_else(|| panic!("no {end}"));
    &text[from..from + to]
}

fn rows(page: &str) -> usize {
    let projects = &page[page.find("id=\"projects\"").unwrap()..];
    projects.matches("<th scope=\"row\">").count()
}

#[tokio::test]
async fn the_page_shows_what_is_known() {
    let site = Site::start();
    site.fill(1_234);
    let page = site.get("/").await.text();
    for seen in [
        concat!("version ", env!("CARGO_PKG_VERSION")),
        "18.6.1-ee",
        "Enterprise Edition",
        "premium",
        "exporter-read-only",
        "read_api, read_user",
        "expires in 19 d",
        "1,742",
        "in 42 s",
        "3 % of one GitLab worker",
        "4 of 8",
        "not throttled",
        "1,234",
        "failed 9 s ago",
        "collector.observability.svc:4318",
        "unavailable",
        "value stream analytics needs GitLab Premium",
        "Disabled: <span class=\"chip\">test_reports</span>",
        "timeout <b>12</b>",
        "1 min 15 s",
        "payments/service-1",
        "dora, security: needs GitLab Ultimate, the project has Free",
        "up 1 d 2 h",
    ] {
        assert!(page.contains(seen), "{seen} is missing in {page}");
    }
}

#[tokio::test]
async fn the_first_line_shows_the_worst() {
    let site = Site::start();
    let overall = async || {
        let page = site.get("/").await.text();
        between(&page, "role=\"status\">", "<").to_owned()
    };
    assert_eq!(overall().await, "OTLP export of traces fails");
    site.world.change(|status| status.push.clear());
    assert_eq!(overall().await, "Token: expires in 19 d");
    site.world
        .change(|status| status.token.expiry = TokenExpiry::Never);
    assert_eq!(overall().await, "All is well");
    let lag = |seconds| {
        site.world.change(|status| {
            let is_pipelines = |c: &&mut CollectorStatus| c.collector == Collector::Pipelines;
            let pipelines = status.collectors.iter_mut().find(is_pipelines).unwrap();
            pipelines.lag = Some(Duration::from_secs(seconds));
        });
    };
    lag(120);
    assert_eq!(overall().await, "All is well");
    lag(455);
    assert_eq!(overall().await, "Data is up to 7 min 35 s behind");
    // However long ago the latest run was.
    site.world.projects.lock().unwrap()[0].lag = Duration::from_secs(3_600);
    assert_eq!(overall().await, "Data is up to 1 h behind");
    lag(0);
    site.world.projects.lock().unwrap()[0].lag = Duration::ZERO;
    assert_eq!(overall().await, "All is well");
    site.world.change(|status| {
        for collector in &mut status.collectors {
            collector.succeeded_at = collector
                .ran_at
                .map(|at| at.minus(Duration::from_secs(300)));
        }
    });
    assert_eq!(overall().await, "Data is up to 5 min behind");
    let page = site.get("/").await.text();
    let failing = "<span class=\"pill bad\">failing</span> <span class=\"note\">no project was read for 5 min";
    assert!(page.contains(failing), "{page}");
    site.world.change(|status| {
        for collector in &mut status.collectors {
            collector.succeeded_at = collector.ran_at;
        }
    });
    let first_sync = |done| {
        site.world.change(|status| {
            status.started_at = sample::NOW.minus(Duration::from_secs(120));
            status.projects.counts.first_sync = FirstSync {
                done,
                due: 400,
                projects: 60,
            };
        });
    };
    // Pipelines are read of all, and not everything else: all is not well yet.
    first_sync(300);
    assert_eq!(overall().await, "First sync: 75 %, about 40 s left");
    let page = site.get("/").await.text();
    for text in [
        "300 of 400 reads",
        "60 of 3 projects complete after 2 min, about 40 s left",
        "<progress value=\"300\" max=\"400\"",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    first_sync(0);
    assert_eq!(overall().await, "First sync: 0 %");
    first_sync(400);
    assert_eq!(overall().await, "All is well");
    *site.world.projects.lock().unwrap() = sample::projects(8).split_off(5);
    assert_eq!(overall().await, "1 of 3 projects fails");
    for project in &mut *site.world.projects.lock().unwrap() {
        project.reads_nothing = true;
    }
    assert_eq!(overall().await, "The token cannot read any project");
    site.world
        .change(|status| status.token.expiry = TokenExpiry::At(sample::NOW));
    assert_eq!(overall().await, "Token: expired");
    site.world.change(|status| status.store.up = false);
    assert_eq!(overall().await, "State cannot be written");
    site.world.change(|status| {
        let error = "connection refused".into();
        status.gitlab.reachability = Reachability::Down { error };
    });
    assert_eq!(overall().await, "GitLab is unreachable");
}

#[tokio::test]
async fn a_gitlab_that_slows_down_is_shown() {
    let site = Site::start();
    let slowed = "GitLab slowed down 12 s ago";
    let yields = "paused, GitLab slowed down";
    let waits = "throttled, next in 1 min 15 s";
    site.world.change(|status| {
        status.load.workers = Some(1.72);
        status.load.pace.slowed = Some(Duration::from_millis(12_345));
        status.load.pace.backfill_waits = Some(Duration::from_secs(75));
    });
    let page = site.get("/").await.text();
    assert!(page.contains("1.7 GitLab workers") && page.contains("<dd class=\"warn\">"));
    assert!(page.contains(slowed) && page.contains(yields) && !page.contains(waits));
    site.world.change(|status| status.load.pace.slowed = None);
    let page = site.get("/").await.text();
    assert!(page.contains(waits) && !page.contains(slowed));
}

#[tokio::test]
async fn what_is_missing_is_shown() {
    let site = Site::start();
    assert!(!site.get("/").await.text().contains("Missing"));
    site.world.change(|status| {
        status.gitlab.lost = vec![
            missing("Pipeline", "type"),
            missing("Project", "valueStreams"),
        ];
        status.token.missing_grants = vec!["Branch: Read".into()];
    });
    let page = site.get("/").await.text();
    for text in [
        "the GraphQL API of this GitLab has no Pipeline.type",
        "no data is missing; the kind",
        "Missing grant",
        "Branch: Read",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let tone = |field: &str| {
        let before = page.split(field).next().unwrap_or_default();
        let class = before.rsplit("class=\"").next().unwrap_or_default();
        class.split('"').next().unwrap_or_default().to_owned()
    };
    assert_eq!(tone("Pipeline.type"), "calm");
    assert_eq!(tone("Project.valueStreams"), "warn");
}

/// The sentence about a field that GitLab does not have.
fn missing(on: &str, field: &str) -> String {
    let mut gaps = GAPS.iter();
    let gap = gaps.find(|gap| gap.on == on && gap.field == field);
    let gap = gap.expect("a field that may be missing");
    Loss {
        gap,
        why: Why::Schema,
    }
    .to_string()
}

#[tokio::test]
async fn hostile_texts_stay_texts() {
    const HOSTILE: &str = "\"><script>alert('x')</script><img src=x onerror=alert(1)>&amp;\n";
    let site = Site::start();
    site.world.change(|status| {
        status.gitlab.version = Some(HOSTILE.into());
        status.gitlab.edition = Some(HOSTILE.into());
        status.gitlab.reachability = Reachability::Down {
            error: HOSTILE.into(),
        };
        status.gitlab.reading = Reading::RestFallBack {
            reason: HOSTILE.into(),
        };
        status.gitlab.lost = vec![HOSTILE.into()];
        status.token.missing_grants = vec![HOSTILE.into()];
        status.token.name = Some(HOSTILE.into());
        status.token.scopes = vec![HOSTILE.into()];
        status.push[0].target = HOSTILE.into();
    });
    {
        let mut projects = site.world.projects.lock().unwrap();
        projects[0].path = HOSTILE.into();
        projects[0].error = Some(HOSTILE.into());
    }
    let search: String = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect();
    let page = site.get(&format!("/?search={search}")).await.text();
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!page.contains("<img"));
    assert!(page.contains("alert(&#39;x&#39;)"), "{page}");
    let row = &page[page.find("id=\"projects\"").unwrap()..];
    let address = between(row, "href=\"", "\"");
    assert!(
        address.starts_with("https://gitlab.example.com/%22%3E%3Cscript%3E"),
        "{address}"
    );
    assert_eq!(rows(&page), 1);
}

#[tokio::test]
async fn only_the_pages_own_script_and_style_run() {
    let site = Site::start();
    let reply = site.get("/").await;
    let page = reply.text();
    let policy = reply.header("content-security-policy");
    for (kind, start, end) in [
        ("style", "<style>", "</style>"),
        ("script", "<script>", "</script>"),
    ] {
        let digest =
            ring::digest::digest(&ring::digest::SHA256, between(&page, start, end).as_bytes());
        let hash = format!("{kind}-src 'sha256-{}'", BASE64_STANDARD.encode(digest));
        assert!(policy.contains(&hash), "{hash} is not in {policy}");
    }
    assert!(!page.contains(" style="), "inline styles are not allowed");
    assert!(!page.contains(" src="), "nothing is loaded from elsewhere");
    assert!(!page.contains("url("), "nothing is loaded from elsewhere");
}

#[tokio::test]
async fn no_page_shows_a_secret() {
    let header = "Bearer push-secret-4711";
    let settings = format!(
        "otel: {{metrics: {{endpoint: 'http://127.0.0.1:1', headers: {{Authorization: '{header}'}}}}}}"
    );
    let site = Site::start_with(&settings, LIMITS);
    site.secrets.register(header);
    let leak = format!("GitLab said: {TOKEN} is unknown");
    site.world.change(|status| {
        status.gitlab.reachability = Reachability::Down {
            error: leak.clone(),
        };
        status.push[1].target = "http://push-secret-4711".into();
    });
    site.world.projects.lock().unwrap()[0].error = Some(leak);
    for path in ["/", "/config", "/ready", "/docs"] {
        let page = site.get(path).await.text();
        assert!(!page.contains(TOKEN), "{path}");
        assert!(!page.contains("push-secret"), "{path}");
    }
    assert!(
        site.get("/")
            .await
            .text()
            .contains("GitLab said: [redacted] is unknown")
    );
}

#[tokio::test]
async fn the_configuration_is_shown_with_its_origins() {
    let site = Site::start();
    let reply = site.get("/config").await;
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    let yaml = reply.text();
    assert!(yaml.contains("token: \"[redacted]\""), "{yaml}");
    assert!(yaml.contains("https://gitlab.example.com"), "{yaml}");
    assert!(yaml.contains("rest_page_size: 100 # default"), "{yaml}");
}

#[tokio::test]
async fn projects_are_found_and_paged() {
    let site = Site::start();
    *site.world.projects.lock().unwrap() = sample::projects(300);
    let page = site.get("/").await.text();
    assert_eq!(rows(&page), 50);
    assert!(page.contains("300 projects, page 1 of 6"), "{page}");
    assert!(
        page.contains("href=\"./?search=&#38;page=2#projects\"")
            || page.contains("href=\"./?search=&amp;page=2#projects\"")
    );
    let last = site.get("/?page=6").await.text();
    assert_eq!(rows(&last), 50);
    assert!(!last.contains("rel=\"next\""));
    let found = site.get("/?search=SERVICE-29&page=1").await.text();
    assert_eq!(rows(&found), 11);
    assert!(found.contains("11 of 300 projects match"));
    assert!(found.contains("value=\"SERVICE-29\""));
    let none = site.get("/?search=%22nowhere%22").await.text();
    assert_eq!(rows(&none), 0);
    assert!(none.contains("No project path contains"), "{none}");
}

#[tokio::test]
async fn nonsense_in_the_address_is_ignored() {
    let site = Site::start();
    for query in [
        "?page=-1",
        "?page=x&page=2",
        "?search=%ff%fe",
        "?&&==",
        "?page=99999999999999999999",
    ] {
        let reply = site.get(&format!("/{query}")).await;
        assert_eq!(reply.status, 200, "{query}");
        assert!(reply.complete);
    }
}

#[tokio::test]
async fn the_page_stays_small_whatever_gitlab_says() {
    let site = Site::start();
    {
        let mut projects = site.world.projects.lock().unwrap();
        *projects = sample::projects(10_000);
        for project in projects.iter_mut() {
            project.path = format!("{}<{}", project.path, "n".repeat(10_000)).into();
            project.error = Some("<".repeat(10_000));
        }
    }
    site.world.change(|status| {
        status.gitlab.version = Some("v".repeat(1_000_000));
        status.token.scopes = vec!["read_api".into(); 100_000];
    });
    let reply = site.get("/").await;
    assert!(reply.complete);
    assert_eq!(rows(&reply.text()), 50);
    assert!(reply.body.len() < 256 * 1024, "{} bytes", reply.body.len());
}

#[tokio::test]
async fn pages_are_packed_for_whom_can_unpack() {
    let site = Site::start();
    let plain = site.get("/").await;
    let packed = site.ask("GET", "/", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert!(packed.body.len() * 2 < plain.body.len());
    assert_eq!(plain.text(), packed.text());
}

#[tokio::test]
async fn a_panic_is_one_failed_page() {
    let site = Site::start();
    site.world.broken.store(true, Ordering::SeqCst);
    assert_eq!(site.get("/").await.status, 500);
    site.world.broken.store(false, Ordering::SeqCst);
    assert_eq!(site.get("/").await.status, 200);
}

#[tokio::test]
async fn every_metric_is_explained() {
    let site = Site::start();
    let page = site.get("/docs").await.text();
    for desc in catalogue::all() {
        assert!(
            page.contains(&format!("<code>{}</code>", desc.name)),
            "{}",
            desc.name
        );
    }
}
