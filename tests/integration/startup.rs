//! The first packets of a connection: negotiation, limits, garbage, and the parameters they carry.

use crate::support::{Address, Batch, Login, Protocol, RawClient, Scenario, World, query};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSSENC_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

/// Sends bytes as the first of a connection; gives the replies up to its end.
fn first_bytes(address: &Address, bytes: &[u8]) -> String {
    let mut client = RawClient::connect(address);
    client.send_bytes(bytes);
    let reply = client.read_to_end();
    match reply.frames.as_slice() {
        [] => "closed".to_owned(),
        _ => format!("{}, {}", reply.fault(), reply.shape()),
    }
}

/// A startup packet with any version number and body.
fn startup(version: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).unwrap();
    [length.to_be_bytes().as_slice(), &version.to_be_bytes(), body].concat()
}

const REFUSED: &str = "FATAL 08P01, E(08P01) closed";

#[test]
fn encryption_requests_are_answered_no_and_the_login_goes_on() {
    let world = Scenario::new().start();
    let login = world.login();
    let mut client = RawClient::connect(&login.address);
    for request in [GSSENC_REQUEST, SSL_REQUEST] {
        client.send_bytes(&request);
        assert_eq!(client.read_some().unwrap(), 1);
        assert_eq!(client.take_received(), b"N");
    }
    client.send_bytes(&login.startup());
    client.finish_login(&login).unwrap().expect("logged in");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn bytes_behind_an_encryption_request_are_refused() {
    let world = Scenario::new().start();
    let login = world.login();
    let mut client = RawClient::connect(&login.address);
    client.send_bytes(&[SSL_REQUEST.as_slice(), &login.startup()].concat());
    // An `N` may come before the end, a request for authentication must not.
    while client.read_some().unwrap() > 0 {}
    let received = client.take_received();
    assert!(!received.windows(4).any(|bytes| bytes == b"R\0\0\0"), "{received:?}");
}

#[test]
fn encryption_is_not_asked_for_ever() {
    let world = Scenario::new().start();
    let mut client = RawClient::connect(&world.pooler.address());
    for _ in 0..100 {
        client.send_bytes(&SSL_REQUEST);
        if client.read_some().unwrap() == 0 || client.take_received() != b"N" {
            return;
        }
    }
    panic!("a hundred encryption requests were answered");
}

#[test]
fn impossible_lengths_are_refused() {
    let world = Scenario::new().start();
    let address = world.pooler.address();
    for length in [0_u32, 4, 7, 10_001, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
        let bytes = [length.to_be_bytes(), (3_u32 << 16).to_be_bytes()].concat();
        assert_eq!(first_bytes(&address, &bytes), REFUSED, "length {length}");
    }
}

#[test]
fn other_protocols_are_refused_with_one_error() {
    let world = Scenario::new().start();
    for bytes in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2p1\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7f\x03\x03",
        "\r\n\r\n\r\n\r\n",
    ] {
        let address = world.pooler.address();
        assert_eq!(first_bytes(&address, bytes.as_bytes()), REFUSED, "{bytes:?}");
    }
    assert_eq!(world.client().value("SELECT 1"), "1");
}

#[test]
fn startup_packets_that_do_not_parse_are_refused() {
    let world = Scenario::new().start();
    for body in
        [b"user".as_slice(), b"user\0app", b"user\0app\0database\0db\0", b"user\0app\0\0x", b""]
    {
        let bytes = startup(Protocol::V3_0.number(), body);
        assert_eq!(first_bytes(&world.cluster().tcp(), &bytes), REFUSED, "Postgres, {body:?}");
        assert_eq!(first_bytes(&world.pooler.address(), &bytes), REFUSED, "{body:?}");
    }
}

#[test]
fn a_startup_packet_without_a_user_is_refused_as_postgres_does() {
    let world = Scenario::new().start();
    let bytes = startup(Protocol::V3_0.number(), b"database\0postgres\0\0");
    for address in [world.cluster().tcp(), world.pooler.address()] {
        assert_eq!(first_bytes(&address, &bytes), "FATAL 28000, E(28000) closed");
    }
}

#[test]
fn later_major_versions_are_refused_as_postgres_does() {
    let world = Scenario::new().start();
    let bytes = startup(4 << 16, b"user\0app\0\0");
    for address in [world.cluster().tcp(), world.pooler.address()] {
        assert_eq!(first_bytes(&address, &bytes), "FATAL 0A000, E(0A000) closed");
    }
}

#[test]
fn version_2_is_refused() {
    let world = Scenario::new().start();
    let mut client = RawClient::connect(&world.pooler.address());
    client.send_bytes(&startup(2 << 16, b"user\0app\0\0"));
    // Postgres answers in version 2's form, which has no frames.
    while client.read_some().unwrap() > 0 {}
    let received = client.take_received();
    assert_eq!(received.first(), Some(&b'E'), "{received:?}");
}

#[test]
fn newer_minor_versions_and_options_are_negotiated() {
    let world = Scenario::new().start();
    let login = world.login().protocol(Protocol::V3_2).parameter("_pq_.unheard_of", "1");
    let mut client = RawClient::login(&login);
    let answer = client.negotiated.clone().expect("NegotiateProtocolVersion");
    assert!(answer.ends_with(b"\0\0\0\x01_pq_.unheard_of\0"), "{answer:?}");
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn a_client_of_protocol_3_2_gets_a_long_cancel_key_or_is_told_no() {
    let world = Scenario::new().start();
    let client = RawClient::login(&world.login().protocol(Protocol::V3_2));
    let key = client.cancel_key.clone().expect("a cancel key");
    match &client.negotiated {
        None => assert!((5..=256).contains(&key.secret.len()), "{key:?}"),
        Some(answer) => {
            assert_eq!(answer[..4], Protocol::V3_0.number().to_be_bytes());
            assert_eq!(key.secret.len(), 4);
        }
    }
    assert_eq!(world.client().cancel_key.expect("a cancel key").secret.len(), 4);
}

#[test]
fn the_welcome_reports_what_postgres_reports() {
    let world = Scenario::new().start();
    let reported = |login: Login| {
        let mut parameters =
            RawClient::login(&login.parameter("application_name", "shop")).parameters;
        parameters.sort();
        parameters
    };
    let expected = reported(world.direct_login());
    assert!(expected.len() > 10, "{expected:?}");
    assert_eq!(reported(world.login()), expected);
    // The second login is answered from what the first has taught.
    assert_eq!(reported(world.login()), expected);
}

fn show(client: &mut RawClient, name: &str) -> String {
    client.value(&format!("SHOW {name}"))
}

/// The same login at Postgres and through the pooler shows the same values.
#[track_caller]
fn same_settings(world: &World, parameters: &[(&str, &str)], names: &[&str]) {
    let log_in = |mut login: Login| {
        for (name, value) in parameters {
            login = login.parameter(name, value);
        }
        RawClient::login(&login)
    };
    let (mut direct, mut pooled) = (log_in(world.direct_login()), log_in(world.login()));
    for name in names {
        assert_eq!(show(&mut pooled, name), show(&mut direct, name), "{name} of {parameters:?}");
        assert_eq!(pooled.parameter(name), direct.parameter(name), "{name} as reported");
    }
}

#[test]
fn startup_parameters_are_honoured() {
    let world = Scenario::new().start();
    let cases: &[&[(&str, &str)]] = &[
        &[("application_name", "shop"), ("client_encoding", "LATIN1")],
        &[("DateStyle", "German, DMY"), ("TimeZone", "Asia/Tokyo")],
        &[("extra_float_digits", "0"), ("search_path", "shop, public"), ("work_mem", "8MB")],
        &[("statement_timeout", "12345"), ("IntervalStyle", "iso_8601")],
    ];
    for parameters in cases {
        let names: Vec<_> = parameters.iter().map(|(name, _)| *name).collect();
        same_settings(&world, parameters, &names);
    }
}

#[test]
fn startup_options_are_honoured() {
    let world = Scenario::new().start();
    for options in [
        "-c work_mem=8MB -csearch_path=shop",
        "--work-mem=8MB --search_path=shop",
        r"-c application_name=a\ b\\c  -c work_mem=8MB",
        "-c search_path=one -c search_path=two",
    ] {
        let names = ["search_path", "work_mem", "application_name"];
        same_settings(&world, &[("options", options)], &names);
    }
}

#[test]
fn each_client_keeps_its_own_startup_parameters_on_a_shared_server() {
    let world = Scenario::new().pool_size(1).start();
    let zones = ["Asia/Tokyo", "Europe/Berlin", "UTC"];
    let log_in = |zone: &&str| {
        let login = world.login().parameter("TimeZone", zone).parameter("application_name", zone);
        RawClient::login(&login.parameter("options", &format!("-c search_path={}", &zone[..2])))
    };
    let mut clients: Vec<_> = zones.iter().map(log_in).collect();
    for _ in 0..3 {
        for (client, zone) in clients.iter_mut().zip(zones) {
            assert_eq!(show(client, "TimeZone"), zone);
            assert_eq!(show(client, "application_name"), zone);
            assert_eq!(show(client, "search_path"), zone[..2]);
        }
    }
    let mut plain = world.client();
    let mut direct = world.direct();
    for name in ["TimeZone", "application_name", "search_path"] {
        assert_eq!(show(&mut plain, name), show(&mut direct, name), "{name} was left behind");
    }
    assert_eq!(world.backends().len(), 1);
}

#[test]
fn a_startup_parameter_that_postgres_refuses_hurts_its_client_only() {
    let world = Scenario::new().pool_size(1).start();
    for (name, value, sqlstate) in
        [("work_mem", "much", "22023"), ("no_such_setting", "1", "42704")]
    {
        // Refused at the login, as Postgres does, or with the first query.
        let error = match RawClient::try_login(&world.login().parameter(name, value)) {
            Err(error) => error,
            Ok(mut client) => client.run(&query("SELECT 1")).error(),
        };
        assert_eq!(error.sqlstate, sqlstate, "{error:?}");
        assert_eq!(world.client().value("SELECT 1"), "1");
    }
}

#[test]
fn a_login_may_come_byte_by_byte() {
    let world = Scenario::new().start();
    let login = world.login().parameter("application_name", "slow");
    let bytes = login.startup();
    for cut in 1..bytes.len() {
        let mut client = RawClient::connect(&login.address);
        client.send_pieces([&bytes[..cut], &bytes[cut..]]);
        assert_eq!(client.frame().unwrap().tag, b'R', "cut at {cut}");
    }
    let mut client = RawClient::connect(&login.address);
    client.send_pieces(bytes.chunks(1));
    client.finish_login(&login).unwrap().expect("logged in");
    assert_eq!(show(&mut client, "application_name"), "slow");
}

#[test]
fn password_messages_have_a_limit() {
    let world = Scenario::new().start();
    let login = world.login();
    for (tag, length) in [(b'p', 1_000_000_i32), (b'p', -1), (b'p', 3), (b'Q', 10)] {
        let mut client = RawClient::connect(&login.address);
        client.send_bytes(&login.startup());
        assert_eq!(client.frame().unwrap().tag, b'R');
        client.send_bytes(&[vec![tag], length.to_be_bytes().to_vec(), vec![0; 6]].concat());
        let reply = client.read_to_end();
        assert_eq!(reply.fault(), "FATAL 08P01", "{tag} {length}");
    }
}

#[test]
fn a_query_before_the_login_is_over_is_refused() {
    let world = Scenario::new().start();
    let login = world.login();
    let mut client = RawClient::connect(&login.address);
    client.send_bytes(&[login.startup(), query("SELECT 1").bytes].concat());
    let reply = client.read_to_end();
    assert!(reply.frames.iter().all(|frame| b"RE".contains(&frame.tag)), "{}", reply.shape());
    assert_eq!(reply.fault(), "FATAL 08P01");
}

#[test]
fn nonsense_after_the_login_ends_that_session_only() {
    let world = Scenario::new().start();
    let mut bystander = world.client();
    for (tag, body) in [(b'?', vec![]), (b'1', vec![0])] {
        let mut client = world.client();
        let reply =
            client.run(&Batch::new().frame(tag, &body).then(Batch { readies: 1, ..query("") }));
        assert_eq!(reply.fault(), "FATAL 08P01", "{}: {}", char::from(tag), reply.shape());
        assert!(client.read_to_end().closed);
        assert_eq!(bystander.value("SELECT 1"), "1");
    }
    let mut client = world.client();
    client.send_bytes(b"Q\xff\xff\xff\xff");
    assert_eq!(client.read_to_end().fault(), "FATAL 08P01");
}
