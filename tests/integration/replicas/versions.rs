//! What a later version has written, an older one leaves alone.

use std::collections::BTreeMap;

use amazing_gitlab_exporter::store::{LoadError, Store};
use twox_hash::XxHash3_64;

use super::handover::live_and_rest;
use super::rig::{PATIENCE, Rig, busy, read};
use super::store::{Replica, commit, key, lease, row};
use crate::support::redis::RedisServer;
use crate::support::{http, within};

/// Bytes of a project's id, at the start of each key.
const ID: usize = 8;
/// Bytes of the checksum, at the start of each record.
const CHECKSUM: usize = 8;

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn records(redis: &RedisServer, key: &str) -> Records {
    redis.command(&["HGETALL", key])
}

fn put(redis: &RedisServer, key: &str, field: &[u8], record: &[u8]) {
    let _: i64 = redis.command_of_bytes("HSET", &[key.as_bytes(), field, record]);
}

/// A record as its next version: this is the record's form, which stays.
fn next_version(table: &str, field: &[u8], record: &[u8]) -> Vec<u8> {
    let (id, rest) = field.split_at(ID);
    let id = u64::from_be_bytes(id.try_into().expect("an id"));
    let seed = XxHash3_64::oneshot_with_seed(id, table.as_bytes());
    let seed = XxHash3_64::oneshot_with_seed(seed, rest);
    let (_, content) = record.split_at(CHECKSUM);
    let mut content = content.to_vec();
    content[0] += 1;
    let checksum = XxHash3_64::oneshot_with_seed(seed, &content);
    [&checksum.to_le_bytes()[..], &content].concat()
}

#[tokio::test]
async fn a_shard_with_a_part_or_a_row_of_a_later_version_is_refused_and_stays() {
    let Some(redis) = RedisServer::start().await else {
        return;
    };
    let one = Replica::new(&redis, "one").await;
    lease(&redis, "one", 5);
    one.load(5).await.unwrap();
    let first = commit("group/app", vec![row("a", 2.0)], 100);
    one.store.commit(first).await.unwrap();
    for (hash, table, expected) in [
        (
            "memory",
            "memories",
            "path of project 7 has version 2, 1 is known",
        ),
        ("rows", "rows", "a row has version "),
    ] {
        let hash = key(hash);
        let before = records(&redis, &hash);
        let (field, record) = before.first_key_value().expect("it was kept");
        let later = next_version(table, field, record);
        put(&redis, &hash, field, &later);
        let read = one.load(5).await;
        let Err(LoadError::TooNew(why)) = &read else {
            panic!("{read:?}");
        };
        assert!(why.starts_with(expected), "{why}");
        assert_eq!(records(&redis, &hash)[field], later);
        put(&redis, &hash, field, record);
        one.load(5).await.unwrap();
    }
}

/// A replica among shards of which a later version has written one: it goes on with the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_replica_leaves_the_shard_of_a_newer_one_as_it_is() {
    let Some(rig) = Rig::start(busy(10, 12), &[]).await else {
        return;
    };
    let mut replicas = rig.replicas(2).await;
    drop(live_and_rest(&rig, &replicas).await);
    for replica in &mut replicas {
        replica.end("TERM").await;
    }
    let keys: Vec<String> = rig.redis.command(&["KEYS", "*:memory"]);
    let hash = keys.first().expect("projects are remembered");
    let before = records(&rig.redis, hash);
    let mut paths = before.iter().filter(|(field, _)| field[ID..] == *b"path");
    let (field, record) = paths.next().expect("each project has a path");
    let later = next_version("memories", field, record);
    put(&rig.redis, hash, field, &later);
    let written = records(&rig.redis, hash);

    let replica = &mut replicas[0];
    replica.start().await;
    within(
        PATIENCE,
        "the others are taken over",
        async || match replica.shards().await {
            63 => Ok(()),
            shards => Err(format!("{shards} shards")),
        },
    )
    .await;
    read(std::slice::from_ref(replica)).await;
    let status = http::get(&format!("http://{}/", replica.address)).await;
    let sentence = "a later version of the exporter has written it: path of project ";
    assert!(status.body.contains(sentence), "{}", status.body);
    let log = replica.program.as_ref().expect("it runs").stderr();
    let said = log.matches("shard refused, left to other replicas").count();
    assert_eq!(said, 1, "{log}");
    let all = replica.metrics().await.unwrap_or_default();
    assert!(all.contains("\nage_pipeline_run_count{"), "{all}");
    // The path stands in its record, after checksum, version and length.
    let path = String::from_utf8_lossy(&record[CHECKSUM + 3..]).into_owned();
    assert!(!all.contains(&format!("project=\"{path}\"")), "{path}");
    assert_eq!(records(&rig.redis, hash), written);
}
