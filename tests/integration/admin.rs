//! The HTTP API: what operators, probes and Prometheus read.

use std::collections::BTreeSet;

use crate::support::{Scenario, World, query};

const JSON: &str = "application/json";

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
    let mut client = crate::support::RawClient::login(&login);
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
    crate::support::wait_for(crate::support::PATIENCE, "a thousand more", || {
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
