//! Who may log in, by which method, and what a refused client learns; startup packets are in `startup`.

use std::time::{Duration, Instant};

use crate::support::{Batch, Login, RawClient, Scenario, World, query};

/// A refusal by a server that answers at all comes long before this.
const SOON: Duration = Duration::from_secs(8);

#[track_caller]
fn refused(login: &Login) -> String {
    match RawClient::try_login(login) {
        Ok(_) => panic!("{} was let in", login.user),
        Err(error) => format!("{} {}", error.severity, error.sqlstate),
    }
}

fn method(world: &World) -> String {
    let mut client = world.client();
    assert_eq!(client.value("SELECT current_user"), "app");
    format!("{:?}", client.asked)
}

#[test]
fn scram_is_the_default_and_proves_both_sides() {
    let world = Scenario::new().start();
    let mut client = world.client();
    assert_eq!(format!("{:?}", client.asked), "Scram");
    assert!(client.server_proven);
    assert_eq!(client.value("SELECT 6 * 7"), "42");
    assert_eq!(refused(&world.login().user("app", "wrong")), "FATAL 28P01");
}

#[test]
fn scram_works_from_the_secret_that_postgres_stores() {
    let scenario = Scenario::new();
    let stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'other'";
    let secret = scenario.cluster().superuser("postgres").value(stored);
    assert!(secret.starts_with("SCRAM-SHA-256$"));
    // The stored secret proves a client; it is not enough to log in to Postgres with.
    let scenario = scenario.set("users.other.password", secret.as_str());
    let world = scenario.set_database("user", "app").set_database("password", "app_secret").start();
    let mut client = RawClient::login(&world.login().user("other", "other_secret"));
    assert_eq!(client.value("SELECT current_user"), "app");
    assert_eq!(refused(&world.login().user("other", "app_secret")), "FATAL 28P01");
}

#[test]
fn md5_from_a_plain_and_from_a_hashed_secret() {
    // md5('md5_secret' || 'md5_user'), asked of Postgres itself.
    let scenario = Scenario::new();
    let stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'md5_user'";
    let secret = scenario.cluster().superuser("postgres").value(stored);
    assert!(secret.starts_with("md5"));
    let scenario = scenario.set("users.md5_user.password", secret.as_str());
    let world = scenario.set("auth.auth_type", "md5").start();
    assert_eq!(method(&world), "Md5");
    assert_eq!(refused(&world.login().user("app", "wrong")), "FATAL 28P01");
    let hashed = world.login().user("md5_user", "md5_secret");
    assert_eq!(RawClient::login(&hashed).value("SELECT current_user"), "md5_user");
    assert_eq!(refused(&hashed.user("md5_user", "wrong")), "FATAL 28P01");
}

#[test]
fn plain_asks_for_the_password_in_clear() {
    let world = Scenario::new().set("auth.auth_type", "plain").start();
    assert_eq!(method(&world), "ClearText");
    assert_eq!(refused(&world.login().user("app", "wrong")), "FATAL 28P01");
}

#[test]
fn a_password_in_clear_that_fits_a_scram_secret_logs_in_to_postgres() {
    let scenario = Scenario::new().set("auth.auth_type", "plain");
    let stored = "SELECT rolpassword FROM pg_authid WHERE rolname = 'other'";
    let secret = scenario.cluster().superuser("postgres").value(stored);
    let world = scenario.set("users.other.password", secret.as_str()).start();
    let login = world.login().user("other", "other_secret");
    assert_eq!(refused(&login.clone().user("other", "wrong")), "FATAL 28P01");
    assert_eq!(RawClient::login(&login).value("SELECT current_user"), "other");
}

#[test]
fn trust_asks_for_nothing() {
    let world = Scenario::new().set("auth.auth_type", "trust").start();
    assert_eq!(method(&world), "Nothing");
}

#[test]
fn servers_that_want_clear_text_md5_or_nothing_are_logged_in_to() {
    let scenario = Scenario::new().set("users.md5_user.password", "md5_secret");
    let scenario = scenario.set("users.clear_user.password", "clear_secret");
    let world = scenario.set("users.trust_user.password", "any").start();
    for (user, password) in
        [("md5_user", "md5_secret"), ("clear_user", "clear_secret"), ("trust_user", "any")]
    {
        let mut client = RawClient::login(&world.login().user(user, password));
        assert_eq!(client.value("SELECT current_user"), user);
    }
}

#[test]
fn passthrough_lets_postgres_decide() {
    let scenario = Scenario::new().without("users.app").without("users.other");
    let world = scenario.start();
    let mut client = world.client();
    assert_eq!(format!("{:?}", client.asked), "ClearText");
    assert_eq!(client.value("SELECT current_user"), "app");
    let mut other = RawClient::login(&world.login().user("other", "other_secret"));
    assert_eq!(other.value("SELECT current_user"), "other");
    assert_eq!(refused(&world.login().user("app", "wrong")), "FATAL 28P01");
    assert_eq!(refused(&world.login().user("nobody_known", "wrong")), "FATAL 28P01");
    // One refusal does not spoil the next login.
    assert_eq!(world.client().value("SELECT 1"), "1");
}

#[test]
fn passthrough_never_lets_in_with_the_password_of_another_user() {
    let world = Scenario::new().without("users.app").without("users.other").start();
    let _known = world.client();
    assert_eq!(refused(&world.login().user("other", "app_secret")), "FATAL 28P01");
    assert_eq!(refused(&world.login().user("app", "")), "FATAL 28P01");
}

#[test]
fn an_unknown_user_goes_through_the_same_exchange() {
    let world = Scenario::new().start();
    let exchange = |user: &str| {
        let login = world.login().user(user, "wrong");
        let mut client = RawClient::connect(&login.address);
        client.send_bytes(&login.startup());
        let asked = client.frame().expect("a request for authentication");
        let error = {
            let mut client = RawClient::connect(&login.address);
            client.send_bytes(&login.startup());
            client.finish_login(&login).expect_err("the password is wrong")
        };
        (asked, format!("{error:?}").replace(user, "USER"))
    };
    assert_eq!(exchange("app"), exchange("nobody_known"));
}

/// Salt and iterations that a user is told.
fn challenge(login: &Login) -> String {
    let mut client = RawClient::connect(&login.address);
    client.send_bytes(&login.startup());
    client.frame().expect("a request for authentication");
    let first = b"n,,n=,r=abcdefgh";
    let initial = [b"SCRAM-SHA-256\0", &(first.len() as u32).to_be_bytes()[..], first].concat();
    client.send(&Batch::new().frame(b'p', &initial));
    let reply = client.frame().expect("a challenge");
    let text = String::from_utf8(reply.body[4..].to_vec()).unwrap();
    assert!(text.starts_with("r=abcdefgh"), "{text}");
    text.split_once(',').unwrap().1.to_owned()
}

#[test]
fn an_unknown_user_has_a_salt_that_stays_and_is_its_own() {
    let world = Scenario::new().start();
    let of = |user: &str| challenge(&world.login().user(user, ""));
    let unknown = of("nobody_known");
    assert_eq!(unknown, of("nobody_known"));
    assert_ne!(unknown, of("nobody_else"));
    for told in [unknown, of("app")] {
        let (salt, iterations) = told.split_once(',').unwrap();
        assert_eq!((salt.len(), iterations), ("s=".len() + 24, "i=4096"), "{told}");
    }
}

#[test]
fn an_unknown_user_is_asked_for_what_most_are_asked_for() {
    let world = Scenario::new().set("auth.auth_type", "md5").start();
    let asked = |user: &str| {
        let login = world.login().user(user, "wrong");
        let mut client = RawClient::connect(&login.address);
        client.send_bytes(&login.startup());
        let frame = client.frame().expect("a request for authentication");
        // The code; behind it is a salt.
        frame.body[..4].to_vec()
    };
    assert_eq!(asked("app"), [0, 0, 0, 5]);
    assert_eq!(asked("nobody_known"), asked("app"));
}

#[test]
fn an_unknown_database_is_told_to_the_right_password_only() {
    let world = Scenario::new().start();
    let login = world.login().database("no_such_database");
    assert_eq!(refused(&login), "FATAL 3D000");
    assert_eq!(refused(&login.user("app", "wrong")), "FATAL 28P01");
}

#[test]
fn a_database_that_postgres_does_not_know_is_refused_with_its_words() {
    let world = Scenario::new().set_database("dbname", "gone").start();
    let error = RawClient::try_login(&world.login()).map(drop).expect_err("there is no database");
    assert_eq!(error.sqlstate, "3D000", "{error:?}");
    assert!(error.message.contains("gone"), "{error:?}");
}

#[test]
fn a_wrong_password_for_the_server_is_said_soon() {
    let scenario = Scenario::new().set_database("user", "app");
    let world = scenario.set_database("password", "wrong").start();
    let start = Instant::now();
    let fault = refused(&world.login());
    assert!(fault.starts_with("FATAL 08") || fault.starts_with("FATAL 28"), "{fault}");
    assert!(start.elapsed() < SOON);
}

#[test]
fn the_fallback_database_serves_any_name() {
    let scenario = Scenario::new();
    let (port, database) = (i64::from(scenario.cluster().port()), scenario.database().to_owned());
    let scenario = scenario.without(&format!("databases.{database}"));
    let scenario = scenario.set("databases.\"*\".host", "127.0.0.1");
    let world = scenario.set("databases.\"*\".port", port).start();
    assert_eq!(world.client().value("SELECT current_database()"), database);
    assert_eq!(refused(&world.login().database("no_such_database")), "FATAL 3D000");
}

#[test]
fn a_login_needs_no_server_once_the_pool_is_known() {
    let world = Scenario::new().pool_size(1).start();
    let mut holder = world.client();
    holder.query("BEGIN");
    let mut late = world.client();
    assert_eq!(late.parameter("server_encoding"), Some("UTF8"));
    holder.query("COMMIT");
    assert_eq!(late.value("SELECT 1"), "1");
}

#[test]
fn clients_and_servers_may_use_unix_sockets() {
    let scenario = Scenario::new();
    let folder = scenario.cluster().folder().to_str().unwrap().to_owned();
    let world = scenario.set_database("host", folder).start();
    let mut login = world.login();
    login.address = world.pooler.socket();
    let mut client = RawClient::login(&login);
    assert_eq!(client.value("SELECT inet_client_addr() IS NULL"), "t");
}

#[test]
fn host_names_and_ipv6_lead_to_postgres() {
    for host in ["localhost", "::1"] {
        let world = Scenario::new().set_database("host", host).start();
        assert_eq!(world.client().value("SELECT inet_client_addr() IS NOT NULL"), "t");
    }
}

#[test]
fn users_come_from_a_userlist_file() {
    let folder = crate::support::TempDir::new();
    let list =
        folder.write("userlist.txt", "; comment\n\"app\" \"app_secret\"\n\"other\" \"wrong\"\n");
    let scenario = Scenario::new().without("users.app");
    let world = scenario.set("auth.auth_file", list.to_str().unwrap()).start();
    assert_eq!(world.client().value("SELECT current_user"), "app");
    // What the configuration itself says wins.
    let other = world.login().user("other", "other_secret");
    assert_eq!(RawClient::login(&other).value("SELECT current_user"), "other");
}

#[test]
fn many_logins_at_once_all_succeed() {
    const THREADS: usize = 8;
    const LOGINS: usize = 10;
    let world = Scenario::new().start();
    let log_in = || {
        for _ in 0..LOGINS {
            assert_eq!(world.client().run(&query("SELECT 1")).shape(), "T D(1) C(SELECT 1) Z(I)");
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(log_in);
        }
    });
}

#[test]
fn clients_that_leave_during_the_login_leave_nothing() {
    let world = Scenario::new().start();
    let startup = world.login().startup();
    for cut in [0, 3, 4, 8, startup.len() - 1, startup.len()] {
        let mut client = RawClient::connect(&world.pooler.address());
        client.send_bytes(&startup[..cut]);
        client.kill();
    }
    let mut client = RawClient::connect(&world.pooler.address());
    client.send_bytes(&startup);
    assert_eq!(client.frame().unwrap().tag, b'R');
    client.send(&Batch::new().terminate());
    assert!(client.read_to_end().closed);
    assert_eq!(world.client().value("SELECT 1"), "1");
}

/// What a client sends for SCRAM is far below 2 KiB; of more than that the header is enough.
#[test]
fn a_long_scram_message_is_refused_before_it_is_read() {
    let world = Scenario::new().start();
    let login = world.login();
    for (length, tag) in [(100_usize, b'R'), (3_000, b'E')] {
        let mut client = RawClient::connect(&login.address);
        client.send_bytes(&login.startup());
        assert_eq!(client.frame().unwrap().tag, b'R');
        let first = format!("n,,n=,r={}", "x".repeat(length));
        let count = u32::try_from(first.len()).unwrap().to_be_bytes();
        let body = [b"SCRAM-SHA-256\0", count.as_slice(), first.as_bytes()].concat();
        let message = Batch::new().frame(b'p', &body);
        let sent = if tag == b'E' { 5 } else { message.bytes.len() };
        client.send_bytes(&message.bytes[..sent]);
        assert_eq!(client.frame().unwrap().tag, tag, "{length}");
    }
}
