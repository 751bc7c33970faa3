//! A Redis server of the tools that the tests install.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use amazing_gitlab_exporter::redis::{Redis, RedisOptions, RedisUrl, cmd};
use tempfile::TempDir;

use crate::report::cpu_of;
use crate::role::Outcome;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that writes everything to disk; it ends when this is dropped.
pub struct Server {
    child: Child,
    _data: TempDir,
    /// Where it is reached.
    pub url: String,
    /// A connection to it.
    pub redis: Redis,
}

impl Server {
    /// Starts one on a free port.
    pub async fn start() -> Outcome<Self> {
        let tools = std::env::var_os("TEST_TOOLS").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools"),
            PathBuf::from,
        );
        let program = tools.join("bin/redis-server");
        if !program.exists() {
            let program = program.display();
            return Err(format!("{program} is missing: run tests/install-tools.sh").into());
        }
        let free = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        let port = free.local_addr()?.port().to_string();
        drop(free);
        let data = tempfile::tempdir()?;
        let child = Command::new(program)
            .args(["--bind", "127.0.0.1", "--port", &port, "--save", ""])
            .args(["--appendonly", "yes", "--dir"])
            .arg(data.path())
            .stdout(Stdio::null())
            .spawn()?;
        let url = format!("redis://127.0.0.1:{port}");
        let mut server = Self {
            child,
            _data: data,
            redis: Redis::new(RedisOptions::new(RedisUrl::parse(&url)?))?,
            url,
        };
        server.wait().await?;
        Ok(server)
    }

    async fn wait(&mut self) -> Outcome {
        let start = Instant::now();
        while let Err(error) = self.redis.check().await {
            if start.elapsed() > PATIENCE || self.child.try_wait()?.is_some() {
                return Err(error.into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Bytes of memory that its data takes, by its own account.
    pub async fn memory(&self) -> Outcome<u64> {
        let mut info = cmd("INFO");
        info.arg("memory");
        let info: String = self.redis.command(info).await?;
        let line = info
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        Ok(line.ok_or("INFO has used_memory")?.trim().parse()?)
    }

    /// Processor time that it has used.
    pub fn cpu(&self) -> Duration {
        cpu_of(&self.child.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
