//! A server that does not take its client's settings, or back: who hears of it, and who goes on.

use crate::support::{FakeServer, FakeSession, RawClient, Scenario, World, query};

/// What the pooler says to give a server settings, and to ask which it has.
const GIVES: &str = "set_config";
const ASKS: &str = "current_setting";

fn error(session: &mut FakeSession, code: &str) {
    session.send(b'E', format!("SERROR\0VERROR\0C{code}\0Mno\0\0").as_bytes());
    session.ready();
}

/// The answer to the question for one setting.
fn tell(session: &mut FakeSession, value: &str) {
    let column = |text: &str| {
        let length = u32::try_from(text.len()).unwrap().to_be_bytes();
        [length.as_slice(), text.as_bytes()].concat()
    };
    let row = [&[0, 3], &*column("s"), &*column("work_mem"), &*column(value)].concat();
    session.send(b'D', &row);
    session.send(b'C', b"SELECT 1\0");
    session.ready();
}

/// Answers with the text, but for the settings that it is to be given: each time with the next of these codes, and well
/// from then on (`ok`: well this time). A `RESET` leaves nothing behind.
fn server(codes: &'static [&'static str]) -> FakeServer {
    FakeServer::start(move |number, session| {
        session.welcome();
        let mut codes = codes.iter().skip(if number == 0 { 0 } else { codes.len() });
        let mut value = "4MB".to_owned();
        while let Some(frame) = session.frame() {
            let text = if frame.tag == b'Q' { frame.text() } else { String::new() };
            match frame.tag {
                b'Q' if text.contains(GIVES) => match codes.next() {
                    Some(&code) if code != "ok" => error(session, code),
                    Some(_) | None => {
                        session.send(b'C', b"SELECT 1\0");
                        session.ready();
                    }
                },
                b'Q' if text.contains(ASKS) => tell(session, &value),
                b'Q' => {
                    if text.starts_with("SET work_mem") {
                        value = text.split('\'').nth(1).unwrap().to_owned();
                    } else if text.starts_with("RESET") {
                        "4MB".clone_into(&mut value);
                    }
                    session.row(&text);
                    session.ready();
                }
                b'X' => return,
                _ => {}
            }
        }
    })
}

fn world(server: &FakeServer) -> World {
    let scenario = Scenario::new().foreign_database("fake", server.port()).pool_size(1);
    scenario.set("server.health_check_interval", "0").set("server.function_check", "0").start()
}

/// One that has set this, and was served by a server that has it no more.
fn with_setting(world: &World, value: &str) -> RawClient {
    let (mut client, mut other) = (plain(world), plain(world));
    client.query(&format!("SET work_mem = '{value}'"));
    other.query("between");
    client
}

fn plain(world: &World) -> RawClient {
    RawClient::login(&world.login().database("fake"))
}

#[test]
fn who_is_cancelled_while_settings_go_ahead_hears_it_and_goes_on() {
    let server = server(&["57014"]);
    let world = world(&server);
    let mut client = with_setting(&world, "7MB");
    assert_eq!(client.run(&query("one")).shape(), "E(57014) Z(I)");
    assert_eq!(client.value("two"), "two");
    assert_eq!(server.accepted(), 1);
}

#[test]
fn what_a_fresh_server_refuses_its_client_hears_each_time() {
    let server = server(&["42501", "42501"]);
    let world = world(&server);
    let mut client = with_setting(&world, "7MB");
    for text in ["one", "two"] {
        assert_eq!(client.run(&query(text)).fault(), "ERROR 42501");
    }
    assert_eq!(client.value("three"), "three");
    assert_eq!(server.accepted(), 1);
}

/// What another client left cannot be taken back one by one: all of it is, and nobody hears of it.
#[test]
fn what_another_client_left_is_nobodys_error() {
    for code in ["57014", "22023"] {
        let codes: &'static [_] = if code == "57014" { &["ok", "57014"] } else { &["ok", "22023"] };
        let server = server(codes);
        let world = world(&server);
        let (mut one, mut two) = (with_setting(&world, "7MB"), with_setting(&world, "8MB"));
        assert_eq!(one.value("one"), "one");
        assert_eq!(two.value("two"), "two", "{code}");
        assert_eq!(one.value("three"), "three", "{code}");
    }
}

/// A name that a function has prepared unseen: that server is no good to anybody.
#[test]
fn a_server_with_a_name_that_is_taken_is_closed() {
    let server = server(&["42P05"]);
    let world = world(&server);
    let mut client = with_setting(&world, "7MB");
    assert_eq!(client.value("one"), "one");
    assert_eq!(server.accepted(), 2);
}

/// Settings that are given back behind a transaction: a cancel there is nobody's, anything else the end.
#[test]
fn settings_that_cannot_be_given_back() {
    // Once at the login, once right behind what resets, then behind the transaction.
    for (codes, next) in [(&["ok", "ok", "57014"], Some("next")), (&["ok", "ok", "42501"], None)] {
        let server = server(codes);
        let world = world(&server);
        let mut client =
            RawClient::login(&world.login().database("fake").parameter("work_mem", "7MB"));
        assert_eq!(client.value("RESET work_mem"), "RESET work_mem");
        let reply = client.run(&query("next"));
        match next {
            Some(next) => assert_eq!(reply.value(), next),
            None => assert!(reply.closed, "{}", reply.shape()),
        }
        assert_eq!(plain(&world).value("other"), "other");
    }
}
