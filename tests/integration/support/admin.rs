//! The admin API as tests read it; the names of its fields are known to this file only.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// An answer takes milliseconds; the rest is for busy machines.
const LIMIT: Duration = Duration::from_secs(10);

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The counts of one pool.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct PoolCounts {
    pub(crate) clients_active: u64,
    pub(crate) clients_waiting: u64,
    pub(crate) servers_active: u64,
    pub(crate) servers_idle: u64,
    pub(crate) servers_opening: u64,
}

impl PoolCounts {
    pub(crate) fn servers(&self) -> u64 {
        self.servers_active + self.servers_idle + self.servers_opening
    }
}

/// The admin listener of one pooler.
pub(crate) struct Admin {
    port: u16,
}

/// An answer that does not end, read as it comes.
pub(crate) struct Follower {
    socket: TcpStream,
    heard: String,
}

impl Follower {
    /// All that was heard, once it has this.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        while !self.heard.contains(text) {
            let mut piece = [0; 4096];
            let length = self.socket.read(&mut piece).expect("it goes on");
            assert!(length > 0, "it ended without {text:?}: {}", self.heard);
            self.heard.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        self.heard.clone()
    }
}

impl Admin {
    pub(crate) fn new(port: u16) -> Admin {
        Admin { port }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// GET with a given Accept header.
    #[track_caller]
    pub(crate) fn get(&self, path: &str, accept: &str) -> Http {
        self.send(&format!("GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"))
    }

    /// Any request, as written.
    #[track_caller]
    pub(crate) fn send(&self, request: &str) -> Http {
        let mut socket =
            TcpStream::connect(("127.0.0.1", self.port)).expect("the admin API listens");
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).expect("the admin API answers");
        let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {head:?}"));
        Http { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// GET of what does not end.
    #[track_caller]
    pub(crate) fn follow(&self, path: &str) -> Follower {
        let mut socket = TcpStream::connect(self.address()).expect("the admin API listens");
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        Follower { socket, heard: String::new() }
    }

    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.get(path, "application/json");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("no JSON: {}", answer.body))
    }

    /// All pools, each with its database and user.
    #[track_caller]
    pub(crate) fn pools(&self) -> Vec<(String, String, PoolCounts)> {
        let view = |pool: &Value| {
            let text = |key: &str| pool[key].as_str().unwrap_or_default().to_owned();
            (text("database"), text("user"), counts(pool))
        };
        list(&self.json("/pools"), "pools").iter().map(view).collect()
    }

    /// The sum over all pools.
    #[track_caller]
    pub(crate) fn total(&self) -> PoolCounts {
        let add = |sum: PoolCounts, (_, _, one): (String, String, PoolCounts)| PoolCounts {
            clients_active: sum.clients_active + one.clients_active,
            clients_waiting: sum.clients_waiting + one.clients_waiting,
            servers_active: sum.servers_active + one.servers_active,
            servers_idle: sum.servers_idle + one.servers_idle,
            servers_opening: sum.servers_opening + one.servers_opening,
        };
        self.pools().into_iter().fold(PoolCounts::default(), add)
    }

    /// All logged-in clients.
    #[track_caller]
    pub(crate) fn clients(&self) -> Vec<Value> {
        list(&self.json("/clients"), "clients")
    }

    /// All connections to Postgres.
    #[track_caller]
    pub(crate) fn servers(&self) -> Vec<Value> {
        list(&self.json("/servers"), "servers")
    }
}

#[track_caller]
fn counts(pool: &Value) -> PoolCounts {
    let count = |key: &str| {
        pool[key].as_u64().unwrap_or_else(|| panic!("no count {key:?} in the pool {pool}"))
    };
    PoolCounts {
        clients_active: count("clients_active"),
        clients_waiting: count("clients_waiting"),
        servers_active: count("servers_active"),
        servers_idle: count("servers_idle"),
        servers_opening: count("servers_opening"),
    }
}

#[track_caller]
fn list(json: &Value, key: &str) -> Vec<Value> {
    json[key].as_array().unwrap_or_else(|| panic!("no list {key:?} in {json}")).clone()
}
