//! TLS between the pooler and Postgres: the meanings of libpq's `sslmode`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use rustls::{ServerConnection, StreamOwned};

use crate::support::{
    Age, Authority, Papers, RawClient, Scenario, World, encrypted, query, wait_for,
};

type Session = StreamOwned<ServerConnection, TcpStream>;

const HOW: &str = "SELECT ssl::text || ' ' || coalesce(client_dn, '') FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What the server says of its connection to the pooler, or the error.
fn how(world: &World) -> String {
    match RawClient::try_login(&world.login()) {
        Ok(mut client) => client.value(HOW).trim().to_owned(),
        Err(error) => error.sqlstate,
    }
}

fn scenario(mode: &str) -> Scenario {
    Scenario::encrypted().set("tls.server_tls_sslmode", mode)
}

fn trusting(scenario: Scenario, authority: &Authority) -> Scenario {
    scenario.set("tls.server_tls_ca_file", text(&authority.file()))
}

/// The database's servers log in as this role.
fn as_role(scenario: Scenario, role: &str) -> Scenario {
    scenario.set_database("user", role).set_database("password", "app_secret")
}

#[test]
fn every_mode_does_what_libpq_does() {
    for (mode, expected) in [
        ("disable", "false"),
        ("allow", "false"),
        ("prefer", "true"),
        ("require", "true"),
        ("verify-ca", "true"),
        ("verify-full", "true"),
    ] {
        let world = trusting(scenario(mode), &encrypted().1).start();
        assert_eq!(how(&world), expected, "{mode}");
    }
    assert_eq!(how(&Scenario::encrypted().start()), "true", "prefer is the default");
}

#[test]
fn rules_that_want_or_forbid_tls_are_met_where_the_mode_allows() {
    for (mode, only_tls, only_clear) in [
        ("disable", "28000", "false"),
        ("allow", "true", "false"),
        ("prefer", "true", "false"),
        ("require", "true", "28000"),
    ] {
        let world = as_role(scenario(mode), "only_tls").start();
        assert_eq!(how(&world), only_tls, "{mode}");
        let world = as_role(scenario(mode), "only_clear").start();
        assert_eq!(how(&world), only_clear, "{mode}");
    }
}

#[test]
fn an_unknown_authority_is_refused_by_who_looks() {
    let stranger = Authority::new();
    for mode in ["require", "verify-ca", "verify-full"] {
        let world = trusting(scenario(mode), &stranger).start();
        assert_eq!(how(&world), "08006", "{mode}");
        world.pooler.wait_for_log("invalid peer certificate");
    }
    // `prefer` looks at nobody, as in libpq.
    assert_eq!(how(&trusting(scenario("prefer"), &stranger).start()), "true");
}

/// A Postgres on `localhost` that shows this certificate, and what it makes of the pooler after the
/// handshake.
fn fake<T: Send + 'static>(
    (mode, authority, papers): (&str, &Authority, &Papers),
    then: impl FnOnce(&mut Session) -> T + Send + 'static,
) -> Result<T, String> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let scenario = trusting(Scenario::new().set("tls.server_tls_sslmode", mode), authority);
    let world =
        scenario.set_database("host", "localhost").set_database("port", i64::from(port)).start();
    let server = std::thread::spawn({
        let config = papers.serving();
        move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 8];
            socket.read_exact(&mut request).unwrap();
            socket.write_all(b"S").unwrap();
            let mut session = ServerConnection::new(config).unwrap();
            while session.is_handshaking() {
                session.complete_io(&mut socket).map_err(|error| error.to_string())?;
            }
            Ok(then(&mut StreamOwned::new(session, socket)))
        }
    });
    assert!(RawClient::try_login(&world.login()).is_err(), "there is no Postgres behind it");
    server.join().unwrap()
}

fn handshake(mode: &str, authority: &Authority, papers: &Papers) -> Result<(), String> {
    fake((mode, authority, papers), |_| ())
}

#[test]
fn scram_is_bound_to_the_channel_where_postgres_offers_it() {
    /// What the pooler answers to an offer of mechanisms.
    fn answer(offer: &'static [u8]) -> String {
        let authority = Authority::new();
        let papers = authority.local();
        let answer = fake(("prefer", &authority, &papers), |session| {
            let mut length = [0; 4];
            session.read_exact(&mut length).unwrap();
            let mut startup = vec![0; u32::from_be_bytes(length) as usize - 4];
            session.read_exact(&mut startup).unwrap();
            let length = u32::try_from(offer.len() + 8).unwrap();
            let asked = [b"R", &length.to_be_bytes()[..], &[0, 0, 0, 10], offer].concat();
            session.write_all(&asked).unwrap();
            session.flush().unwrap();
            // One message is one record, and so one read.
            let mut answer = [0; 256];
            let length = session.read(&mut answer).unwrap();
            String::from_utf8_lossy(&answer[5..length]).into_owned()
        });
        answer.unwrap()
    }
    let bound = answer(b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0");
    assert!(bound.starts_with("SCRAM-SHA-256-PLUS\0"), "{bound:?}");
    assert!(bound.contains("p=tls-server-end-point,,n=,r="), "{bound:?}");
    let unbound = answer(b"SCRAM-SHA-256\0\0");
    assert!(unbound.starts_with("SCRAM-SHA-256\0") && unbound.contains("y,,n=,r="), "{unbound:?}");
}

#[test]
fn another_host_name_is_refused_by_verify_full_only() {
    let authority = Authority::new();
    let other = authority.server("other", &["other.example"], Age::Current);
    handshake("require", &authority, &other).unwrap();
    handshake("verify-ca", &authority, &other).unwrap();
    handshake("verify-full", &authority, &other).unwrap_err();
    // Without any DNS name the common name counts, as in libpq.
    let named = authority.server("localhost", &[], Age::Current);
    handshake("verify-full", &authority, &named).unwrap();
}

#[test]
fn an_expired_certificate_is_refused_by_who_looks() {
    let authority = Authority::new();
    let expired = authority.server("localhost", &["localhost"], Age::Expired);
    handshake("prefer", &authority, &expired).unwrap();
    handshake("verify-ca", &authority, &expired).unwrap_err();
}

#[test]
fn a_servers_own_certificate_may_stand_for_its_authority() {
    let own = encrypted().0.folder().join("server.pem");
    let scenario = scenario("verify-full").set("tls.server_tls_ca_file", text(&own));
    assert_eq!(how(&scenario.start()), "true");
}

#[test]
fn a_server_without_tls_is_used_unless_tls_is_required() {
    for (mode, expected) in [("prefer", "false"), ("allow", "false"), ("require", "08006")] {
        let world = Scenario::new().set("tls.server_tls_sslmode", mode).start();
        assert_eq!(how(&world), expected, "{mode}");
    }
}

#[test]
fn a_database_can_have_a_mode_of_its_own() {
    let world = scenario("require").set_database("server_tls_sslmode", "disable").start();
    assert_eq!(how(&world), "false");
}

#[test]
fn a_certificate_is_shown_to_postgres() {
    let papers = encrypted().1.client("by_certificate", Age::Current);
    let world = as_role(scenario("require"), "by_certificate")
        .set("tls.server_tls_cert_file", text(&papers.cert))
        .set("tls.server_tls_key_file", text(&papers.key))
        .start();
    assert!(how(&world).contains("CN=by_certificate"), "{}", how(&world));
    let world = as_role(scenario("require"), "by_certificate").start();
    assert_eq!(how(&world), "28000");
}

#[test]
fn servers_move_between_workers_with_their_session() {
    let world = scenario("require").pool_size(1).start();
    let mut clients: Vec<_> = (0..6).map(|_| world.client()).collect();
    let backend = clients[0].backend();
    for round in 0..5 {
        for client in &mut clients {
            let length = 10_000 * round + 1;
            let long = client.value(&format!("SELECT repeat('x', {length})"));
            assert_eq!(long.len(), length);
            assert_eq!(client.backend(), backend);
        }
    }
}

#[test]
fn a_query_is_cancelled_over_tls() {
    let world = as_role(scenario("require"), "only_tls").start();
    let mut client = world.client();
    client.send(&query("SELECT pg_sleep(60)"));
    let cluster = world.cluster();
    wait_for(Duration::from_secs(10), "the query to run", || {
        let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()";
        let count = cluster.superuser("postgres").value(running);
        if count == "1" { Ok(()) } else { Err(count) }
    });
    client.cancel();
    let reply = client.read_readies(1);
    assert_eq!(reply.error().sqlstate, "57014");
}

#[test]
fn changed_trust_renews_the_servers_and_the_same_does_not() {
    let mut world = trusting(scenario("verify-ca"), &encrypted().1).start();
    let mut client = world.client();
    let backend = client.backend();
    world.pooler.reload(|_| {});
    world.pooler.wait_for_log("the configuration is reloaded");
    assert_eq!(client.backend(), backend);
    world.pooler.reload(|config| {
        config.set("tls.server_tls_sslmode", "verify-full");
    });
    wait_for(Duration::from_secs(10), "another server", || {
        let now = client.backend();
        if now == backend { Err(now) } else { Ok(()) }
    });
}

#[test]
fn the_health_check_speaks_tls_too() {
    let world = as_role(scenario("require"), "only_tls")
        .set("server.health_check_interval", "100ms")
        .set("server.server_check_query", "SELECT 1")
        .start();
    world.pooler.wait_for_readiness(200);
    let count = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'pooler health' AND ssl";
    wait_for(Duration::from_secs(10), "the check over TLS", || {
        let seen = world.cluster().superuser("postgres").value(count);
        if seen == "1" { Ok(()) } else { Err(seen) }
    });
}
