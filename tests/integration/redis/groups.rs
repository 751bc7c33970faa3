//! Unix sockets, TLS, Sentinels and Clusters.

use std::collections::BTreeSet;
use std::time::Duration;

use amazing_gitlab_exporter::redis::{Redis, RedisOptions, Script, cmd};

use crate::support::redis::{
    Authority, ClusterGroup, Engine, RedisServer, SentinelGroup, free_port, options,
};
use crate::support::until;

fn put() -> Script {
    Script::new("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])")
}

/// Writes and reads.
async fn works(redis: &Redis, key: &str) -> Result<(), String> {
    let value: Result<String, _> = redis.run(&put(), &[key], &["value"]).await;
    match value {
        Ok(value) if value == "value" => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

#[tokio::test]
async fn a_unix_socket_and_a_database_are_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("redis.sock");
    let path = path.to_str().expect("UTF-8");
    let Some(server) = RedisServer::start_with(Engine::Redis, &["--unixsocket", path]).await else {
        return;
    };
    let redis = Redis::connect(options(&format!("unix://{path}?db=5")))
        .await
        .expect("it is up");
    works(&redis, "k").await.expect("it works");
    let databases: String = server.command(&["INFO", "keyspace"]);
    assert!(
        databases.contains("db5:keys=1") && !databases.contains("db0"),
        "{databases}"
    );
}

#[tokio::test]
async fn tls_takes_an_authority_a_password_and_a_client_certificate() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("client", &["exporter"]);
    for engine in Engine::ALL {
        let port = free_port();
        let mut of_server = authority.server_options(port, true);
        of_server.extend(["--requirepass", "secret"].map(str::to_owned));
        let of_server: Vec<&str> = of_server.iter().map(String::as_str).collect();
        let Some(_server) = RedisServer::start_with(engine, &of_server).await else {
            return;
        };
        let url = format!("rediss://:secret@localhost:{port}/1");
        let with_ca = || RedisOptions {
            ca_cert_path: Some(authority.path()),
            ..options(&url)
        };
        let with_all = RedisOptions {
            client_cert_path: Some(certificate.clone()),
            client_key_path: Some(key.clone()),
            ..with_ca()
        };
        let redis = Redis::connect(with_all).await.expect("everything fits");
        works(&redis, "k").await.expect("it works");
        let said = |error: amazing_gitlab_exporter::redis::RedisError| error.to_string();
        let unknown = Redis::connect(options(&url)).await.map(drop).map_err(said);
        let unknown = unknown.expect_err("an authority that nobody knows");
        assert!(
            unknown.starts_with(&format!(
                "Redis at localhost:{port} cannot be reached (TLS failed: invalid peer certificate"
            )),
            "{unknown}"
        );
        let bare = Redis::connect(with_ca()).await.map(drop).map_err(said);
        let bare = bare.expect_err("no certificate of the client");
        assert!(bare.contains("cannot be reached ("), "{bare}");
        let plain = options(&format!("redis://:secret@localhost:{port}/1"));
        let plain = Redis::connect(plain).await.map(drop).map_err(said);
        assert!(plain.expect_err("no TLS").contains("cannot be reached ("));
    }
}

#[tokio::test]
async fn writes_follow_the_master_that_sentinels_choose() {
    let Some(mut group) = SentinelGroup::start(Some("secret")).await else {
        return;
    };
    let redis = Redis::connect(options(&group.url()))
        .await
        .expect("it is up");
    works(&redis, "before").await.expect("it works");
    let old = group.master_port();
    assert_eq!(old, group.servers[0].port());
    until("the replica has it", async || {
        let value: Option<String> = group.servers[1].command(&["GET", "before"]);
        value.map(drop).ok_or_else(|| "it has not".to_owned())
    })
    .await;
    group.servers[0].kill();
    until("writes go to the new master", async || {
        works(&redis, "after").await
    })
    .await;
    assert_eq!(group.master_port(), group.servers[1].port());
    let both: Vec<String> = group.servers[1].command(&["MGET", "before", "after"]);
    assert_eq!(both, ["value", "value"]);
    // The old one comes back, as a replica at last; whatever it says until then, nothing is written to it.
    group.servers[0].restart().await;
    until("one follows the other", async || {
        let infos = group.servers.iter().map(|server| {
            let info: String = server.command(&["INFO", "replication"]);
            info
        });
        let infos: Vec<String> = infos.collect();
        let follows = |info: &&String| info.contains("master_link_status:up");
        match infos.iter().filter(follows).count() {
            1 => Ok(()),
            _ => Err(infos.join("\n")),
        }
    })
    .await;
    until("it works again", async || works(&redis, "late").await).await;
    let late: String = group.master().command(&["GET", "late"]);
    assert_eq!(late, "value");
}

#[tokio::test]
async fn a_stopped_master_is_left_for_the_new_one() {
    let Some(group) = SentinelGroup::start(None).await else {
        return;
    };
    let mut options = options(&group.url());
    options.deadline = Duration::from_millis(500);
    let redis = Redis::connect(options).await.expect("it is up");
    group.servers[0].stop();
    until("writes go to the new master", async || {
        works(&redis, "after").await
    })
    .await;
    assert_eq!(group.master_port(), group.servers[1].port());
    group.servers[0].resume();
}

#[tokio::test]
async fn the_nodes_of_a_cluster_share_the_keys() {
    let Some(mut cluster) = ClusterGroup::start().await else {
        return;
    };
    let redis = Redis::connect(options(&cluster.url()))
        .await
        .expect("it is up");
    for shard in 0..64 {
        // Braces put the keys of a shard into one slot.
        let keys = [format!("age:{{s{shard}}}:a"), format!("age:{{s{shard}}}:b")];
        let both = Script::new(
            "redis.call('SET', KEYS[1], ARGV[1]) redis.call('SET', KEYS[2], ARGV[1])
             return redis.call('MGET', KEYS[1], KEYS[2])",
        );
        let values: Vec<Vec<u8>> = redis
            .run(&both, &keys, &[b"\x00\xff\r\n"])
            .await
            .expect("one slot");
        assert_eq!(values, [b"\x00\xff\r\n"; 2]);
    }
    let sizes: Vec<u64> = cluster
        .nodes
        .iter()
        .map(|node| node.command(&["DBSIZE"]))
        .collect();
    assert_eq!(sizes.iter().sum::<u64>(), 128);
    assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
    // Each node forgets its scripts, and comes back with its data.
    for node in &mut cluster.nodes {
        node.restart().await;
    }
    until("all parts are there again", async || {
        let mut seen = BTreeSet::new();
        for shard in 0..64 {
            let key = format!("age:{{s{shard}}}:a");
            let read = Script::new("return {redis.call('GET', KEYS[1])}");
            let value: Result<Vec<Vec<u8>>, _> = redis.run(&read, &[&key], &[""]).await;
            seen.insert(value.map_err(|error| error.to_string())?);
        }
        match seen == BTreeSet::from([vec![b"\x00\xff\r\n".to_vec()]]) {
            true => Ok(()),
            false => Err(format!("{seen:?}")),
        }
    })
    .await;
    // One node does not answer: the slots of the others are there, also for who connects only now.
    cluster.nodes[2].stop();
    for redis in [
        &redis,
        &Redis::connect(options(&cluster.url()))
            .await
            .expect("two answer"),
    ] {
        let shards = (0..64).map(|shard| format!("age:{{s{shard}}}:a"));
        let on_first: Vec<String> = shards.filter(|key| slot(&cluster, key) < 5461).collect();
        assert!(on_first.len() > 10, "{on_first:?}");
        until("what lies on the first node is read", async || {
            for key in &on_first {
                let get = cmd("GET").arg(key).clone();
                let value: Result<Vec<u8>, _> = redis.command(get).await;
                value.map_err(|error| error.to_string())?;
            }
            Ok(())
        })
        .await;
    }
    cluster.nodes[2].resume();
}

/// The slot of a key.
fn slot(cluster: &ClusterGroup, key: &str) -> u16 {
    cluster.nodes[0].command(&["CLUSTER", "KEYSLOT", key])
}

#[tokio::test]
async fn a_cluster_over_tls_takes_the_authority_and_the_client_certificate() {
    let authority = Authority::new();
    let (certificate, key) = authority.issue("client", &["exporter"]);
    let Some(cluster) = ClusterGroup::start_tls(&authority).await else {
        return;
    };
    let redis = Redis::connect(RedisOptions {
        ca_cert_path: Some(authority.path()),
        client_cert_path: Some(certificate),
        client_key_path: Some(key),
        ..options(&cluster.url())
    })
    .await
    .expect("it is up");
    for key in ["a", "b", "c", "d", "e", "f"] {
        works(&redis, key).await.expect("it works");
    }
}
