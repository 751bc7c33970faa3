//! What can go wrong between the exporter and Redis.

use redis::{ErrorKind, ServerErrorKind};

/// With this code a script refuses by itself: `return redis.error_reply('AGE fence 7')` is
/// [`RedisError::Script`] with `fence 7`.
pub const SCRIPT_CODE: &str = "AGE";

/// Why a call to Redis failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisError {
    /// No connection: nothing was executed.
    #[error(
        "Redis at {server} cannot be reached ({why}): check redis.url, and whether it is running"
    )]
    Unreachable {
        /// Which Redis.
        server: String,
        /// What failed.
        why: String,
    },
    /// The call was sent and not answered in time: it may have been executed, or may be yet.
    #[error("no response from Redis at {server} ({why})")]
    NoAnswer {
        /// Which Redis.
        server: String,
        /// What failed.
        why: String,
    },
    /// Redis refused: nothing was executed.
    #[error("Redis at {server} {refusal}")]
    Refused {
        /// Which Redis.
        server: String,
        /// Why.
        refusal: Refusal,
    },
    /// The script itself refused, with these words.
    #[error("refused by a script: {0}")]
    Script(String),
    /// The response has another type than expected.
    #[error("unexpected response from Redis at {server} ({why})")]
    Unexpected {
        /// Which Redis.
        server: String,
        /// What was expected and what came.
        why: String,
    },
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(String),
}

/// Why Redis refused, as the end of a sentence that names it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It wants a password.
    #[error("requires a password: set redis.password or redis.password_file")]
    NoPassword,
    /// It knows another password, or no such user.
    #[error(
        "rejected the password: check redis.username and redis.password or redis.password_file"
    )]
    Password,
    /// It has no password.
    #[error("has no password, but one is set: remove redis.password, or set requirepass in Redis")]
    PasswordNotNeeded,
    /// The user may not do that.
    #[error(
        "denied access ({0}): allow it for redis.username in Redis's ACL, with all keys under redis.key_prefix"
    )]
    Permission(String),
    /// It is a replica.
    #[error(
        "is a read-only replica: set redis.url to the primary, or to redis-sentinel:// to follow it"
    )]
    ReadOnly,
    /// Its memory is used up.
    #[error("is out of memory: raise maxmemory in Redis")]
    OutOfMemory,
    /// It would remove keys.
    #[error(
        "may evict keys (maxmemory_policy {0}), and with them state: set maxmemory-policy to noeviction in Redis"
    )]
    Evicting(String),
    /// It is too old.
    #[error("is version {0}, which is too old: at least version {min} is required", min = super::check::MIN_VERSION)]
    TooOld(String),
    /// It cannot write its data to disk and takes no more.
    #[error("accepts no writes because it cannot save to disk ({0}): check Redis's log and disk")]
    NotSaving(String),
    /// A key holds something else than expected.
    #[error("has keys of another type: another program uses redis.key_prefix, set another one")]
    WrongType,
    /// It is one of a Cluster.
    #[error("is a node of a Cluster: write redis-cluster:// in redis.url")]
    IsCluster,
    /// It is no Cluster.
    #[error("is not a Cluster: write redis:// in redis.url")]
    IsNoCluster,
    /// It is a Sentinel.
    #[error("is a Sentinel: write redis-sentinel://host:port/name in redis.url")]
    IsSentinel,
    /// It cannot answer now: it is loading its data, or a Cluster without all its parts.
    #[error("is not available at the moment ({0})")]
    Busy(String),
    /// Something else.
    #[error("responded with an error ({0})")]
    Other(String),
}

impl RedisError {
    /// A short name for a label.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "unreachable",
            Self::NoAnswer { .. } => "timeout",
            Self::Refused { .. } => "refused",
            Self::Script(_) => "script",
            Self::Unexpected { .. } => "invalid_response",
            Self::Settings(_) => "settings",
        }
    }

    /// Whether the call may have been executed all the same.
    #[must_use]
    pub const fn may_have_run(&self) -> bool {
        matches!(self, Self::NoAnswer { .. } | Self::Unexpected { .. })
    }

    /// Whether Redis is away: not reachable, not answering, or not available at the moment.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoAnswer { .. } => true,
            Self::Refused { refusal, .. } => {
                matches!(refusal, Refusal::Busy(_) | Refusal::ReadOnly)
            }
            _ => false,
        }
    }

    /// What an error of a call that was sent means.
    pub(super) fn of_call(server: &str, error: &redis::RedisError) -> Self {
        let server = server.to_owned();
        let why = error.to_string();
        match error.kind() {
            ErrorKind::Io => Self::NoAnswer { server, why },
            ErrorKind::ClusterConnectionNotFound => Self::Unreachable { server, why },
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Unexpected { server, why },
            _ if error.code() == Some(SCRIPT_CODE) => {
                Self::Script(error.detail().unwrap_or_default().to_owned())
            }
            _ => Self::Refused {
                server,
                refusal: Refusal::of(error),
            },
        }
    }

    /// The same while a connection is opened: nothing of the caller's was sent.
    pub(super) fn of_opening(server: &str, error: &redis::RedisError) -> Self {
        match Self::of_call(server, error) {
            Self::NoAnswer { server, why } | Self::Unexpected { server, why } => {
                Self::Unreachable { server, why }
            }
            other => other,
        }
    }

    pub(super) fn refused(server: &str, refusal: Refusal) -> Self {
        Self::Refused {
            server: server.to_owned(),
            refusal,
        }
    }

    pub(super) fn unreachable(server: &str, why: impl ToString) -> Self {
        Self::Unreachable {
            server: server.to_owned(),
            why: why.to_string(),
        }
    }
}

impl Refusal {
    fn of(error: &redis::RedisError) -> Self {
        let detail = error.detail().unwrap_or_default();
        if error.kind() == ErrorKind::AuthenticationFailed {
            return Self::Password;
        }
        let code = error.code().unwrap_or_default();
        let said = || match detail {
            "" => error.to_string(),
            detail => format!("{code} {detail}"),
        };
        match (error.kind(), code) {
            (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => Self::ReadOnly,
            (
                ErrorKind::Server(
                    ServerErrorKind::BusyLoading
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::Moved
                    | ServerErrorKind::Ask,
                ),
                _,
            )
            | (_, "BUSY" | "NOREPLICAS") => Self::Busy(said()),
            (ErrorKind::Server(ServerErrorKind::NoPerm), _) => Self::Permission(permission(detail)),
            (_, "NOAUTH") => Self::NoPassword,
            (_, "WRONGPASS") => Self::Password,
            (_, "OOM") => Self::OutOfMemory,
            (_, "MISCONF") => Self::NotSaving(first_sentence(detail)),
            (_, "WRONGTYPE") => Self::WrongType,
            _ if detail.contains("without any password configured")
                || detail.contains("no password is set") =>
            {
                Self::PasswordNotNeeded
            }
            _ if detail.contains("invalid password") => Self::Password,
            _ if detail.contains("cluster support disabled") => Self::IsNoCluster,
            _ => Self::Other(said()),
        }
    }
}

/// What a NOPERM says, without the beginning that all have.
fn permission(detail: &str) -> String {
    first_sentence(detail.strip_prefix("this user has ").unwrap_or(detail))
}

/// Up to the first point, for Redis explains itself at length.
fn first_sentence(text: &str) -> String {
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}
