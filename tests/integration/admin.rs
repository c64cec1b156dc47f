//! The HTTP API: what operators, probes and Prometheus read.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::support::{PATIENCE, RawClient, Scenario, World, query, wait_for};

const JSON: &str = "application/json";

/// Waits until a page says what it should.
#[track_caller]
fn until(world: &World, path: &str, rule: impl Fn(&Value) -> bool) -> Value {
    wait_for(PATIENCE, path, || {
        let page = world.pooler.admin().json(path);
        if rule(&page) { Ok(page) } else { Err(page.to_string()) }
    })
}

#[test]
fn probes_are_answered() {
    let world = Scenario::new().start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(world.pooler.admin().get(path, "*/*").status, 200, "{path}");
    }
}

#[test]
fn pools_show_who_is_served_and_who_waits() {
    let world = Scenario::new().pool_size(1).start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    waiting.send(&query("SELECT 1"));
    world.wait_for_waiting(1);
    let pools = world.pooler.admin().pools();
    let [(database, user, counts)] = pools.as_slice() else { panic!("one pool: {pools:?}") };
    assert_eq!((database.as_str(), user.as_str()), (world.database.as_str(), "app"));
    assert_eq!((counts.clients_active, counts.clients_waiting), (1, 1));
    assert_eq!((counts.servers_active, counts.servers_idle), (1, 0));
    holder.query("COMMIT");
    assert_eq!(waiting.read_readies(1).value(), "1");
}

#[test]
fn clients_and_servers_are_listed() {
    let world = Scenario::new().start();
    let login = world.login().parameter("application_name", "shop");
    let mut client = RawClient::login(&login);
    let backend = client.backend();
    let admin = world.pooler.admin();
    let clients = admin.clients();
    assert_eq!(clients.len(), 1, "{clients:?}");
    assert_eq!(clients[0]["user"], "app");
    assert_eq!(clients[0]["database"], world.database.as_str());
    assert!(clients[0].to_string().contains("shop"), "{clients:?}");
    let servers = admin.servers();
    assert_eq!(servers.len(), 1, "{servers:?}");
    assert!(servers[0].to_string().contains(&backend), "no {backend} in {servers:?}");
}

#[test]
fn databases_are_listed_without_secrets() {
    let scenario = Scenario::new().set_database("user", "app");
    let world = scenario.set_database("password", "app_secret").start();
    world.client().query("SELECT 1");
    let admin = world.pooler.admin();
    assert!(admin.json("/databases").to_string().contains(&world.database));
    for path in ["/", "/pools", "/clients", "/servers", "/databases", "/metrics"] {
        for accept in [JSON, "text/plain"] {
            let answer = admin.get(path, accept);
            assert_eq!(answer.status, 200, "{path} as {accept}");
            assert!(!answer.body.contains("app_secret"), "{path} as {accept} tells a password");
        }
    }
    assert!(!world.pooler.log().contains("app_secret"), "the log tells a password");
}

#[test]
fn the_dashboard_fits_a_terminal() {
    let world = Scenario::new().start();
    world.client().query("SELECT 1");
    let answer = world.pooler.admin().get("/", "*/*");
    assert!(answer.head.contains("text/plain"), "{}", answer.head);
    assert!(answer.body.contains(&world.database), "{}", answer.body);
    assert!(answer.body.lines().count() <= 50, "{}", answer.body);
}

/// Lines of the Prometheus text format that are not comments.
fn samples(world: &World) -> Vec<(String, f64)> {
    let answer = world.pooler.admin().get("/metrics", "*/*");
    let lines = answer.body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in {line:?}"));
        let value = value.parse().unwrap_or_else(|_| panic!("no number in {line:?}"));
        (name.to_owned(), value)
    };
    lines.map(sample).collect()
}

#[test]
fn metrics_parse_are_unique_and_count_on() {
    let world = Scenario::new().start();
    let mut client = world.client();
    client.query("SELECT 1");
    let before = samples(&world);
    assert!(before.len() > 10, "{before:?}");
    let names: BTreeSet<_> = before.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), before.len(), "a sample is given twice");
    for _ in 0..1000 {
        client.query("SELECT 1");
    }
    wait_for(PATIENCE, "a thousand more", || {
        let after = samples(&world);
        let counted = after.iter().filter(|(name, value)| {
            let earlier = before.iter().find(|(known, _)| known == name).map_or(0.0, |(_, v)| *v);
            (value - earlier - 1000.0).abs() < 0.5
        });
        let counted: Vec<_> = counted.map(|(name, _)| name.as_str()).collect();
        let both = ["quer", "trans"].map(|word| counted.iter().any(|name| name.contains(word)));
        if both == [true, true] { Ok(()) } else { Err(format!("{counted:?}")) }
    });
}

#[test]
fn unknown_paths_and_methods_are_refused() {
    let world = Scenario::new().start();
    let admin = world.pooler.admin();
    assert_eq!(admin.get("/no/such/page", "*/*").status, 404);
    let post = "POST /pools HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(admin.send(post).status, 405);
}

#[test]
fn requests_for_another_host_are_refused() {
    let world = Scenario::new().start();
    let ask = |host: &str| {
        let request = format!("GET /pools HTTP/1.0\r\nHost: {host}\r\n\r\n");
        world.pooler.admin().send(&request).status
    };
    assert_eq!([ask("evil.example"), ask("127.0.0.1:6433"), ask("localhost")], [403, 200, 200]);
    assert_eq!(world.pooler.admin().send("GET /pools HTTP/1.0\r\n\r\n").status, 200);
}

#[test]
fn what_a_pool_did_is_counted() {
    let world = Scenario::new().start();
    let mut client = world.client();
    client.query("SELECT generate_series(1, 7)");
    client.run(&query("SELECT 1/0"));
    client.query("SELECT pg_sleep(0.02)");
    let path = format!("/pools/{}/app", world.database);
    let pool = until(&world, &path, |pool| pool["rates"]["errors_per_s"].as_f64() > Some(0.0));
    let totals = &pool["totals"];
    for (count, expected) in [("queries", 3), ("transactions", 3), ("logins", 1), ("rows", 8)] {
        assert_eq!(totals[count], expected, "{count} in {totals}");
    }
    assert_eq!(totals["errors"]["22"], 1, "{totals}");
    assert!(totals["server_connects"].as_u64() >= Some(1), "{totals}");
    let longest = pool["query_ms"]["max"].as_f64().unwrap();
    assert!((19.0..5_000.0).contains(&longest), "{pool}");
    assert!(pool["rates"]["queries_per_s"].as_f64() > Some(0.0), "{pool}");
}

#[test]
fn a_wait_shows_while_it_lasts_and_afterwards() {
    let world = Scenario::new().pool_size(1).start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    // Two workers tell their clients' times, not at the same instant: the holder's lead must be
    // longer than the moment between them.
    std::thread::sleep(Duration::from_millis(100));
    waiting.send(&query("SELECT 1"));
    let path = format!("/pools/{}/app", world.database);
    let waits = |pool: &Value| pool["maxwait_ms"].as_f64() > Some(30.0);
    let pool = until(&world, &path, waits);
    assert_eq!(pool["clients_waiting"], 1, "{pool}");
    assert_eq!(pool["clients_idle_in_transaction"], 1, "{pool}");
    let waiters = world.pooler.admin().json("/clients?state=waiting");
    assert_eq!(waiters["matching"], 1, "{waiters}");
    let longest = world.pooler.admin().json("/clients?limit=1");
    assert!(longest["clients"][0]["server_pid"].is_u64(), "the holder comes first: {longest}");
    assert_eq!(longest["matching"], 2);
    holder.query("COMMIT");
    waiting.read_readies(1);
    let pool = until(&world, &path, |pool| pool["totals"]["waits"].as_u64() >= Some(1));
    assert!(pool["wait_ms"]["max"].as_f64() > Some(29.0), "{pool}");
    assert_eq!(pool["maxwait_ms"].as_f64(), Some(0.0), "{pool}");
}

#[test]
fn refused_logins_are_counted_by_their_error() {
    let world = Scenario::new().start();
    let wrong = world.login().user("app", "wrong");
    RawClient::try_login(&wrong).map(drop).expect_err("a wrong password");
    let sample = "pooler_logins_refused_total{sqlstate_class=\"28\"}";
    let count = samples(&world).into_iter().find(|(name, _)| name == sample);
    assert_eq!(count, Some((sample.to_owned(), 1.0)));
}

#[test]
fn a_database_whose_account_is_refused_is_down_and_says_why() {
    let scenario = Scenario::new().set("server.health_check_interval", "100ms");
    let scenario = scenario.set("databases.locked.host", "127.0.0.1");
    let port = i64::from(scenario.cluster().port());
    let scenario = scenario.set("databases.locked.port", port).set("databases.locked.user", "app");
    let world = scenario.set("databases.locked.password", "wrong").start();
    let answer = world.pooler.admin().get("/readyz", "*/*");
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(
        answer.body.contains("\"locked\" is down: password authentication failed"),
        "{answer:?}"
    );
    let databases = until(&world, "/databases", |page| {
        let health = |name: &str| {
            let rows = page["databases"].as_array().unwrap().iter();
            rows.filter(|row| row["database"] == name).map(|row| row["health"].clone()).next()
        };
        health("locked").unwrap()["state"] == "down"
            && health(&world.database).unwrap()["state"] == "up"
    });
    assert!(databases.to_string().contains("28P01"), "{databases}");
    assert_eq!(world.pooler.log().matches("Postgres is down").count(), 1, "{}", world.pooler.log());
}

#[test]
fn a_check_query_is_run_and_its_failure_seen() {
    let scenario = Scenario::new().set("server.health_check_interval", "50ms");
    let scenario = scenario.set("server.server_check_query", "SELECT * FROM health");
    let scenario = scenario.set_database("user", "app").set_database("password", "app_secret");
    let world = scenario.start();
    let until_state = |state: &str| {
        until(&world, "/databases", |page| page["databases"][0]["health"]["state"] == state)
    };
    let down = until_state("down");
    assert!(down.to_string().contains("relation \\\"health\\\" does not exist"), "{down}");
    world.prepare("CREATE TABLE health ()");
    until_state("up");
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pooler health' \
               AND datname = current_database()";
    assert_eq!(world.superuser().value(sql), "1", "one connection, kept");
}

#[test]
fn a_database_with_a_limit_on_its_connections_gets_no_further_one() {
    let scenario =
        Scenario::new().set_database("user", "app").set_database("password", "app_secret");
    let scenario = scenario.set("server.health_check_interval", "50ms");
    let world = scenario.set_database("max_db_connections", 2).start();
    let page = until(&world, "/databases", |page| page["databases"][0]["health"]["state"] == "up");
    assert_eq!(page["databases"][0]["health"]["probe"], "hello", "{page}");
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pooler health' \
               AND datname = current_database()";
    assert_eq!(world.superuser().value(sql), "0");
}

#[test]
fn a_check_query_that_does_not_end_is_cancelled() {
    let scenario = Scenario::new().set("server.health_check_interval", "50ms");
    let scenario = scenario.set("server.server_check_query", "SELECT pg_sleep(60)");
    let scenario = scenario.set("server.server_connect_timeout", "300ms");
    let scenario = scenario.set_database("user", "app").set_database("password", "app_secret");
    let world = scenario.start();
    // Long enough for several probes.
    let page = until(&world, "/databases", |page| {
        let health = &page["databases"][0]["health"];
        health["state"] == "down" && health["state_ms"].as_f64() > Some(1_500.0)
    });
    assert!(page.to_string().contains("no answer within 0.3 s"), "{page}");
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' \
               AND state = 'active' AND datname = current_database()";
    let running = world.superuser().value(sql).parse::<u32>().unwrap();
    assert!(running <= 1, "{running} are running");
}

#[test]
fn what_became_of_servers_is_counted_by_reason() {
    let world = Scenario::new().pool_size(1).set("server.server_idle_timeout", "200ms").start();
    let mut listener = world.client();
    listener.query("LISTEN to_nobody");
    listener.terminate();
    let metric = |name: &str, labels: &str| {
        let page = world.pooler.admin().get("/metrics", "text/plain").body;
        let start = format!("{name}{{database=\"{}\",user=\"app\"{labels}}} ", world.database);
        let line = page.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {start} in {page}")).to_owned()
    };
    let reaches_one = |name: &str, labels: &str| {
        wait_for(Duration::from_secs(10), name, || match metric(name, labels).as_str() {
            "1" => Ok(()),
            other => Err(other.to_owned()),
        });
    };
    reaches_one("pooler_servers_cleaned_total", "");
    reaches_one("pooler_servers_closed_total", ",reason=\"idle\"");
    assert_eq!(metric("pooler_servers_closed_total", ",reason=\"unclean\""), "0");
    let mut client = world.client();
    client.send(&query("SELECT pg_sleep(60)"));
    world.wait_for_query("pg_sleep(60)");
    client.cancel();
    assert!(client.read_readies(1).has_error());
    reaches_one("pooler_servers_cancelled_total", "");
}

#[test]
fn silent_connections_keep_nobody_from_asking_for_long() {
    const OF_ONE_ADDRESS: usize = 20;
    let world = Scenario::new().start();
    let address = world.pooler.admin().address();
    let connect = || TcpStream::connect(&address).unwrap();
    let silent: Vec<_> = (0..OF_ONE_ADDRESS).map(|_| connect()).collect();
    let ended = |mut socket: &TcpStream, limit| {
        socket.set_read_timeout(Some(Duration::from_secs(limit))).unwrap();
        socket.read(&mut [0]).is_ok_and(|count| count == 0)
    };
    assert!(ended(&connect(), 5), "it is one too many");
    for socket in &silent {
        assert!(ended(socket, 15), "it has said nothing for long");
    }
    assert_eq!(world.pooler.admin().get("/healthz", "text/plain").status, 200);
}

/// A connection to the API from one of this machine's many addresses.
fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

/// Asks on a connection that stays, and reads the status.
fn asks_and_stays(mut socket: &TcpStream) -> String {
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.write_all(b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut reply = vec![0; 4096];
    let length = socket.read(&mut reply).unwrap();
    String::from_utf8_lossy(&reply[..length]).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn strangers_at_many_addresses_keep_nobody_out() {
    const ADDRESSES: u8 = 6;
    const OF_ONE_ADDRESS: usize = 20;
    let world = Scenario::new().start();
    let address: SocketAddr = world.pooler.admin().address().parse().unwrap();
    let known = connect_from([127, 0, 0, 1], address);
    assert_eq!(asks_and_stays(&known), "HTTP/1.1 200 OK");
    // More than there are places.
    let strangers: Vec<_> = (0..ADDRESSES)
        .flat_map(|number| std::iter::repeat_n([127, 0, 1, number + 1], OF_ONE_ADDRESS))
        .map(|from| connect_from(from, address))
        .collect();
    let begun = Instant::now();
    assert_eq!(world.pooler.admin().get("/healthz", "text/plain").status, 200);
    // Silent ones would have been closed after 10 s.
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(asks_and_stays(&known), "HTTP/1.1 200 OK", "who is known keeps its place");
    drop(strangers);
}
