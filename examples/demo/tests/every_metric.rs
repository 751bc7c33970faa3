//! The demo, as `make demo` starts it: it shows every metric that there is.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::catalogue;

/// Far more than a minute, which it takes: each metric's first event happens within that.
const DEADLINE: Duration = Duration::from_secs(300);

/// What the demo has no series of, and why.
const EXCEPT: [&str; 5] = [
    // Declared, and not recorded by this version.
    "age_cluster_members",
    "age_cluster_owned_shards",
    // Nothing goes wrong there.
    "age_api_retries_total",
    "age_webhook_missed_total",
    "age_series_overflow_total",
];

/// The running demo. It is killed when dropped, also when the test fails.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        // Both fail only for a program that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_metric_has_a_series() {
    let child = Command::new(env!("CARGO_BIN_EXE_demo"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut demo = Demo(child.expect("the demo starts"));
    let output = demo.0.stdout.take().expect("its output is a pipe");
    // Kept open to the end: the demo may print more.
    let mut lines = BufReader::new(output).lines();
    let address = lines
        .by_ref()
        .map(|line| line.expect("its output is text"))
        .find_map(|line| {
            let address = line.trim().strip_prefix("Metrics ")?.trim();
            let address = address.strip_prefix("http://")?;
            Some(address.strip_suffix("/metrics")?.to_owned())
        })
        .expect("the demo says where its metrics are");
    let all: BTreeSet<&str> = catalogue::all().map(|desc| desc.name).collect();
    let start = Instant::now();
    loop {
        let text = metrics(&address);
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let shown: BTreeSet<&str> = types.filter_map(|line| line.split(' ').next()).collect();
        let missing: Vec<&str> = all
            .iter()
            .filter(|name| !shown.contains(*name) && !EXCEPT.contains(name))
            .copied()
            .collect();
        if missing.is_empty() {
            break;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: every metric has a series; {} are missing: {missing:?}",
            missing.len()
        );
        std::thread::sleep(Duration::from_millis(500));
    }
    println!(
        "the demo shows {} metrics after {:?}",
        all.len() - EXCEPT.len(),
        start.elapsed()
    );
}

/// `/metrics`, by HTTP/1.0: its answer ends with the connection.
fn metrics(address: &str) -> String {
    let mut connection = TcpStream::connect(address).expect("the exporter listens");
    connection
        .write_all(format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())
        .expect("it takes the request");
    let mut answer = String::new();
    connection
        .read_to_string(&mut answer)
        .expect("it answers with text");
    assert!(
        answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"),
        "{answer}"
    );
    answer
}
