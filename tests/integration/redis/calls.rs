//! Commands and scripts, and what becomes of them when the server or the way to it fails.

use std::time::Duration;

use amazing_gitlab_exporter::redis::{Redis, RedisError, Refusal, Script, cmd};

use crate::support::door::Door;
use crate::support::redis::{Engine, RedisServer, options};
use crate::support::until;

/// Sets a key to bytes and says what it was.
fn swap() -> Script {
    Script::new(
        "local before = redis.call('GET', KEYS[1])
         redis.call('SET', KEYS[1], ARGV[1])
         return {before or '', #ARGV[1]}",
    )
}

fn set(key: &str, value: &str) -> redis::Cmd {
    let mut set = cmd("SET");
    set.arg(key).arg(value);
    set
}

fn get(key: &str) -> redis::Cmd {
    let mut get = cmd("GET");
    get.arg(key);
    get
}

/// Waits until a call succeeds again.
async fn answers(redis: &Redis) {
    until("it answers", async || {
        let answer: Result<String, _> = redis.command(cmd("PING")).await;
        answer.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn scripts_are_loaded_when_needed_and_take_any_bytes() {
    for engine in Engine::ALL {
        let Some(server) = RedisServer::start_with(engine, &[]).await else {
            return;
        };
        let redis = server.connect().await;
        let bytes: Vec<u8> = (0..=255).chain([0, 13, 10]).collect();
        let (before, length): (Vec<u8>, usize) =
            redis.run(&swap(), &["k"], &[&bytes]).await.expect("a run");
        assert_eq!((before.len(), length), (0, 259));
        // Redis forgets its scripts with a restart, and by this.
        let _: String = server.command(&["SCRIPT", "FLUSH"]);
        let (before, _): (Vec<u8>, usize) =
            redis.run(&swap(), &["k"], &["new"]).await.expect("a run");
        assert_eq!(before, bytes);
        let value: String = redis.command(get("k")).await.expect("a value");
        assert_eq!(value, "new");
    }
}

#[tokio::test]
async fn a_script_refuses_by_itself_and_redis_refuses_otherwise() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let redis = server.connect().await;
    let refuses = Script::new("return redis.error_reply('AGE fence ' .. ARGV[1])");
    let refused: Result<(), _> = redis.run(&refuses, &["k"], &["7"]).await;
    assert_eq!(refused, Err(RedisError::Script("fence 7".to_owned())));
    let fails = Script::new("return redis.call('HGETALL', KEYS[1])");
    let _: () = redis.command(set("k", "text")).await.expect("it is set");
    let refused: Result<(), _> = redis.run(&fails, &["k"], &["7"]).await;
    let refusal = refused.expect_err("another type");
    assert!(
        matches!(
            &refusal,
            RedisError::Refused {
                refusal: Refusal::WrongType,
                ..
            }
        ),
        "{refusal:?}"
    );
    let wrong: Result<u64, _> = redis.command(get("k")).await;
    let wrong = wrong.expect_err("not a number");
    assert_eq!(wrong.kind(), "invalid_response", "{wrong:?}");
}

#[tokio::test]
async fn calls_at_once_open_connections_up_to_the_limit() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let mut options = server.options();
    (options.pool_size, options.min_idle_conns) = (3, 2);
    let redis = Redis::connect(options).await.expect("it is up");
    let connections = || {
        let list: String = server.command(&["CLIENT", "LIST"]);
        // One is the question's own.
        list.lines().count() - 1
    };
    assert_eq!(connections(), 2, "kept open");
    let calls = (0..20).map(|number| {
        let (redis, mut call) = (redis.clone(), cmd("BLPOP"));
        call.arg(format!("never-{number}")).arg(1);
        async move { redis.command::<Option<(String, String)>>(call).await }
    });
    let answers = tokio::spawn(futures::future::join_all(calls));
    until("three are open", async || match connections() {
        3 => Ok(()),
        count => Err(count.to_string()),
    })
    .await;
    assert_eq!(answers.await.expect("no panic").len(), 20);
    assert!(connections() <= 3);
}

#[tokio::test]
async fn a_server_that_restarts_is_connected_again() {
    let Some(mut server) = RedisServer::start().await else {
        return;
    };
    let redis = server.connect().await;
    let _: () = redis.command(set("k", "kept")).await.expect("it is set");
    server.kill();
    let down: Result<(), _> = redis.command(set("k", "lost")).await;
    let down = down.expect_err("it is down");
    assert!(down.is_away(), "{down:?}");
    let down: Result<(), _> = redis.command(set("k", "lost")).await;
    let down = down.expect_err("it is down");
    assert!(
        matches!(down, RedisError::Unreachable { .. }) && !down.may_have_run(),
        "{down:?}"
    );
    server.restart().await;
    let value: String = redis.command(get("k")).await.expect("it is up");
    assert_eq!(value, "kept");
    server.restart_empty().await;
    answers(&redis).await;
    let value: Option<String> = redis.command(get("k")).await.expect("it is up");
    assert_eq!(value, None);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_at_the_deadline() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let mut options = server.options();
    options.deadline = Duration::from_millis(300);
    let redis = Redis::connect(options).await.expect("it is up");
    server.stop();
    let silent: Result<(), _> = redis.command(set("k", "late")).await;
    let silent = silent.expect_err("it is stopped");
    assert!(
        matches!(silent, RedisError::NoAnswer { .. }) && silent.may_have_run(),
        "{silent:?}"
    );
    let said = silent.to_string();
    assert_eq!(
        said,
        format!(
            "no response from Redis at {} (timeout after 300ms)",
            server.address()
        )
    );
    // A connection is accepted by the system, and never answered.
    let silent: Result<(), _> = redis.command(set("k", "never")).await;
    let silent = silent.expect_err("it is stopped");
    assert!(
        matches!(silent, RedisError::Unreachable { .. }),
        "{silent:?}"
    );
    server.resume();
    answers(&redis).await;
    // What was sent was executed when it woke up; what was not sent was not.
    let value: Option<String> = redis.command(get("k")).await.expect("it is up");
    assert_eq!(value.as_deref(), Some("late"));
}

#[tokio::test]
async fn a_way_that_is_cut_or_swallows_everything_is_taken_again() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let mut door = Door::shut_before(server.address().parse().expect("an address"));
    door.open();
    let mut options = options(&format!("redis://{}", door.address()));
    options.deadline = Duration::from_millis(500);
    let redis = Redis::connect(options).await.expect("it is open");
    door.shut();
    let cut: Result<(), _> = redis.command(set("k", "1")).await;
    assert!(cut.expect_err("it is shut").is_away());
    door.open();
    answers(&redis).await;
    door.hold();
    let held: Result<(), _> = redis.command(set("k", "2")).await;
    let held = held.expect_err("nothing comes through");
    assert!(held.may_have_run(), "{held:?}");
    door.release();
    answers(&redis).await;
}
