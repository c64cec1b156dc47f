//! TLS between clients and the pooler: who must, who may, who is believed.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::support::{
    Age, Authority, Papers, RawClient, Scenario, Signal, World, postgres_program, query,
};

const ALPN: &str = "postgresql";

/// A scenario with this mode and certificate.
fn scenario(mode: &str, papers: &Papers) -> Scenario {
    Scenario::new()
        .set("tls.client_tls_sslmode", mode)
        .set("tls.client_tls_cert_file", text(&papers.cert))
        .set("tls.client_tls_key_file", text(&papers.key))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What psql says when it connects to this host name with these settings.
fn psql(world: &World, host: &str, settings: &str) -> Output {
    let mut psql = Command::new(postgres_program("psql"));
    psql.args(["-X", "-A", "-t", "-c", "SELECT 'let ' || 'in'"]);
    psql.arg("-d").arg(format!(
        "host={host} hostaddr=127.0.0.1 port={} dbname={} user=app {settings}",
        world.pooler.port(),
        world.database
    ));
    psql.env("PGPASSWORD", "app_secret").env_remove("PGSSLMODE").output().unwrap()
}

#[track_caller]
fn let_in(output: &Output) {
    assert!(is_let_in(output), "{}", String::from_utf8_lossy(&output.stderr));
}

fn is_let_in(output: &Output) -> bool {
    output.stdout == b"let in\n"
}

#[track_caller]
fn refused(output: &Output, reason: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!is_let_in(output) && said.contains(reason), "{said}");
}

/// Shakes hands and logs in.
fn log_in(world: &World, config: Arc<ClientConfig>) -> Result<RawClient, String> {
    let login = world.login();
    let mut client = RawClient::connect(&login.address);
    client.start_tls(config, "localhost").map_err(|error| error.to_string())?;
    client.log_in_here(&login).map_err(|error| format!("{} {}", error.sqlstate, error.message))?;
    Ok(client)
}

#[test]
fn every_mode_of_the_pooler_meets_every_mode_of_psql() {
    let authority = Authority::new();
    let papers = authority.local();
    let root = format!("sslrootcert={}", authority.file().display());
    for (mode, speaks_tls, speaks_clear) in [
        ("disable", false, true),
        ("allow", true, true),
        ("prefer", true, true),
        ("require", true, false),
    ] {
        let world = scenario(mode, &papers).start();
        for (asked, accepts_tls, accepts_clear) in [
            ("disable", false, true),
            ("allow", true, true),
            ("prefer", true, true),
            ("require", true, false),
            ("verify-ca", true, false),
            ("verify-full", true, false),
        ] {
            let output = psql(&world, "localhost", &format!("sslmode={asked} {root}"));
            let expected = (speaks_tls && accepts_tls) || (speaks_clear && accepts_clear);
            assert_eq!(is_let_in(&output), expected, "{mode} {asked}: {output:?}");
        }
        if mode == "require" {
            refused(&psql(&world, "localhost", "sslmode=disable"), "TLS is required");
        }
        // There is no TLS on a Unix socket, as in Postgres.
        let mut login = world.login();
        login.address = world.pooler.socket();
        assert_eq!(RawClient::login(&login).value("SELECT 1"), "1");
    }
}

#[test]
fn a_certificate_for_another_host_is_found_out_by_verify_full() {
    let authority = Authority::new();
    let papers = authority.server("other", &["other.example"], Age::Current);
    let world = scenario("require", &papers).start();
    let root = format!("sslrootcert={}", authority.file().display());
    let_in(&psql(&world, "localhost", &format!("sslmode=verify-ca {root}")));
    let_in(&psql(&world, "other.example", &format!("sslmode=verify-full {root}")));
    let output = psql(&world, "localhost", &format!("sslmode=verify-full {root}"));
    refused(&output, "does not match host name");
}

#[test]
fn an_expired_certificate_and_one_of_another_authority_are_found_out() {
    let authority = Authority::new();
    let expired = authority.server("expired", &["localhost"], Age::Expired);
    let world = scenario("require", &expired).start();
    let root = format!("sslrootcert={}", authority.file().display());
    let output = psql(&world, "localhost", &format!("sslmode=verify-ca {root}"));
    refused(&output, "certificate verify failed");
    let_in(&psql(&world, "localhost", "sslmode=require sslrootcert=/nonexistent"));

    let world = scenario("require", &Authority::new().local()).start();
    let output = psql(&world, "localhost", &format!("sslmode=verify-ca {root}"));
    refused(&output, "SSL error");
}

#[test]
fn scram_is_bound_to_the_channel() {
    let authority = Authority::new();
    let world = scenario("prefer", &authority.local()).start();
    let_in(&psql(&world, "localhost", "sslmode=require channel_binding=require"));
    let_in(&psql(&world, "localhost", "sslmode=require channel_binding=disable"));
    let output = psql(&world, "localhost", "sslmode=disable channel_binding=require");
    refused(&output, "channel binding");
}

#[test]
fn client_certificates_are_asked_for_and_looked_at() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (app, other) =
        (authority.client("app", Age::Current), authority.client("other", Age::Current));
    let expired = authority.client("app2", Age::Expired);
    for (mode, other_is_let_in) in [("verify-ca", true), ("verify-full", false)] {
        let scenario = scenario(mode, &authority.local());
        let world = scenario.set("tls.client_tls_ca_file", text(&authority.file())).start();
        let by = |papers: &Papers| {
            let (cert, key) = (papers.cert.display(), papers.key.display());
            psql(&world, "localhost", &format!("sslmode=require sslcert={cert} sslkey={key}"))
        };
        let_in(&by(&app));
        assert_eq!(is_let_in(&by(&other)), other_is_let_in);
        if !other_is_let_in {
            refused(&by(&other), "certificate authentication failed for user \"app\"");
        }
        for bad in [&expired, &stranger.client("app", Age::Current)] {
            assert!(!is_let_in(&by(bad)));
        }
        let without = psql(&world, "localhost", "sslmode=require sslcert=/nonexistent");
        refused(&without, "certificate required");
        assert_eq!(world.pooler.log().matches("TLS handshake").count(), 3);
    }
}

#[test]
fn direct_tls_needs_the_protocols_name() {
    let authority = Authority::new();
    let world = scenario("prefer", &authority.local()).start();
    let login = world.login();
    let mut client = RawClient::connect(&login.address);
    client.start_tls_directly(authority.trusting(&[ALPN], None), "localhost").unwrap();
    client.log_in_here(&login).unwrap();
    assert_eq!(client.value("SELECT 1"), "1");

    let mut nameless = RawClient::connect(&login.address);
    let shaken = nameless.start_tls_directly(authority.trusting(&[], None), "localhost");
    if shaken.is_ok() {
        nameless.send_bytes(&login.startup());
        assert!(nameless.frame().is_none());
    }
    world.pooler.wait_for_log("without the ALPN protocol");
    let mut http = RawClient::connect(&login.address);
    http.start_tls_directly(authority.trusting(&["h2"], None), "localhost").unwrap_err();
    // After a request for TLS, ALPN may be left out, as clients before 17 do.
    assert_eq!(log_in(&world, authority.trusting(&[], None)).unwrap().value("SELECT 1"), "1");
}

#[test]
fn bytes_in_clear_behind_a_request_for_tls_are_refused() {
    let world = scenario("prefer", &Authority::new().local()).start();
    let mut client = RawClient::connect(&world.pooler.address());
    let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
    client.send_bytes(&[&ssl_request[..], &world.login().startup()].concat());
    let error = client.frame().unwrap().error();
    assert_eq!(error.sqlstate, "08P01", "{error:?}");
    assert!(client.frame().is_none());
}

#[test]
fn a_handshake_that_is_none_ends_the_connection_and_nothing_else() {
    let authority = Authority::new();
    let world = scenario("prefer", &authority.local()).start();
    // The last one sends more than is read of it: closing at once would take the alert back.
    let half = &b"\x16\x03\x01\x40\x00junk"[..];
    for (bytes, alert) in
        [(half, false), (b"\x16\x03\x01\x00\x05hello", false), (&[0x16; 70_000], true)]
    {
        let mut client = RawClient::connect(&world.pooler.address());
        client.send_bytes(bytes);
        client.shut_down_sending();
        while client.read_some().unwrap() > 0 {}
        assert_eq!(client.take_received().first() == Some(&0x15), alert);
    }
    assert_eq!(log_in(&world, authority.trusting(&[ALPN], None)).unwrap().value("SELECT 1"), "1");
}

/// All that comes after a request for TLS, up to the end of the connection.
fn answers_to_a_silent_handshake(client: &mut RawClient) -> Vec<u8> {
    while client.read_some().unwrap_or(0) > 0 {}
    client.take_received()
}

#[test]
fn a_handshake_that_is_given_up_is_not_told_so_in_clear() {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    let authority = Authority::new();
    let papers = authority.local();
    let world = scenario("prefer", &papers).set("timeouts.client_login_timeout", "1s").start();
    // Direct TLS begins with half a ClientHello, too.
    let half = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc";
    for (sent, expected) in [(SSL_REQUEST.to_vec(), &b"S"[..]), (half.to_vec(), b"")] {
        let mut client = RawClient::connect(&world.pooler.address());
        client.send_bytes(&sent);
        assert_eq!(answers_to_a_silent_handshake(&mut client), expected);
    }
    world.pooler.wait_for_log("reason=client_login_timeout");

    let mut world = scenario("prefer", &papers).start();
    let mut client = RawClient::connect(&world.pooler.address());
    client.send_bytes(&SSL_REQUEST);
    client.read_some().unwrap();
    world.pooler.signal(Signal::Terminate);
    assert_eq!(answers_to_a_silent_handshake(&mut client), b"S");
    world.pooler.wait_for_exit(Duration::from_secs(10));
    world.skip_rest_check();
}

#[test]
fn only_the_versions_asked_for_are_spoken() {
    let authority = Authority::new();
    let world =
        scenario("require", &authority.local()).set("tls.client_tls_protocols", "tlsv1.3").start();
    let_in(&psql(&world, "localhost", "sslmode=require"));
    let old = psql(&world, "localhost", "sslmode=require ssl_max_protocol_version=TLSv1.2");
    refused(&old, "protocol version");
    let world = scenario("require", &authority.local()).start();
    let_in(&psql(&world, "localhost", "sslmode=require ssl_max_protocol_version=TLSv1.2"));
}

#[test]
fn a_reload_shows_a_new_certificate_and_drops_nobody() {
    let (before, after) = (Authority::new(), Authority::new());
    let (old, new) = (before.local(), after.local());
    let mut world = scenario("require", &old).start();
    let mut early = log_in(&world, before.trusting(&[ALPN], None)).unwrap();
    world.pooler.reload(|config| {
        config.set("tls.client_tls_cert_file", text(&new.cert));
        config.set("tls.client_tls_key_file", text(&new.key));
    });
    world.pooler.wait_for_log("the configuration is reloaded");
    assert_eq!(early.value("SELECT 'still here'"), "still here");
    log_in(&world, before.trusting(&[ALPN], None)).map(drop).unwrap_err();
    let mut late = log_in(&world, after.trusting(&[ALPN], None)).unwrap();
    // A key that is not the certificate's: nothing changes.
    world.pooler.reload(|config| {
        config.set("tls.client_tls_key_file", text(&old.key));
    });
    world.pooler.wait_for_log("the configuration is not reloaded");
    assert_eq!(late.value("SELECT 1"), "1");
    log_in(&world, after.trusting(&[ALPN], None)).unwrap();
}

#[test]
fn bytes_of_any_length_pass_through_unchanged() {
    let authority = Authority::new();
    let world = scenario("require", &authority.local()).start();
    let mut client = log_in(&world, authority.trusting(&[ALPN], None)).unwrap();
    for length in [1, 4_000, 16_383, 16_384, 16_385, 65_535, 65_536, 131_072, 3_000_000] {
        let there = "x".repeat(length);
        let sql = format!("SELECT length('{there}') || ' ' || repeat('y', {length})");
        let back = client.value(&sql);
        assert_eq!(back, format!("{length} {}", "y".repeat(length)));
    }
    // Many small messages at once, in both directions.
    let reply = client.run(&query(&"SELECT 1;".repeat(500)));
    assert!(!reply.has_error() && !reply.closed);
}

#[test]
fn a_client_that_does_not_read_gets_all_of_it_when_it_does() {
    const ROWS: usize = 20_000;
    let authority = Authority::new();
    let world = scenario("require", &authority.local()).start();
    let mut slow = log_in(&world, authority.trusting(&[ALPN], None)).unwrap();
    slow.send(&query(&format!("SELECT repeat('z', 1000) FROM generate_series(1, {ROWS})")));
    // Others are served meanwhile.
    let mut other = log_in(&world, authority.trusting(&[ALPN], None)).unwrap();
    for _ in 0..50 {
        assert_eq!(other.value("SELECT 1"), "1");
    }
    let reply = slow.read_readies(1);
    assert_eq!(reply.frames.iter().filter(|frame| frame.tag == b'D').count(), ROWS);
}

#[test]
fn an_idle_tls_client_costs_little_memory() {
    const CLIENTS: usize = 400;
    /// What is promised, in bytes.
    const MOST_PER_CLIENT: u64 = 24 * 1024;
    let authority = Authority::new();
    let world = scenario("require", &authority.local()).start();
    let config = authority.trusting(&[ALPN], None);
    let connect = || {
        let mut client = log_in(&world, Arc::clone(&config)).unwrap();
        assert_eq!(client.value("SELECT 1"), "1");
        client
    };
    let _first: Vec<_> = (0..50).map(|_| connect()).collect();
    let before = world.pooler.resident();
    let _clients: Vec<_> = (0..CLIENTS).map(|_| connect()).collect();
    let each = world.pooler.resident().saturating_sub(before) / CLIENTS as u64;
    assert!(each <= MOST_PER_CLIENT, "{each} bytes for each idle client");
}
