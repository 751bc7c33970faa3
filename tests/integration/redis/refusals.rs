//! Servers that state may not be entrusted to: one clear sentence each.

use amazing_gitlab_exporter::redis::{
    Password, Redis, RedisError, RedisOptions, Refusal, Script, cmd,
};

use crate::support::redis::{ClusterGroup, Engine, RedisServer, options};

async fn refused(options: RedisOptions) -> String {
    match Redis::connect(options).await {
        Ok(redis) => panic!("{redis:?} is taken"),
        Err(error) => error.to_string(),
    }
}

fn with_password(options: RedisOptions, username: Option<&str>, password: &str) -> RedisOptions {
    RedisOptions {
        username: username.map(str::to_owned),
        password: Password::Secret(password.to_owned().into()),
        ..options
    }
}

#[tokio::test]
async fn a_server_that_may_evict_keys_is_refused() {
    for engine in Engine::ALL {
        let Some(mut server) = RedisServer::start_with(engine, &[]).await else {
            return;
        };
        let redis = server.connect().await;
        for policy in ["allkeys-lru", "volatile-ttl"] {
            let memory = ["--maxmemory", "10mb", "--maxmemory-policy", policy];
            server.restart_with(&memory).await;
            let sentence = format!(
                "Redis at {} may evict keys (maxmemory_policy {policy}), and with them state: set maxmemory-policy to \
                 noeviction in Redis",
                server.address()
            );
            assert_eq!(refused(server.options()).await, sentence);
            // A connection that was there before is opened anew, and the server checked again.
            let error = redis.command::<String>(cmd("PING")).await;
            assert_eq!(error.expect_err("it may evict").to_string(), sentence);
        }
    }
}

#[tokio::test]
async fn a_server_without_memory_refuses_what_is_written() {
    let memory = ["--maxmemory", "2mb", "--maxmemory-policy", "noeviction"];
    let Some(server) = RedisServer::start_with(Engine::Redis, &memory).await else {
        return;
    };
    let redis = server.connect().await;
    let fill = Script::new("redis.call('SET', KEYS[1], ARGV[1])");
    let bytes = vec![b'x'; 200_000];
    let mut last = Ok(());
    for number in 0..50 {
        let key = format!("k{number}");
        last = redis.run(&fill, &[key], &[&bytes]).await;
        if last.is_err() {
            break;
        }
    }
    let error = last.expect_err("10 MB are more than 2");
    assert_eq!(
        error.to_string(),
        format!(
            "Redis at {} is out of memory: raise maxmemory in Redis",
            server.address()
        )
    );
    assert!(!error.may_have_run() && !error.is_away());
    // What is there can be read.
    let value: Vec<u8> = redis
        .command(cmd("GET").arg("k0").clone())
        .await
        .expect("a value");
    assert_eq!(value, bytes);
}

#[tokio::test]
async fn a_replica_is_refused_and_one_that_becomes_a_replica_is_left() {
    let Some(master) = RedisServer::start().await else {
        return;
    };
    let port = master.port().to_string();
    let options = ["--replicaof", "127.0.0.1", &port];
    let Some(replica) = RedisServer::start_with(Engine::Redis, &options).await else {
        return;
    };
    let sentence = format!(
        "Redis at {} is a read-only replica: set redis.url to the primary, or to redis-sentinel:// to follow it",
        replica.address()
    );
    assert_eq!(refused(replica.options()).await, sentence);
    let _: String = replica.command(&["REPLICAOF", "NO", "ONE"]);
    let redis = replica.connect().await;
    let set = cmd("SET").arg("k").arg("v").clone();
    let _: () = redis.command(set.clone()).await.expect("a master");
    let _: String = replica.command(&["REPLICAOF", "127.0.0.1", &port]);
    let error = redis
        .command::<()>(set.clone())
        .await
        .expect_err("a replica");
    assert_eq!(error.to_string(), sentence);
    assert!(error.is_away() && !error.may_have_run());
    // The next connection is checked as well.
    let error = redis.command::<()>(set).await.expect_err("a replica");
    assert_eq!(error.to_string(), sentence);
}

#[tokio::test]
async fn passwords_are_asked_for_refused_and_read_again() {
    let Some(server) =
        RedisServer::start_with(Engine::Redis, &["--requirepass", "secret-one"]).await
    else {
        return;
    };
    let address = server.address();
    assert_eq!(
        refused(server.options()).await,
        format!(
            "Redis at {address} requires a password: set redis.password or redis.password_file"
        )
    );
    let wrong = format!(
        "Redis at {address} rejected the password: check redis.username and redis.password or redis.password_file"
    );
    assert_eq!(
        refused(with_password(server.options(), None, "secret-two")).await,
        wrong
    );
    let nobody = with_password(server.options(), Some("nobody"), "secret-one");
    assert_eq!(refused(nobody).await, wrong);
    let right = options(&format!("redis://:secret-one@{address}"));
    Redis::connect(right)
        .await
        .expect("the password in the address");

    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "secret-one\n").expect("it can be written");
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let tells = std::sync::Arc::clone(&told);
    let from_file = RedisOptions {
        password: Password::File(file.path().to_owned()),
        on_password: std::sync::Arc::new(move |password| {
            tells.lock().expect("no panic").push(password.to_owned());
        }),
        ..server.options()
    };
    let redis = Redis::connect(from_file)
        .await
        .expect("the password of the file");
    // It is changed in Redis, which drops its connections, and in the file.
    let right = options(&format!("redis://:secret-one@{address}"));
    let other = Redis::connect(right)
        .await
        .expect("the password in the address");
    let set = |name: &str, value: &str| cmd("CONFIG").arg("SET").arg(name).arg(value).clone();
    let _: () = other
        .command(set("requirepass", "secret-two"))
        .await
        .expect("it is set");
    let kill = cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").clone();
    let _: u64 = other.command(kill).await.expect("they are dropped");
    let ping = || redis.command::<String>(cmd("PING"));
    let mut last = ping().await;
    if matches!(last, Err(RedisError::NoAnswer { .. })) {
        last = ping().await;
    }
    assert_eq!(last.expect_err("the old password").to_string(), wrong);
    std::fs::write(file.path(), "secret-two\n").expect("it can be written");
    ping().await.expect("the new password");
    let told = told.lock().expect("no panic");
    assert_eq!(told.first().map(String::as_str), Some("secret-one"));
    assert_eq!(told.last().map(String::as_str), Some("secret-two"));
}

#[tokio::test]
async fn a_password_that_nobody_asked_for_is_named() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    assert_eq!(
        refused(with_password(server.options(), None, "secret")).await,
        format!(
            "Redis at {} has no password, but one is set: remove redis.password, or set requirepass in Redis",
            server.address()
        )
    );
}

#[tokio::test]
async fn a_user_who_may_not_do_what_is_needed_is_named() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let user = ["ACL", "SETUSER", "age", "on", ">secret", "~age:*", "+@all"];
    let rules = [&user[..], &["-eval", "-evalsha"]].concat();
    let _: String = server.command(&rules);
    let options = || with_password(server.options(), Some("age"), "secret");
    let redis = Redis::connect(options())
        .await
        .expect("the user may connect");
    let script = Script::new("return redis.call('GET', KEYS[1])");
    let denied: Result<(), _> = redis.run(&script, &["age:1"], &[""]).await;
    let said = denied.expect_err("no scripts").to_string();
    let address = server.address();
    let sentence = |what: &str| {
        format!(
            "Redis at {address} denied access ({what}): allow it for redis.username in Redis's ACL, with all keys \
             under redis.key_prefix"
        )
    };
    assert_eq!(
        said,
        sentence("no permissions to run the 'evalsha' command")
    );
    let _: String = server.command(&[&user[..], &["-info"]].concat());
    let said = refused(options()).await;
    assert_eq!(said, sentence("no permissions to run the 'info' command"));
    let _: String = server.command(&user);
    let redis = Redis::connect(options())
        .await
        .expect("the user may connect");
    let denied: Result<Option<String>, _> = redis.run(&script, &["other"], &[""]).await;
    let denied = denied.expect_err("another key");
    assert!(
        matches!(
            &denied,
            RedisError::Refused {
                refusal: Refusal::Permission(_),
                ..
            }
        ),
        "{denied:?}"
    );
    let allowed: Option<String> = redis
        .run(&script, &["age:1"], &[""])
        .await
        .expect("its key");
    assert_eq!(allowed, None);
    // What docs/security.md gives the user is enough.
    let rules = "+@read +@write +@scripting +@connection +time +info";
    let mut documented = vec!["ACL", "SETUSER", "age", "reset", "on", ">secret", "~age:*"];
    documented.extend(rules.split(' '));
    let _: String = server.command(&documented);
    let redis = Redis::connect(options())
        .await
        .expect("the user may connect");
    let writes = Script::new(
        "redis.call('HSET', KEYS[1], 'at', redis.call('TIME')[1]) redis.call('PEXPIRE', KEYS[1], 1000)
         return redis.call('HLEN', KEYS[1])",
    );
    let written: u64 = redis
        .run(&writes, &["age:2"], &[""])
        .await
        .expect("its key");
    assert_eq!(written, 1);
}

#[tokio::test]
async fn each_kind_of_server_has_its_kind_of_address() {
    let Some(server) = RedisServer::start().await else {
        return;
    };
    let as_cluster = options(&format!("redis-cluster://{}", server.address()));
    assert_eq!(
        refused(as_cluster).await,
        format!(
            "Redis at {} (Cluster) is not a Cluster: write redis:// in redis.url",
            server.address()
        )
    );
    let Some(cluster) = ClusterGroup::start().await else {
        return;
    };
    assert_eq!(
        refused(cluster.nodes[0].options()).await,
        format!(
            "Redis at {} is a node of a Cluster: write redis-cluster:// in redis.url",
            cluster.nodes[0].address()
        )
    );
    let nobody = options("redis://127.0.0.1:1");
    let said = refused(nobody).await;
    let sentence = "Redis at 127.0.0.1:1 cannot be reached (Connection refused (os error 111)): check redis.url, and \
                    whether it is running";
    assert_eq!(said, sentence);
}
