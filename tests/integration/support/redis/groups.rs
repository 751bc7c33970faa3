//! Several servers together: a master with a replica and Sentinels, and a Cluster.

use std::process::Command;

use super::super::exporter::write;
use super::super::program::Program;
use super::super::tools::tool;
use super::super::until;
use super::{Authority, Engine, RedisServer, ask, free_port};

/// Name of the master.
pub const MASTER: &str = "mymaster";

/// A master, a replica and Sentinels, two of which must agree.
pub struct SentinelGroup {
    /// The first is the master at the start.
    pub servers: [RedisServer; 2],
    sentinels: Vec<Sentinel>,
    password: Option<&'static str>,
}

/// A Sentinel: where it listens, and the program.
struct Sentinel {
    port: u16,
    password: Option<&'static str>,
    _program: Program,
}

impl SentinelGroup {
    /// Starts them with one password for all; none where Redis cannot be had.
    pub async fn start(password: Option<&'static str>) -> Option<Self> {
        let options = match &password {
            Some(password) => vec!["--requirepass", password, "--masterauth", password],
            None => Vec::new(),
        };
        let master = RedisServer::start_with(Engine::Redis, &options).await?;
        let port = master.port().to_string();
        let mut of_replica = options;
        of_replica.extend(["--replicaof", "127.0.0.1", &port]);
        let replica = RedisServer::start_with(Engine::Redis, &of_replica).await?;
        until("the replica follows", async || {
            let info: String = replica.command(&["INFO", "replication"]);
            let follows = info.contains("master_link_status:up");
            follows.then_some(()).ok_or(info)
        })
        .await;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Sentinel::start(master.port(), password).await?);
        }
        let group = Self {
            servers: [master, replica],
            sentinels,
            password,
        };
        until(
            "the Sentinels know each other and the replica",
            async || {
                let known: Vec<String> = group.sentinels.iter().map(Sentinel::master).collect();
                let is_known = |info: &String| info == "2 sentinels, 1 replicas";
                known
                    .iter()
                    .all(is_known)
                    .then_some(())
                    .ok_or(known.join("; "))
            },
        )
        .await;
        Some(group)
    }

    /// `redis-sentinel://…/mymaster`.
    pub fn url(&self) -> String {
        let sentinels = self.sentinels.iter();
        let sentinels = sentinels.map(|sentinel| format!("127.0.0.1:{}", sentinel.port));
        let sentinels: Vec<String> = sentinels.collect();
        let user = self.password.map(|password| format!(":{password}@"));
        let user = user.unwrap_or_default();
        format!("redis-sentinel://{user}{}/{MASTER}", sentinels.join(","))
    }

    /// The master as the first Sentinel knows it.
    pub fn master(&self) -> &RedisServer {
        &self.servers[self.master_place()]
    }

    /// The place of the master among the servers, as the first Sentinel knows it.
    pub fn master_place(&self) -> usize {
        let port = self.master_port();
        let place = self.servers.iter().position(|server| server.port() == port);
        place.expect("one of them")
    }

    /// Waits until another server than the one at this place is the master.
    pub async fn other_master(&self, place: usize) {
        until("there is another master", async || {
            match self.master_place() {
                master if master == place => Err(format!("it is {place}")),
                _ => Ok(()),
            }
        })
        .await;
    }

    /// Waits until the server at this place follows the master.
    pub async fn follows(&self, place: usize) {
        until("the server follows the master", async || {
            let info: String = self.servers[place].command(&["INFO", "replication"]);
            let follows = info.contains("master_link_status:up");
            follows.then_some(()).ok_or(info)
        })
        .await;
    }

    /// Port of the master as the first Sentinel knows it.
    pub fn master_port(&self) -> u16 {
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
        let (_, port): (String, u16) = ask(self.sentinels[0].port, self.password, &words);
        port
    }
}

impl Sentinel {
    async fn start(master: u16, password: Option<&'static str>) -> Option<Self> {
        let port = free_port();
        let folder = tempfile::tempdir().expect("a folder");
        let passwords = password.map(|password| {
            format!("requirepass {password}\nsentinel auth-pass {MASTER} {password}\n")
        });
        let passwords = passwords.unwrap_or_default();
        let configuration = format!(
            "port {port}
bind 127.0.0.1
sentinel monitor {MASTER} 127.0.0.1 {master} 2
sentinel down-after-milliseconds {MASTER} 2000
sentinel failover-timeout {MASTER} 3000
{passwords}"
        );
        write(&folder, "sentinel.conf", &configuration);
        let mut command = Command::new(tool("bin/redis-server")?);
        command.args(["sentinel.conf", "--sentinel"]);
        let mut program = Program::start_in(folder, command);
        program
            .tells("that it watches", |output| {
                output.contains("+monitor").then_some(())
            })
            .await;
        Some(Self {
            port,
            password,
            _program: program,
        })
    }

    /// How many others it knows.
    fn master(&self) -> String {
        let info: redis::Value = ask(self.port, self.password, &["SENTINEL", "MASTER", MASTER]);
        let info: std::collections::HashMap<String, String> =
            redis::from_redis_value(info).expect("pairs");
        let number = |key: &str| info.get(key).cloned().unwrap_or_default();
        format!(
            "{} sentinels, {} replicas",
            number("num-other-sentinels"),
            number("num-slaves")
        )
    }
}

/// A Cluster of three nodes without replicas.
pub struct ClusterGroup {
    /// Its nodes.
    pub nodes: Vec<RedisServer>,
    /// Where clients connect.
    ports: Vec<u16>,
    scheme: &'static str,
}

impl ClusterGroup {
    /// Starts it; none where Redis cannot be had.
    pub async fn start() -> Option<Self> {
        Self::of(None).await
    }

    /// The same with TLS, where clients show a certificate.
    pub async fn start_tls(authority: &Authority) -> Option<Self> {
        Self::of(Some(authority)).await
    }

    async fn of(authority: Option<&Authority>) -> Option<Self> {
        let (mut nodes, mut ports, mut buses) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..3 {
            let (bus, tls) = (free_port(), free_port());
            let mut options: Vec<String> = match authority {
                // The plain port stays, for the test's own commands.
                Some(authority) => authority.server_options(tls, true).split_off(2),
                None => Vec::new(),
            };
            let bus_option = bus.to_string();
            let of_cluster = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
            let of_cluster = of_cluster
                .into_iter()
                .chain(["--cluster-port", &bus_option]);
            options.extend(of_cluster.map(str::to_owned));
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let node = RedisServer::start_with(Engine::Redis, &options).await?;
            ports.push(authority.map_or(node.port(), |_| tls));
            buses.push(bus);
            nodes.push(node);
        }
        let group = Self {
            nodes,
            ports,
            scheme: authority.map_or("redis-cluster", |_| "rediss-cluster"),
        };
        group.join(&buses).await;
        Some(group)
    }

    async fn join(&self, buses: &[u16]) {
        let slots = [[0, 5460], [5461, 10_922], [10_923, 16_383]];
        for (node, [first, last]) in self.nodes.iter().zip(slots) {
            let (first, last) = (first.to_string(), last.to_string());
            let _: String = node.command(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        for (port, bus) in self.ports.iter().zip(buses).skip(1) {
            let (port, bus) = (port.to_string(), bus.to_string());
            let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, &bus];
            let _: String = self.nodes[0].command(&meet);
        }
        until("the Cluster is complete", async || {
            let infos = self.nodes.iter().map(|node| {
                let info: String = node.command(&["CLUSTER", "INFO"]);
                info
            });
            let infos: Vec<String> = infos.collect();
            let is_complete = |info: &String| {
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            };
            let all = infos.iter().all(is_complete);
            all.then_some(()).ok_or_else(|| infos.join("\n"))
        })
        .await;
    }

    /// `redis-cluster://…` or `rediss-cluster://…` with all nodes.
    pub fn url(&self) -> String {
        let nodes: Vec<String> = self
            .ports
            .iter()
            .map(|port| format!("127.0.0.1:{port}"))
            .collect();
        format!("{}://{}", self.scheme, nodes.join(","))
    }
}
