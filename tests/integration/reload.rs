//! SIGHUP: what changes without dropping anyone, and what is refused as a whole.

use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{RawClient, Scenario, Signal, query, wait_for};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_larger_pool_serves_who_waits() {
    let mut world = Scenario::new().pool_size(1).start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    waiting.send(&query("SELECT 'served'"));
    world.wait_for_waiting(1);
    world.pooler.reload(|config| {
        config.set("pool.default_pool_size", 2);
    });
    assert_eq!(waiting.read_readies(1).value(), "served");
    holder.query("COMMIT");
}

#[test]
fn a_smaller_pool_closes_what_is_too_much_as_it_falls_free() {
    let mut world = Scenario::new().pool_size(3).start();
    let mut clients = world.clients(3);
    for client in &mut clients {
        client.query("BEGIN");
    }
    world.pooler.reload(|config| {
        config.set("pool.default_pool_size", 1);
    });
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
        client.query("COMMIT");
    }
    wait_for(SOON, "one server", || match world.backends().len() {
        1 => Ok(()),
        count => Err(count.to_string()),
    });
}

#[test]
fn a_smaller_pool_keeps_as_many_idle_servers_as_it_may_have() {
    const WORKERS: i64 = 4;
    let mut world = Scenario::new().pool_size(12).set("general.workers", WORKERS).start();
    let mut clients = world.clients(12);
    for size in [8, 6, 4, 2] {
        // As many servers as there may be so far, and all of them idle.
        clients.iter_mut().for_each(|client| drop(client.query("BEGIN")));
        clients.iter_mut().for_each(|client| drop(client.query("COMMIT")));
        world.pooler.reload(|config| {
            config.set("pool.default_pool_size", size);
        });
        wait_for(SOON, "the pool to shrink", || match world.backends().len() {
            count if count as i64 <= size => Ok(()),
            count => Err(count.to_string()),
        });
        assert_eq!(world.backends().len() as i64, size);
        clients.truncate(size as usize);
    }
}

#[test]
fn users_come_change_and_go() {
    let mut world = Scenario::new().start();
    let mut old = RawClient::login(&world.login().user("other", "other_secret"));
    let trust_user = world.login().user("trust_user", "new");
    assert!(RawClient::try_login(&trust_user).is_err());
    world.pooler.reload(|config| {
        config.set("users.trust_user.password", "new").remove("users.other");
        config.set("users.app.password", "app_secret");
    });
    wait_for(SOON, "the new user", || {
        RawClient::try_login(&trust_user).map(drop).map_err(|error| format!("{error:?}"))
    });
    let gone = RawClient::try_login(&world.login().user("other", "other_secret"));
    assert_eq!(gone.map(drop).expect_err("it was removed").sqlstate, "28P01");
    assert_eq!(old.value("SELECT current_user"), "other");
    assert_eq!(world.client().value("SELECT 1"), "1");
}

#[test]
fn timeouts_apply_to_clients_that_are_there() {
    let mut world = Scenario::new().pool_size(1).start();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    world.pooler.reload(|config| {
        config.set("timeouts.query_wait_timeout", "100ms");
    });
    wait_for(SOON, "the new timeout", || {
        let mut late = world.client();
        late.patience(Duration::from_millis(500));
        late.send(&query("SELECT 1"));
        late.try_frame().map(drop).map_err(|error| error.to_string())
    });
    assert_eq!(waiting.run(&query("SELECT 1")).shape(), "E(53300) Z(I)");
    holder.query("COMMIT");
}

#[test]
fn a_database_may_be_added() {
    let mut world = Scenario::new().start();
    let login = world.login().database("added");
    assert!(RawClient::try_login(&login).is_err());
    let (port, dbname) = (i64::from(world.cluster().port()), world.database.clone());
    world.pooler.reload(|config| {
        config.set("databases.added.host", "127.0.0.1").set("databases.added.port", port);
        config.set("databases.added.dbname", dbname);
    });
    let mut client = wait_for(SOON, "the new database", || {
        RawClient::try_login(&login).map_err(|error| format!("{error:?}"))
    });
    assert_eq!(client.value("SELECT current_database()"), world.database);
}

#[test]
fn an_invalid_file_is_refused_and_the_old_settings_go_on() {
    let mut world = Scenario::new().pool_size(1).start();
    let mut client = world.client();
    for (text, word) in [
        ("[pool]\ndefualt_pool_size = 2\n", "defualt_pool_size"),
        ("[pool]\ndefault_pool_size = \"many\"\n", "default_pool_size"),
        ("this is not toml", "pooler.toml"),
    ] {
        world.pooler.reload_text(text);
        world.pooler.wait_for_log(word);
        assert_eq!(client.value("SELECT 1"), "1");
        assert_eq!(world.client().value("SELECT current_user"), "app");
    }
    assert!(world.pooler.is_running());
    // A good file afterwards is taken.
    world.pooler.reload(|config| {
        config.set("limits.max_client_conn", 1);
    });
    wait_for(SOON, "the new limit", || match RawClient::try_login(&world.login()) {
        Err(error) if error.sqlstate == "53300" => Ok(()),
        other => Err(format!("{:?}", other.map(drop))),
    });
}

#[test]
fn reloading_under_load_disturbs_nobody() {
    const CLIENTS: usize = 10;
    const RELOADS: usize = 20;
    let mut world = Scenario::new().pool_size(3).start();
    let mut clients = world.clients(CLIENTS);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    client.query("BEGIN");
                    client.query("SELECT 1");
                    client.query("COMMIT");
                }
            });
        }
        for size in (2..5).cycle().take(RELOADS) {
            world.pooler.reload(|config| {
                config.set("pool.default_pool_size", size);
            });
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_hang_up_without_a_change_changes_nothing() {
    let world = Scenario::new().start();
    let mut client = world.client();
    let backend = client.backend();
    for _ in 0..5 {
        world.pooler.signal(Signal::HangUp);
        assert_eq!(client.backend(), backend);
    }
}

#[test]
fn a_database_that_does_not_answer_holds_up_no_reload() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let scenario = Scenario::new().foreign_database("silent", port);
    // Long enough for the reload, and over before the pooler must be at rest.
    let mut world = scenario.set("server.server_connect_timeout", "5s").start();
    let silent_login = world.login().database("silent");
    let mut stuck = RawClient::connect(&silent_login.address);
    stuck.send_bytes(&silent_login.startup());
    let stuck = std::thread::spawn(move || stuck.finish_login(&silent_login));
    let late = world.login().user("trust_user", "late");
    assert!(RawClient::try_login(&late).is_err());
    world.pooler.reload(|config| {
        config.set("users.trust_user.password", "late");
    });
    wait_for(SOON, "the new user", || {
        RawClient::try_login(&late).map(drop).map_err(|error| format!("{error:?}"))
    });
    // The pooler goes first; that ends the login that was stuck.
    drop(world);
    assert!(!matches!(stuck.join().unwrap(), Ok(Some(()))), "nobody answered");
}

#[test]
fn sessions_of_a_removed_database_end_at_their_next_boundary() {
    let mut world = Scenario::new().pool_size(1).set("pool.min_pool_size", 1).start();
    let (mut idle, mut busy, mut waiting) = (world.client(), world.client(), world.client());
    busy.query("BEGIN");
    waiting.send(&query("SELECT 'served'"));
    world.wait_for_waiting(1);
    let database = format!("databases.{}", world.database);
    world.pooler.reload(|config| {
        // Without any, there would be one for all names.
        config.remove(&database).set("databases.another.host", "127.0.0.1");
    });
    assert_eq!(idle.read_to_end().shape(), "E(57P01) closed");
    assert_eq!(busy.value("SELECT 'in a transaction'"), "in a transaction");
    assert_eq!(busy.run(&query("COMMIT")).shape(), "C(COMMIT) Z(I)");
    assert_eq!(busy.read_to_end().shape(), "E(57P01) closed");
    assert_eq!(waiting.read_readies(1).value(), "served");
    assert_eq!(waiting.read_to_end().shape(), "E(57P01) closed");
    // Nor is a server kept ready for nobody.
    wait_for(SOON, "the servers to go", || match world.backends().len() {
        0 => Ok(()),
        count => Err(count.to_string()),
    });
}

#[test]
fn no_server_of_the_old_place_is_given_out_after_a_reload() {
    const ROUNDS: usize = 8;
    let mut world = Scenario::new().start();
    let key = format!("databases.{}.dbname", world.database);
    let mut client = world.client();
    for (round, dbname) in
        ["postgres", &world.database.clone()].iter().cycle().take(ROUNDS).enumerate()
    {
        world.pooler.reload(|config| {
            config.set(&key, *dbname);
        });
        wait_for(SOON, "the reload", || {
            let reloads = world.pooler.log().matches("the configuration is reloaded").count();
            if reloads == round + 1 { Ok(()) } else { Err(reloads.to_string()) }
        });
        assert_eq!(client.value("SELECT current_database()"), **dbname, "round {round}");
        let new = world.client();
        assert!(new.parameters.iter().any(|(name, _)| name == "server_version"), "{round}");
    }
}

#[test]
fn a_new_limit_on_the_clients_of_a_user_holds_where_the_database_forces_another() {
    let mut world = Scenario::new()
        .set_database("user", "other")
        .set_database("password", "other_secret")
        .start();
    let (_one, _two) = (world.client(), world.client());
    world.pooler.reload(|config| {
        config.set("users.app.max_user_client_connections", 2);
    });
    wait_for(SOON, "the new limit", || match RawClient::try_login(&world.login()) {
        Err(error) if error.message.contains("max_user_client_connections") => Ok(()),
        other => Err(format!("{:?}", other.map(drop))),
    });
}

fn password(user: &str) -> String {
    format!("{}_secret", user.trim_end_matches("_user"))
}

/// The database's servers log in as another user after a reload; `None` is the client's own.
fn changed_user(before: Option<&str>, after: Option<&str>) {
    let mut scenario = Scenario::new();
    if let Some(user) = before {
        scenario = scenario.set_database("user", user).set_database("password", password(user));
    }
    let mut world = scenario.start();
    let (mut idle, mut busy) = (world.client(), world.client());
    assert_eq!(idle.value("SELECT current_user"), before.unwrap_or("app"));
    busy.query("BEGIN");
    let (database, port) = (format!("databases.{}", world.database), world.cluster().port());
    world.pooler.reload(|config| {
        let config = config.remove(&database).set(&format!("{database}.host"), "127.0.0.1");
        config.set(&format!("{database}.port"), i64::from(port));
        if let Some(user) = after {
            config.set(&format!("{database}.user"), user);
            config.set(&format!("{database}.password"), password(user));
        }
    });
    // Nobody goes on as the user of before.
    assert_eq!(idle.read_to_end().shape(), "E(57P01) closed", "{before:?} {after:?}");
    assert_eq!(busy.run(&query("COMMIT")).shape(), "C(COMMIT) Z(I)");
    assert_eq!(busy.read_to_end().shape(), "E(57P01) closed");
    assert_eq!(world.client().value("SELECT current_user"), after.unwrap_or("app"));
}

#[test]
fn clients_of_a_database_that_gets_another_user_come_again_as_that_one() {
    changed_user(Some("other"), Some("clear_user"));
    changed_user(None, Some("other"));
    changed_user(Some("other"), None);
}

#[test]
fn a_password_that_opened_one_database_opens_no_other_after_a_reload() {
    let scenario = Scenario::new().without("users.app").without("users.other");
    let closed = format!("{}_closed", scenario.database());
    let mut superuser = scenario.cluster().superuser("postgres");
    superuser.query(&format!("CREATE DATABASE {closed}"));
    superuser.query(&format!("REVOKE CONNECT ON DATABASE {closed} FROM PUBLIC"));
    superuser.query(&format!("GRANT CONNECT ON DATABASE {closed} TO other"));
    let scenario = scenario.set_database("user", "other");
    let scenario = scenario.set_database("password", "other_secret");
    let mut world = scenario.set("auth.auth_type", "passthrough").start();
    assert_eq!(world.client().value("SELECT current_user"), "other");
    let key = format!("databases.{}.dbname", world.database);
    world.pooler.reload(|config| {
        config.set(&key, closed.as_str());
    });
    world.pooler.wait_for_log("the configuration is reloaded");
    let error = RawClient::try_login(&world.login()).map(drop).expect_err("it is not for app");
    assert_eq!(error.severity, "FATAL", "{error:?}");
}
