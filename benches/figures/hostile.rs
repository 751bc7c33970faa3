//! A GitLab that is an enemy: the most memory that its largest answers take, and what two minutes of wrong
//! ones leave behind.
//!
//! `AGE_BENCH_SCALE=0.1` takes a tenth of the time.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::clock::Clock;
use amazing_gitlab_exporter::gitlab::{self, GitLab, NoAccounting, RetryPolicy, TokenSource};
use amazing_gitlab_exporter::types::ProjectId;
use futures::future::join_all;
use tokio::runtime::Runtime;

use crate::report::{figure, longest, megabytes, memory, note};
use crate::role::{self, Outcome, Role};

/// The largest answer that is read.
const LARGEST: usize = 64 << 20;
/// Values in one, a little less than are read.
const VALUES: usize = 990_000;
/// Calls that ask for the largest answers at once.
const CALLS: u64 = 16;
/// Calls before them, which show the limiter that GitLab is quick.
const WARM_UP: usize = 400;
/// Seconds of wrong answers.
const SECONDS: f64 = 120.0;
const AT_ONCE: u64 = 8;

/// An answer's name, and what makes it.
type Kind = (&'static str, fn() -> Vec<u8>);

/// What the enemy answers; the project that is asked for says which.
const KINDS: [Kind; 13] = [
    ("a list of branches", || json(small().into_bytes())),
    ("one text", || json(one_text(LARGEST))),
    ("texts", || json(texts())),
    ("objects in lists", || json(nested(1))),
    ("objects in objects", || json(nested(60))),
    ("numbers", || json(numbers())),
    ("no JSON", || json(b"[{\"name\":".to_vec())),
    ("a megabyte of one text", || json(one_text(1 << 20))),
    ("an answer cut off", || {
        let mut cut = json(small().into_bytes());
        cut.truncate(cut.len() - 5);
        cut
    }),
    ("nothing", Vec::new),
    ("a failure", || {
        answer("500 Internal Server Error", "", vec![b'x'; 100_000])
    }),
    ("a circle of redirects", || {
        answer("302 Found", "location: /api/v4/projects/12\r\n", Vec::new())
    }),
    ("a login page", || {
        let page = b"<html><body>Sign in</body></html>".to_vec();
        answer("200 OK", "content-type: text/html\r\n", page)
    }),
];
/// Of these, the largest.
const LARGE: std::ops::RangeInclusive<u64> = 2..=6;

/// Both figures.
pub fn measure() -> Outcome {
    let enemy = Role::start(&["enemy"])?;
    let gitlab = client(&enemy.line)?;
    let runtime = Runtime::new()?;
    for _ in 0..WARM_UP {
        let _ = runtime.block_on(gitlab.branches(ProjectId(1)));
    }
    for kind in LARGE {
        let (what, _) = KINDS[kind as usize - 1];
        let mut outcomes = Vec::new();
        let (_, added) = longest(3, || {
            // What was read is dropped at once, as a run does when it was measured.
            let calls = (0..CALLS).map(|_| async {
                let read = gitlab.branches(ProjectId(kind)).await;
                read.map(drop)
            });
            outcomes = runtime.block_on(join_all(calls));
        });
        let read = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let why = outcomes.iter().find_map(|outcome| outcome.as_ref().err());
        let why = why.map(|error| format!("; {:.100}", error.to_string()));
        figure(
            &format!("{CALLS} calls answered by 64 MiB, {what}: memory added"),
            megabytes(added),
            "MB",
            Some(640.0),
        );
        note(&format!("{read} were read{}", why.unwrap_or_default()));
    }
    leaks(&runtime, &gitlab)
}

/// Wrong answers for two minutes.
fn leaks(runtime: &Runtime, gitlab: &GitLab) -> Outcome {
    let scale = std::env::var("AGE_BENCH_SCALE").unwrap_or_default();
    let time = Duration::from_secs_f64(SECONDS * scale.parse().unwrap_or(1.0));
    let start = Instant::now();
    let kinds = (1..=KINDS.len() as u64).filter(|kind| !LARGE.contains(kind));
    let kinds: Vec<u64> = kinds.collect();
    let (mut calls, mut read, mut early) = (0, 0, 0);
    while start.elapsed() < time {
        let some = (0..AT_ONCE).map(|n| {
            let kind = kinds[((calls + n) % kinds.len() as u64) as usize];
            gitlab.branches(ProjectId(kind))
        });
        let outcomes = runtime.block_on(join_all(some));
        read += outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        calls += AT_ONCE;
        if start.elapsed() < time / 4 {
            early = early.max(memory().0);
        }
    }
    note(&format!(
        "{calls} calls in {:.0} s, {read} of them read; {:.1} MB in the first quarter",
        start.elapsed().as_secs_f64(),
        megabytes(early)
    ));
    let growth = (memory().0 as f64 / early as f64 - 1.0) * 100.0;
    figure("wrong answers, memory: growth", growth, "%", Some(5.0));
    Ok(())
}

fn client(url: &str) -> Outcome<GitLab> {
    let token = TokenSource::Secret("glpat-0123456789".to_owned().into());
    let mut settings = gitlab::Settings::new(url.parse()?, token);
    settings.max_requests_per_second = 100_000.0;
    settings.burst = 100_000;
    settings.max_server_share = 0.0;
    settings.max_concurrent_requests = 32;
    settings.retry = RetryPolicy {
        max_retries: 0,
        ..RetryPolicy::default()
    };
    Ok(GitLab::new(
        &settings,
        Arc::new(NoAccounting),
        Clock::System,
    )?)
}

/// The enemy.
pub fn serve() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let answers: Vec<Vec<u8>> = KINDS.iter().map(|(_, make)| make()).collect();
    let answers: &'static [Vec<u8>] = answers.leak();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            std::thread::spawn(move || attack(&connection, answers));
        }
    });
    role::ready(&url)
}

/// Answers one request after the other, until the client leaves or an answer has no end.
fn attack(connection: &TcpStream, answers: &[Vec<u8>]) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    loop {
        let mut first = String::new();
        reader.by_ref().take(1 << 16).read_line(&mut first).ok()?;
        let mut line = String::new();
        while reader.read_line(&mut line).ok()? > 2 {
            line.clear();
        }
        let (_, rest) = first.split_once("/projects/")?;
        let kind: usize = rest.split(['/', ' ', '?']).next()?.parse().ok()?;
        let (name, answer) = (KINDS.get(kind - 1)?.0, answers.get(kind - 1)?);
        writer.write_all(answer).ok()?;
        if matches!(name, "an answer cut off" | "nothing") {
            return None;
        }
    }
}

fn answer(status: &str, headers: &str, body: Vec<u8>) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n");
    [head.into_bytes(), body].concat()
}

fn json(body: Vec<u8>) -> Vec<u8> {
    answer("200 OK", "content-type: application/json\r\n", body)
}

fn small() -> String {
    r#"[{"name":"main","merged":false,"protected":true,"default":true}]"#.to_owned()
}

fn one_text(length: usize) -> Vec<u8> {
    let (before, after) = (r#"[{"name":""#, r#"","merged":false,"default":false}]"#);
    let text = "x".repeat(length - before.len() - after.len());
    format!("{before}{text}{after}").into_bytes()
}

/// As many branches as there may be values, with names as long as there may be bytes.
fn texts() -> Vec<u8> {
    let (count, empty) = (
        // An object counts as one, too.
        VALUES / 4,
        r#"{"name":"","merged":false,"default":false},"#.len(),
    );
    let name = "x".repeat(LARGEST / count - empty - 1);
    let item = format!(r#"{{"name":"{name}","merged":false,"default":false}}"#);
    format!("[{}]", vec![item; count].join(",")).into_bytes()
}

/// As many items as there may be values, none of them a branch.
fn numbers() -> Vec<u8> {
    let between = format!(",{}", " ".repeat(60));
    format!("[{}]", vec!["1"; VALUES].join(&between)).into_bytes()
}

/// As many objects as there may be values, some within each other.
fn nested(depth: usize) -> Vec<u8> {
    let item = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    format!("[{}]", vec![item; VALUES / (depth + 1)].join(",")).into_bytes()
}
