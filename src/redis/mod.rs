//! The connection to Redis or Valkey: one server, Sentinel or Cluster; plain or encrypted.
//!
//! A [`Redis`] opens connections as they are needed, and again after a failure. Every call has a deadline.
//! Nothing that may have been executed is tried again by itself ([`RedisError::may_have_run`]).

mod check;
mod error;
mod open;
mod options;
mod pool;
mod url;

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue, ServerErrorKind, ToRedisArgs, Value};
use tokio::time::{Instant, sleep, timeout_at};

pub use check::MIN_VERSION;
pub use error::{RedisError, Refusal, SCRIPT_CODE};
pub use options::{Password, RedisOptions};
pub use redis::{cmd, from_redis_value};
pub use url::{HostPort, Place, RedisUrl};

use open::{Connection, Opener};
use pool::{Lent, Pool};

/// How long a Cluster has to find out where a slot is now.
const WHILE_SLOTS_MOVE: Duration = Duration::from_millis(50);

/// A script in Lua, with the hash by which Redis knows it. Its keys lie in one slot. It refuses with
/// `return redis.error_reply('AGE …')`, which is [`RedisError::Script`].
#[derive(Clone, Debug)]
pub struct Script {
    code: String,
    hash: String,
}

impl Script {
    /// A script.
    #[must_use]
    pub fn new(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            hash: redis::Script::new(code).get_hash().to_owned(),
        }
    }

    /// The command that runs it: by its hash, or with its text.
    fn command<K: ToRedisArgs, A: ToRedisArgs>(
        &self,
        keys: &[K],
        args: &[A],
        with_text: bool,
    ) -> Cmd {
        let mut command = match with_text {
            true => redis::cmd("EVAL"),
            false => redis::cmd("EVALSHA"),
        };
        command.arg(if with_text { &self.code } else { &self.hash });
        command.arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        for arg in args {
            command.arg(arg);
        }
        command
    }
}

/// Redis, with as many connections as the calls need. Clones share them.
#[derive(Clone)]
pub struct Redis {
    pool: Arc<Pool>,
}

impl Redis {
    /// Prepares connections, and opens none yet: the first call does.
    ///
    /// # Errors
    /// [`RedisError::Settings`] when certificates cannot be used.
    pub fn new(options: RedisOptions) -> Result<Self, RedisError> {
        let pool = Arc::new(Pool::new(Opener::new(options)?));
        Ok(Self { pool })
    }

    /// Connects, and checks whether state may be entrusted to this server. Every further connection is
    /// checked as well.
    ///
    /// # Errors
    /// When it is not reachable within the deadline, or will not do.
    pub async fn connect(options: RedisOptions) -> Result<Self, RedisError> {
        let redis = Self::new(options)?;
        redis.check().await?;
        Ok(redis)
    }

    /// Connects, and checks the server.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub async fn check(&self) -> Result<(), RedisError> {
        self.opening(self.deadline(), self.pool.fill()).await
    }

    /// Where it is, without credentials.
    #[must_use]
    pub fn server(&self) -> String {
        self.pool.opener.options.url.to_string()
    }

    /// Runs a script by its hash, and loads it where Redis does not know it. All keys are in one slot.
    ///
    /// # Errors
    /// When Redis is away or refuses, or the script does.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[impl ToRedisArgs + Sync],
        args: &[impl ToRedisArgs + Sync],
    ) -> Result<T, RedisError> {
        let command = script.command(keys, args, false);
        let deadline = self.deadline();
        let lent = self.lend(deadline).await?;
        let answer = match self.send(&lent, &command, deadline).await {
            Ok(Err(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let command = script.command(keys, args, true);
                self.send(&lent, &command, deadline).await
            }
            answer => answer,
        };
        self.read(&lent, answer)
    }

    /// Sends one command.
    ///
    /// # Errors
    /// When Redis is away or refuses.
    pub async fn command<T: FromRedisValue>(&self, command: Cmd) -> Result<T, RedisError> {
        let deadline = self.deadline();
        let lent = self.lend(deadline).await?;
        let answer = self.send(&lent, &command, deadline).await;
        self.read(&lent, answer)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.pool.opener.options.deadline
    }

    async fn lend(&self, deadline: Instant) -> Result<Lent, RedisError> {
        self.opening(deadline, self.pool.lend()).await
    }

    /// Waits for a connection until the deadline.
    async fn opening<T>(
        &self,
        deadline: Instant,
        opening: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, RedisError> {
        let opened = timeout_at(deadline, opening).await;
        opened.unwrap_or_else(|_| Err(RedisError::unreachable(&self.server(), self.too_late())))
    }

    /// Sends a command and waits for the answer until the deadline. A connection that does not answer is not
    /// used again.
    async fn send(
        &self,
        lent: &Lent,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<redis::RedisResult<Value>, RedisError> {
        let mut connection: Connection = lent.connection();
        let too_late = |_| {
            lent.discard();
            RedisError::NoAnswer {
                server: self.server(),
                why: self.too_late(),
            }
        };
        loop {
            let answer = timeout_at(deadline, command.query_async::<Value>(&mut connection)).await;
            let answer = answer.map_err(too_late)?;
            let moves = match &answer {
                Err(error) => connection.is_cluster() && was_not_executed(error),
                Ok(_) => false,
            };
            if !moves || Instant::now() + WHILE_SLOTS_MOVE >= deadline {
                return Ok(answer);
            }
            sleep(WHILE_SLOTS_MOVE).await;
        }
    }

    fn read<T: FromRedisValue>(
        &self,
        lent: &Lent,
        answer: Result<redis::RedisResult<Value>, RedisError>,
    ) -> Result<T, RedisError> {
        let server = self.server();
        let answer = answer?.and_then(Value::extract_error).map_err(|error| {
            let error = RedisError::of_call(&server, &error);
            // A server that became a replica, too: the next connection looks for the primary.
            if error.is_away() || error.may_have_run() {
                lent.discard();
            }
            error
        })?;
        T::from_redis_value(answer).map_err(|error| RedisError::Unexpected {
            server,
            why: error.to_string(),
        })
    }

    fn too_late(&self) -> String {
        format!("timeout after {:?}", self.pool.opener.options.deadline)
    }
}

/// Whether a node of a Cluster did not execute a command because its slot is elsewhere: who has it is found out
/// meanwhile.
fn was_not_executed(error: &redis::RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(
                ServerErrorKind::Moved
                    | ServerErrorKind::Ask
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
            )
    )
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redis({})", self.server())
    }
}
