//! TLS with Postgres at once (`server_tls_negotiation = "direct"`): before a front that ends TLS as PostgreSQL 17 does, and before
//! Postgres itself where it is new enough.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio_rustls::TlsAcceptor;

use crate::support::{Authority, Postgres, RawClient, Scenario, World, encrypted, query};

/// The first version that understands it.
const FIRST_VERSION: u32 = 170_000;

/// The port of a front that ends TLS that begins at once, agrees on the protocol as `alpn` says, and goes on to Postgres in
/// clear. It lasts as long as the tests.
fn front(authority: &Authority, alpn: Option<&str>) -> u16 {
    let mut config = (*authority.local().serving()).clone();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let postgres = SocketAddr::from(([127, 0, 0, 1], Postgres::shared().port()));
    std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut session = acceptor.accept(socket).await?;
                    let mut behind = TcpStream::connect(postgres).await?;
                    copy_bidirectional(&mut session, &mut behind).await
                });
            }
        });
    });
    port
}

fn scenario(authority: &Authority, front: u16) -> Scenario {
    Scenario::new()
        .set("tls.server_tls_sslmode", "verify-full")
        .set("tls.server_tls_negotiation", "direct")
        .set("tls.server_tls_ca_file", authority.file().to_str().unwrap())
        .set_database("port", i64::from(front))
}

fn refusal(world: &World) -> String {
    RawClient::try_login(&world.login()).map(drop).unwrap_err().sqlstate
}

#[test]
fn tls_begins_without_a_question_and_so_do_cancel_requests() {
    let authority = Authority::new();
    let front = front(&authority, Some("postgresql"));
    let world = scenario(&authority, front).start();
    let mut client = world.client();
    assert_eq!(client.value("SELECT current_user"), "app");
    client.send(&query("SELECT pg_sleep(60)"));
    world.wait_for_query("pg_sleep(60)");
    client.cancel();
    assert_eq!(client.read_readies(1).error().sqlstate, "57014");
}

#[test]
fn questions_of_our_own_begin_so_too() {
    let authority = Authority::new();
    let front = front(&authority, Some("postgresql"));
    let world = scenario(&authority, front)
        .set_database("user", "app")
        .set_database("password", "app_secret")
        .set("server.health_check_interval", "100ms")
        .set("server.server_check_query", "SELECT 1")
        .start();
    world.pooler.wait_for_readiness(200);
}

#[test]
fn who_does_not_name_the_protocol_is_not_believed() {
    let authority = Authority::new();
    let front = front(&authority, None);
    let world = scenario(&authority, front).start();
    assert_eq!(refusal(&world), "08006");
    world.pooler.wait_for_log("did not agree on the ALPN protocol");
}

#[test]
fn postgres_understands_it_from_version_17_on() {
    let world = Scenario::encrypted()
        .set("tls.server_tls_sslmode", "require")
        .set("tls.server_tls_negotiation", "direct")
        .start();
    let version = encrypted().0.superuser("postgres").value("SHOW server_version_num");
    if version.parse::<u32>().unwrap() >= FIRST_VERSION {
        let tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        assert_eq!(world.client().value(tls), "t");
    } else {
        assert_eq!(refusal(&world), "08006");
    }
}

#[test]
fn a_database_may_begin_otherwise_than_the_others() {
    let world = Scenario::encrypted()
        .set("tls.server_tls_sslmode", "require")
        .set("tls.server_tls_negotiation", "direct")
        .set_database("server_tls_negotiation", "postgres")
        .start();
    let tls = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    assert_eq!(world.client().value(tls), "t");
}
