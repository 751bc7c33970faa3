//! A real Redis or Valkey server, which a test may kill, stop and start again.

mod certificates;
mod groups;

use std::process::Command;
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::redis::{Redis, RedisOptions, RedisUrl};
use tempfile::TempDir;

use super::DEADLINE;
use super::program::{Program, free_address};
use super::tools::tool;

pub use certificates::Authority;
pub use groups::{ClusterGroup, SentinelGroup};

/// Which program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// Redis.
    #[default]
    Redis,
    /// Valkey.
    Valkey,
}

impl Engine {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Redis, Self::Valkey];

    const fn program(self) -> &'static str {
        match self {
            Self::Redis => "bin/redis-server",
            Self::Valkey => "bin/valkey-server",
        }
    }
}

/// A server on a port of 127.0.0.1. It ends with the test.
pub struct RedisServer {
    engine: Engine,
    options: Vec<String>,
    port: u16,
    /// What it writes to disk, kept while it is down.
    data: TempDir,
    program: Option<Program>,
}

impl RedisServer {
    /// Starts a Redis that writes everything to disk before it answers; none where it cannot be had.
    pub async fn start() -> Option<Self> {
        Self::start_with(Engine::Redis, &[]).await
    }

    /// Starts a server with further options, such as `["--maxmemory", "1mb"]`.
    pub async fn start_with(engine: Engine, options: &[&str]) -> Option<Self> {
        tool(engine.program())?;
        let mut server = Self {
            engine,
            options: options.iter().copied().map(str::to_owned).collect(),
            port: free_port(),
            data: tempfile::tempdir().expect("a folder"),
            program: None,
        };
        server.up().await;
        Some(server)
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// What a connection to it is opened with.
    pub fn options(&self) -> RedisOptions {
        options(&self.url())
    }

    /// Connects to it.
    pub async fn connect(&self) -> Redis {
        Redis::connect(self.options()).await.expect("it is up")
    }

    /// Kills it (SIGKILL). What it wrote to disk stays.
    pub fn kill(&mut self) {
        self.program = None;
    }

    /// Stops it (SIGSTOP): it keeps its connections and does not answer.
    pub fn stop(&self) {
        self.program().signal("STOP");
    }

    /// Lets it go on after [`Self::stop`].
    pub fn resume(&self) {
        self.program().signal("CONT");
    }

    /// Starts it again on its port, with what it wrote to disk.
    pub async fn restart(&mut self) {
        self.kill();
        self.up().await;
    }

    /// Starts it again on its port, with nothing of what it knew.
    pub async fn restart_empty(&mut self) {
        self.kill();
        self.data = tempfile::tempdir().expect("a folder");
        self.up().await;
    }

    /// Starts it again with other options.
    pub async fn restart_with(&mut self, options: &[&str]) {
        self.options = options.iter().copied().map(str::to_owned).collect();
        self.restart().await;
    }

    /// Sends a command on a connection of its own, such as `["SET", "a", "1"]`.
    ///
    /// # Panics
    /// When it fails.
    pub fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        ask(self.port, self.password(), words)
    }

    /// The same with arguments that are no text.
    ///
    /// # Panics
    /// When it fails.
    pub fn command_of_bytes<T: redis::FromRedisValue>(&self, name: &str, args: &[&[u8]]) -> T {
        let command = redis::cmd(name).arg(args).to_owned();
        send(self.port, self.password(), &command)
    }

    fn password(&self) -> Option<&str> {
        let mut options = self.options.iter();
        options.find(|option| *option == "--requirepass")?;
        options.next().map(String::as_str)
    }

    fn program(&self) -> &Program {
        self.program.as_ref().expect("it is up")
    }

    async fn up(&mut self) {
        let path = tool(self.engine.program()).expect("it was there");
        let mut command = Command::new(path);
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args([
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
        ]);
        command.arg("--dir").arg(self.data.path());
        command.args(&self.options);
        let mut program = Program::start(command);
        program
            .tells("that it is ready", |output| {
                let is_ready = output.contains("Ready to accept connections");
                is_ready.then_some(())
            })
            .await;
        self.program = Some(program);
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let address = free_address();
    let (_, port) = address.rsplit_once(':').expect("a port");
    port.parse().expect("a number")
}

/// Sends a command to a server or Sentinel on 127.0.0.1.
fn ask<T: redis::FromRedisValue>(port: u16, password: Option<&str>, words: &[&str]) -> T {
    let (name, args) = words.split_first().expect("a command");
    send(port, password, redis::cmd(name).arg(args))
}

/// The same, again where the connection ends meanwhile: Sentinels close those of a server whose role they
/// change.
fn send<T: redis::FromRedisValue>(port: u16, password: Option<&str>, command: &redis::Cmd) -> T {
    let user = password.map(|password| format!(":{password}@"));
    let url = format!("redis://{}127.0.0.1:{port}", user.unwrap_or_default());
    let client = redis::Client::open(url).expect("an address");
    let deadline = Instant::now() + DEADLINE;
    loop {
        let connection = client.get_connection();
        match connection.and_then(|mut open| command.query(&mut open)) {
            Ok(answer) => return answer,
            Err(error) if error.is_io_error() && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("{command:?}: {error}"),
        }
    }
}

/// What a connection to an address is opened with.
pub fn options(url: &str) -> RedisOptions {
    RedisOptions::new(RedisUrl::parse(url).expect("an address"))
}
