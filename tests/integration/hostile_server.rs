//! A server that breaks the protocol: its client hears an error, the pooler and everyone else go on.

use std::time::{Duration, Instant};

use crate::support::{
    FakeServer, FakeSession, Login, RawClient, Scenario, ServerError, World, query, wait_for,
};

/// Nothing here is worth waiting for.
const SOON: Duration = Duration::from_secs(8);

fn world(server: &FakeServer) -> World {
    let scenario = Scenario::new().foreign_database("fake", server.port()).pool_size(1);
    // Probes are connections too, and would take the part of the first.
    let scenario = scenario.set("server.health_check_interval", "0");
    scenario.set("server.server_connect_timeout", "3s").start()
}

/// The first connection behaves as told after a good login, the others well.
fn after_login(misbehave: impl Fn(&mut FakeSession) + Send + Sync + 'static) -> FakeServer {
    FakeServer::start(move |number, session| {
        session.welcome();
        match number {
            0 => misbehave(session),
            _ => session.echo(),
        }
    })
}

/// As told to the login of its first and every other connection.
fn at_login(misbehave: impl Fn(&mut FakeSession) + Send + Sync + 'static) -> FakeServer {
    FakeServer::start(move |_, session| {
        session.startup();
        misbehave(session);
    })
}

/// The client of the misbehaving server hears an error in time; others do not notice.
#[track_caller]
fn refused(server: &FakeServer) -> ServerError {
    let world = world(server);
    let start = Instant::now();
    let login = world.login().database("fake");
    let error = RawClient::try_login(&login).map(drop).expect_err("such a server is no use");
    assert!(start.elapsed() < SOON, "told after {:?}", start.elapsed());
    assert_eq!(error.severity, "FATAL", "{error:?}");
    assert_eq!(world.client().value("SELECT 1"), "1");
    error
}

/// A query meets the misbehaviour: an error, and then a new server for the next.
#[track_caller]
fn broken_off(server: &FakeServer) {
    let world = world(server);
    let login = world.login().database("fake");
    let mut client = RawClient::login(&login);
    let start = Instant::now();
    let reply = client.run(&query("hello"));
    assert!(start.elapsed() < SOON, "told after {:?}", start.elapsed());
    assert!(reply.error().sqlstate.starts_with("08"), "{:?}", reply.error());
    next_is_served(&world, &login, server);
}

/// By a new server.
#[track_caller]
fn next_is_served(world: &World, login: &Login, server: &FakeServer) {
    assert_eq!(RawClient::login(login).value("next"), "next");
    assert_eq!(server.accepted(), 2);
    assert_eq!(world.client().value("SELECT 1"), "1");
}

#[test]
fn a_length_below_four_breaks_it_off() {
    broken_off(&after_login(|session| {
        session.frame();
        session.send_bytes(b"D\0\0\0\x03");
        session.echo();
    }));
}

#[test]
fn a_negative_length_breaks_it_off() {
    broken_off(&after_login(|session| {
        session.frame();
        session.send_bytes(b"D\xff\xff\xff\xff");
        session.echo();
    }));
}

#[test]
fn an_unknown_message_breaks_it_off() {
    broken_off(&after_login(|session| {
        session.frame();
        session.send(b'?', b"what");
        session.echo();
    }));
}

#[test]
fn an_end_inside_a_message_breaks_it_off() {
    let server = after_login(|session| {
        session.frame();
        session.send_bytes(b"D\0\0\x10\0half");
    });
    let world = world(&server);
    let login = world.login().database("fake");
    let mut client = RawClient::login(&login);
    client.send(&query("hello"));
    // What has come was passed on, perhaps; then there is no place for an error any more, only an end.
    while client.read_some().expect("an end in time") > 0 {}
    next_is_served(&world, &login, &server);
}

#[test]
fn an_authentication_request_after_the_login_breaks_it_off() {
    broken_off(&after_login(|session| {
        session.frame();
        session.send(b'R', &[0, 0, 0, 3]);
        session.echo();
    }));
}

#[test]
fn an_error_without_a_code_is_passed_on_or_named() {
    let server = after_login(|session| {
        session.frame();
        session.send(b'E', b"Mno code\0\0");
        session.ready();
        session.echo();
    });
    let world = world(&server);
    let mut client = RawClient::login(&world.login().database("fake"));
    let reply = client.run(&query("hello"));
    assert!(reply.has_error(), "{}", reply.shape());
    assert_eq!(world.client().value("SELECT 1"), "1");
}

#[test]
fn what_an_idle_server_says_reaches_no_client() {
    let server = after_login(|session| {
        session.frame();
        session.row("first");
        session.ready();
        session.row("unasked");
        session.ready();
        session.echo();
    });
    let world = world(&server);
    let login = world.login().database("fake");
    let mut client = RawClient::login(&login);
    assert_eq!(client.value("first"), "first");
    for round in 0..5 {
        let text = format!("round {round}");
        assert_eq!(RawClient::login(&login).value(&text), text);
        assert_eq!(client.value(&text), text);
    }
}

#[test]
fn an_answer_too_many_reaches_no_client() {
    let server = after_login(|session| {
        session.frame();
        session.row("first");
        session.send_bytes(b"Z\0\0\0\x05IZ\0\0\0\x05I");
        session.echo();
    });
    let world = world(&server);
    let mut client = RawClient::login(&world.login().database("fake"));
    assert_eq!(client.value("first"), "first");
    for round in 0..5 {
        let text = format!("round {round}");
        assert_eq!(client.value(&text), text);
    }
}

#[test]
fn a_nonce_that_does_not_extend_ours_is_refused() {
    let error = refused(&at_login(|session| {
        session.send(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        session.frame();
        session.send(b'R', b"\0\0\0\x0br=some,s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096");
        session.frame();
        session.send(b'R', &[0; 4]);
    }));
    assert!(!error.message.contains("app_secret"), "{error:?}");
}

#[test]
fn a_login_without_the_proof_that_scram_owes_is_refused() {
    refused(&at_login(|session| {
        session.send(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        let first = session.frame().map(|frame| String::from_utf8_lossy(&frame.body).into_owned());
        let first = first.unwrap_or_default();
        let nonce = first.rsplit("r=").next().unwrap();
        let answer = format!("r={nonce}more,s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096");
        session.send(b'R', &[b"\0\0\0\x0b".as_slice(), answer.as_bytes()].concat());
        session.frame();
        // "You are in", without a word about who says so.
        session.send(b'R', &[0; 4]);
        session.ready();
        session.echo();
    }));
}

#[test]
fn an_endless_key_derivation_is_refused() {
    refused(&at_login(|session| {
        session.send(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
        let first = session.frame().map(|frame| String::from_utf8_lossy(&frame.body).into_owned());
        let first = first.unwrap_or_default();
        let nonce = first.rsplit("r=").next().unwrap();
        let answer = format!("r={nonce}more,s=c2FsdHNhbHRzYWx0c2FsdA==,i=2000000000");
        session.send(b'R', &[b"\0\0\0\x0b".as_slice(), answer.as_bytes()].concat());
        session.frame();
    }));
}

#[test]
fn an_unknown_method_of_authentication_is_refused() {
    refused(&at_login(|session| {
        session.send(b'R', &[0, 0, 0, 7]);
        session.frame();
    }));
}

#[test]
fn what_is_no_postgres_at_all_is_refused() {
    refused(&at_login(|session| {
        session.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    }));
    refused(&at_login(|_| {}));
}

#[test]
fn a_parameter_of_a_hundred_megabytes_is_refused() {
    refused(&at_login(|session| {
        session.send(b'R', &[0; 4]);
        session.send_bytes(b"S\x06\x40\0\0");
        let piece = vec![b'x'; 1 << 20];
        while session.send_bytes(&piece) {}
    }));
}

#[test]
fn rows_without_end_end_with_their_client() {
    let server = after_login(|session| {
        session.frame();
        let rows = b"D\0\0\0\x0b\0\x01\0\0\0\x01x".repeat(1000);
        while session.send_bytes(&rows) {}
    });
    let world = world(&server);
    let mut client = RawClient::login(&world.login().database("fake"));
    client.send(&query("hello"));
    assert_eq!(client.read_tag('D').shape(), "D(x)");
    // It does not listen to a cancel either; the server is given up in the end.
    client.kill();
    let start = Instant::now();
    assert_eq!(world.client().value("SELECT 1"), "1");
    assert!(start.elapsed() < SOON);
    assert_eq!(RawClient::login(&world.login().database("fake")).value("next"), "next");
}

#[test]
fn what_a_server_that_is_out_of_step_runs_is_cancelled() {
    let server = after_login(|session| {
        let _query = session.frame();
        // The answer to another question.
        session.send(b'1', &[]);
        session.echo();
    });
    broken_off(&server);
    wait_for(SOON, "a cancel request", || match server.cancelled() {
        1 => Ok(()),
        count => Err(count.to_string()),
    });
}

#[test]
fn a_server_that_cannot_be_cleaned_in_time_is_cancelled_and_closed() {
    const CLEAN_LIMIT: Duration = Duration::from_secs(10);
    let server = after_login(|session| {
        let _query = session.frame();
        session.send(b'C', b"BEGIN\0");
        session.send(b'Z', b"T");
        // ROLLBACK is not answered.
        while session.frame().is_some() {}
    });
    let world = world(&server);
    let login = world.login().database("fake");
    let mut client = RawClient::login(&login);
    client.query("BEGIN");
    client.kill();
    wait_for(CLEAN_LIMIT + SOON, "a cancel request", || match server.cancelled() {
        1 => Ok(()),
        count => Err(count.to_string()),
    });
    assert_eq!(RawClient::login(&login).value("next"), "next");
}
