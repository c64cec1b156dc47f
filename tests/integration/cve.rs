//! The published faults of other poolers, by their numbers: what each was, and that it is not here.

use std::time::{Duration, Instant};

use crate::support::{
    Authority, Batch, FakeServer, FakeSession, Login, RawClient, Scenario, World, query,
};

const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What a hostile login may take of memory, and what the allocator may keep of it.
const BREATH: u64 = 16 << 20;

/// A question whose table the `search_path` chooses.
const UNQUALIFIED: &str = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1";

/// Everybody else is served as before.
#[track_caller]
fn serves(world: &World) {
    assert_eq!(world.client().value("SELECT 1"), "1");
}

/// A pooler with a database on a server that speaks as told.
fn before(server: &FakeServer) -> World {
    let scenario = Scenario::new().foreign_database("fake", server.port()).pool_size(1);
    scenario.set("server.server_connect_timeout", "3s").start()
}

/// Logs in at the database on that server, in vain.
#[track_caller]
fn refused(world: &World) -> (String, String) {
    let error = RawClient::try_login(&world.login().database("fake")).map(drop);
    let error = error.expect_err("such a server is no use");
    (error.severity, error.sqlstate)
}

/// A connection that has been asked for SCRAM.
fn asked(login: &Login) -> RawClient {
    let mut client = RawClient::connect(&login.address);
    client.send_bytes(&login.startup());
    assert_eq!(client.frame().unwrap().tag, b'R');
    client
}

/// PgBouncer before 1.25.2: the length of the SASL data in a client's first SCRAM message overflowed.
#[test]
fn cve_2026_6664_a_length_in_the_first_scram_message_overflows() {
    let world = Scenario::new().start();
    let login = world.login();
    let before = world.pooler.resident();
    for length in [0x7fff_ffff_u32, 0x8000_0000, 0xffff_fffe, 0xffff_fffb, 1_000_000, 0, 7] {
        let mut client = asked(&login);
        let body = [b"SCRAM-SHA-256\0".as_slice(), &length.to_be_bytes(), b"n,,n=,r=abc"].concat();
        client.send(&Batch::new().frame(b'p', &body));
        let reply = client.read_to_end();
        assert_eq!(reply.fault(), "FATAL 08P01", "{length:#x}");
    }
    // The same in the header, and a message that stops short of what it says.
    for header in [[b'p', 0x7f, 0xff, 0xff, 0xff], [b'p', 0xff, 0xff, 0xff, 0xff]] {
        let mut client = asked(&login);
        client.send_bytes(&header);
        assert_eq!(client.read_to_end().fault(), "FATAL 08P01", "{header:?}");
    }
    assert!(world.pooler.resident() < before + BREATH);
    serves(&world);
}

/// PgBouncer before 1.25.2: a server's long nonce overflowed the buffer of the answer.
#[test]
fn cve_2026_6665_the_nonce_of_a_server_overflows() {
    for length in [1_000, 60_000, 1_000_000] {
        let server = FakeServer::start(move |_, session: &mut FakeSession| {
            session.startup();
            session.send(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
            let first =
                session.frame().map(|frame| String::from_utf8_lossy(&frame.body).into_owned());
            let first = first.unwrap_or_default();
            let nonce = first.rsplit("r=").next().unwrap();
            let more = "n".repeat(length);
            let challenge = format!("\0\0\0\x0br={nonce}{more},s=c2FsdHNhbHRzYWx0c2FsdA==,i=4096");
            session.send(b'R', challenge.as_bytes());
            session.frame();
        });
        let world = before(&server);
        assert_eq!(refused(&world).0, "FATAL", "{length} bytes");
        serves(&world);
    }
}

/// PgBouncer before 1.25.2: an error without SQLSTATE was a crash.
#[test]
fn cve_2026_6666_an_error_without_sqlstate_crashes() {
    let bodies: [&[u8]; 6] =
        [b"", b"\0", b"SERROR\0Mno code\0\0", b"SFATAL\0VFATAL\0\0", b"C\0\0", b"SFATAL\0C"];
    for body in bodies {
        let at_login = FakeServer::start(move |_, session: &mut FakeSession| {
            session.startup();
            session.send(b'E', body);
        });
        let world = before(&at_login);
        assert_eq!(refused(&world).0, "FATAL", "{body:?}");
        serves(&world);
        let in_query = FakeServer::start(move |_, session: &mut FakeSession| {
            session.welcome();
            session.frame();
            session.send(b'E', body);
            session.ready();
            session.echo();
        });
        let world = before(&in_query);
        let mut client = RawClient::login(&world.login().database("fake"));
        let reply = client.run(&query("hello"));
        assert!(reply.has_error(), "{body:?}: {}", reply.shape());
        serves(&world);
    }
}

/// PgBouncer before 1.25.2: `KILL_CLIENT` did not ask who says so.
#[test]
fn cve_2026_6667_an_administrators_command_is_anybodys() {
    let world = Scenario::new().start();
    let mut client = world.client();
    let other = world.client();
    for command in ["KILL_CLIENT 1", "KILL_CLIENT 2", "SHUTDOWN", "KILL", "PAUSE", "RELOAD"] {
        assert_eq!(
            client.run(&query(command)).error().sqlstate,
            "42601",
            "{command}: Postgres' word"
        );
    }
    // The console's databases are no databases for who is no administrator.
    for name in ["pgbouncer", "pooler"] {
        let error = RawClient::try_login(&world.login().database(name)).map(drop).unwrap_err();
        assert_eq!(error.severity, "FATAL", "{name}: {error:?}");
    }
    // A page that shows changes nothing, whatever the method is called.
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        for path in ["/clients", "/servers", "/pools", "/databases", "/"] {
            let request =
                format!("{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(world.pooler.admin().send(&request).status, 405, "{method} {path}");
        }
    }
    for mut client in [client, other] {
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

/// PgBouncer before 1.26.0, and before 1.26.1 in another buffer: room for a message of over 2 GiB was looked for without
/// end, before the login and after it.
#[test]
fn cve_2026_6668_and_107348_a_huge_length_is_looked_for_without_end() {
    let world = Scenario::new().start();
    let before = world.pooler.resident();
    for length in [0x7fff_ffff_u32, 0x8000_0000, 0x8000_0001, 0xffff_ffff] {
        for tag in *b"pQBPd" {
            let header = [&[tag][..], &length.to_be_bytes()].concat();
            for mut client in [asked(&world.login()), world.client()] {
                client.send_bytes(&header);
                let reply = client.read_to_end();
                assert_eq!(reply.fault(), "FATAL 08P01", "{} {length:#x}", char::from(tag));
            }
        }
    }
    assert!(world.pooler.resident() < before + BREATH);
    serves(&world);
}

/// PgBouncer before 1.26.0: a server's count of SCRAM iterations kept every client waiting.
#[test]
fn cve_2026_6669_the_iterations_of_a_server_keep_everybody_waiting() {
    for iterations in [1_000_000_u64, 2_147_483_647, 99_999_999_999] {
        let server = FakeServer::start(move |_, session: &mut FakeSession| {
            session.startup();
            session.send(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
            let first = session.frame();
            let first = first.map(|frame| String::from_utf8_lossy(&frame.body).into_owned());
            let first = first.unwrap_or_default();
            let nonce = first.rsplit("r=").next().unwrap();
            let salt = "c2FsdHNhbHRzYWx0c2FsdA==";
            let challenge = format!("\0\0\0\x0br={nonce}more,s={salt},i={iterations}");
            session.send(b'R', challenge.as_bytes());
            session.frame();
        });
        let world = before(&server);
        let mut other = world.client();
        let mut victim = RawClient::connect(&world.login().address);
        let login = world.login().database("fake");
        let trying = std::thread::spawn(move || {
            victim.send_bytes(&login.startup());
            victim.finish_login(&login).map(|_| ())
        });
        let start = Instant::now();
        let mut slowest = Duration::ZERO;
        while !trying.is_finished() {
            let began = Instant::now();
            assert_eq!(other.value("SELECT 1"), "1");
            slowest = slowest.max(began.elapsed());
        }
        assert!(
            slowest < Duration::from_secs(1),
            "{iterations}: another client waited {slowest:?}"
        );
        assert!(start.elapsed() < Duration::from_secs(15), "{iterations}: {:?}", start.elapsed());
        assert!(trying.join().unwrap().is_err());
    }
}

/// PgBouncer before 1.26.1: a second startup packet within the exchange of passwords changed who logs in.
#[test]
fn cve_2026_107350_a_second_startup_packet_changes_the_user() {
    let world = Scenario::new().start();
    for database in [world.database.as_str(), "there_is_none"] {
        let mine = world.login().database(database);
        let others = world.login().user("other", "no matter");
        // At once, and after the pooler has asked for the password.
        let mut client = RawClient::connect(&mine.address);
        client.send_bytes(&[mine.startup(), others.startup()].concat());
        let error = client.finish_login(&mine).expect_err("that is no password");
        assert_eq!(error.severity, "FATAL", "{database}: {error:?}");
        let mut client = asked(&mine);
        client.send_bytes(&others.startup());
        let reply = client.read_to_end();
        assert_eq!(reply.fault(), "FATAL 08P01", "{database}");
        assert!(!reply.frames.iter().any(|frame| b"RZK".contains(&frame.tag)), "{}", reply.shape());
    }
    serves(&world);
}

/// PgBouncer before 1.26.1: an option without a name was looked for without end.
#[test]
fn cve_2026_107349_an_option_without_a_name_is_looked_for_without_end() {
    let world = Scenario::new().start();
    for options in ["-c=", "-c =", "--=", "-c=x", "--=x -c a=b", "-c"] {
        let login = world.login().parameter("options", options);
        let error = RawClient::try_login(&login).map(drop).expect_err("that is no option");
        assert_eq!(error.severity, "FATAL", "{options}: {error:?}");
    }
    serves(&world);
}

/// A pooler that asks Postgres for users by the given query, or the default one, as a superuser.
fn asking(question: Option<&str>) -> Scenario {
    let scenario = Scenario::new().without("users.app").without("users.other");
    let asker = format!("asker_{}", scenario.database());
    let mut postgres = scenario.cluster().superuser("postgres");
    postgres.query(&format!("DROP ROLE IF EXISTS {asker}"));
    postgres.query(&format!("CREATE ROLE {asker} SUPERUSER LOGIN PASSWORD 'asker_secret'"));
    let scenario = scenario
        .set("auth.auth_user", asker.as_str())
        .set(&format!("users.{asker}.password"), "asker_secret");
    match question {
        Some(question) => scenario.set("auth.auth_query", question),
        None => scenario,
    }
}

/// PgBouncer before 1.25.1: the `search_path` of a client that was not let in yet was the one of `auth_query`.
#[test]
fn cve_2025_12819_a_clients_search_path_is_that_of_auth_query() {
    let world = asking(Some(UNQUALIFIED)).start();
    let mut postgres = world.cluster().superuser(&world.database);
    postgres.query("CREATE SCHEMA trap");
    postgres.query(
        "CREATE TABLE trap.pg_authid AS SELECT 'app'::name rolname, 'mine'::text rolpassword",
    );
    postgres.query("GRANT ALL ON SCHEMA trap TO PUBLIC");
    postgres.query("GRANT ALL ON trap.pg_authid TO PUBLIC");
    let path = "trap,pg_catalog";
    for (name, value) in [("search_path", path), ("options", "-c search_path=trap,pg_catalog")] {
        // The trap works for who steps into it.
        let direct = world.direct_login().parameter(name, value);
        let shown = RawClient::login(&direct).value("SELECT rolpassword FROM pg_authid");
        assert_eq!(shown, "mine");
        let login = world.login().user("app", "mine").parameter(name, value);
        let error = RawClient::try_login(&login).map(drop).expect_err("the trap is set in vain");
        assert_eq!(error.sqlstate, "28P01", "{name}");
        let login = world.login().parameter(name, value);
        assert_eq!(RawClient::login(&login).value("SHOW search_path"), path);
    }
}

/// PgBouncer before 1.24.1: the default `auth_query` let in by passwords that had run out.
#[test]
fn cve_2025_2291_the_default_auth_query_ignores_valid_until() {
    let scenario = asking(None);
    let roles = ["run_out_by_default", "valid_by_default"];
    let mut postgres = scenario.cluster().superuser("postgres");
    for (role, until) in roles.iter().zip(["2020-01-01", "2999-01-01"]) {
        postgres.query(&format!("DROP ROLE IF EXISTS {role}"));
        postgres.query(&format!("CREATE ROLE {role} LOGIN PASSWORD 'x' VALID UNTIL '{until}'"));
    }
    let world = scenario.start();
    let tried = |role: &str| RawClient::try_login(&world.login().user(role, "x")).map(drop);
    assert_eq!(tried(roles[0]).unwrap_err().sqlstate, "28P01");
    tried(roles[1]).expect("a password that is good");
}

/// PgBouncer before 1.16.1, Odyssey before 1.2: bytes in clear behind a client's request for TLS were read as if they
/// had come through it.
#[test]
fn cve_2021_3935_and_43766_bytes_in_clear_before_tls_are_taken_for_the_clients() {
    let authority = Authority::new();
    let papers = authority.local();
    for mode in ["prefer", "require"] {
        let world = Scenario::new()
            .set("tls.client_tls_sslmode", mode)
            .set("tls.client_tls_cert_file", papers.cert.to_str().unwrap())
            .set("tls.client_tls_key_file", papers.key.to_str().unwrap())
            .start();
        let mut client = RawClient::connect(&world.pooler.address());
        client.send_bytes(&[&SSL_REQUEST, world.login().startup().as_slice()].concat());
        let error = client.frame().unwrap().error();
        assert_eq!(error.sqlstate, "08P01", "{error:?}");
        assert!(client.frame().is_none());
    }
}

/// Odyssey before 1.2, libpq before 14.1 (CVE-2021-23222): the same between a pooler and its server.
#[test]
fn cve_2021_43767_bytes_in_clear_before_tls_are_taken_for_the_servers() {
    let server = FakeServer::start(|_, session: &mut FakeSession| {
        session.startup();
        // Yes to TLS, and in the same breath, in clear: you are in, ask me.
        session.send_bytes(b"SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
        session.echo();
    });
    let world = Scenario::new()
        .foreign_database("fake", server.port())
        .set("databases.fake.server_tls_sslmode", "require")
        .set("server.server_connect_timeout", "3s")
        .start();
    assert_eq!(refused(&world).0, "FATAL");
    serves(&world);
}

/// PgBouncer before 1.5.3: the name of a database that was too long ended the process.
#[test]
fn cve_2012_4575_a_long_name_of_a_database_ends_the_process() {
    let world = Scenario::new().start();
    for length in [64, 128, 1_000, 9_900] {
        let login = world.login().database(&"d".repeat(length));
        let error = RawClient::try_login(&login).map(drop).expect_err("there is none");
        assert_eq!(error.sqlstate, "3D000", "{length}");
        let login = world.login().user(&"u".repeat(length), "x");
        let error = RawClient::try_login(&login).map(drop).expect_err("there is none");
        assert_eq!(error.sqlstate, "28P01", "{length}");
    }
    serves(&world);
}

/// PgBouncer before 1.5.5: a password before the startup packet was a crash.
#[test]
fn cve_2015_4054_a_password_before_the_startup_packet_crashes() {
    let world = Scenario::new().start();
    for bytes in [&b"p\0\0\0\x09x123\0"[..], b"p\0\0\0\x04", b"\0\0\0\x08\0\x03\0\0p\0\0\0\x05\0"] {
        let mut client = RawClient::connect(&world.pooler.address());
        client.patience(Duration::from_secs(5));
        client.send_bytes(bytes);
        client.shut_down_sending();
        let reply = client.read_to_end();
        assert!(reply.frames.iter().all(|frame| frame.tag == b'E'), "{}", reply.shape());
    }
    serves(&world);
}

/// PgBouncer 1.6: with `auth_user`, a user that does not exist was let in as that one.
#[test]
fn cve_2015_6817_an_unknown_user_is_let_in_as_auth_user() {
    for auth_type in ["scram-sha-256", "md5", "plain"] {
        let world = asking(Some(UNQUALIFIED)).set("auth.auth_type", auth_type).start();
        for password in ["asker_secret", "x"] {
            let login = world.login().user("nobody_at_all", password);
            let error = RawClient::try_login(&login).map(drop).expect_err("nobody");
            assert_eq!(error.sqlstate, "28P01", "{auth_type}");
        }
    }
}
