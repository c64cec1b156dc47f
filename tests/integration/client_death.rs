//! Clients that vanish: whatever they were doing, the same server goes on, clean, for the next one.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::support::{Batch, PATIENCE, RawClient, Scenario, World, query, wait_for};

/// The ways to go.
#[derive(Clone, Copy, Debug)]
enum Exit {
    Reset,
    Close,
    Goodbye,
}

const EXITS: [Exit; 3] = [Exit::Reset, Exit::Close, Exit::Goodbye];

fn leave(client: RawClient, exit: Exit) {
    match exit {
        Exit::Reset => client.kill(),
        Exit::Close => drop(client),
        Exit::Goodbye => client.terminate(),
    }
}

fn world() -> World {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (n int)");
    world
}

/// Locks in this database: of others, or kept by the session that asks.
const LOCKS: &str = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database \
    WHERE datname = current_database() AND (pid <> pg_backend_pid() OR locktype = 'advisory')";

/// A goodbye is read when its turn comes: Postgres finishes what was asked before it, and so does the pooler.
const WITHOUT_GOODBYE: [Exit; 2] = [Exit::Reset, Exit::Close];

/// A client begins something and leaves; the next one finds everything as if nothing had been.
#[track_caller]
fn nothing_is_left(exits: &[Exit], begin: impl Fn(&World, &mut RawClient)) -> World {
    let world = world();
    let mut next = world.client();
    for exit in exits {
        let mut client = world.client();
        begin(&world, &mut client);
        leave(client, *exit);
        let backend = next.backend();
        let after = next.run(&query("SELECT count(*) FROM item")).shape();
        assert_eq!(after, "T D(0) C(SELECT 1) Z(I)", "{exit:?}");
        let locks = next.value(LOCKS);
        assert_eq!(locks, "0", "{exit:?}");
        assert_eq!(world.backends(), [backend.as_str()], "{exit:?}");
    }
    drop(next);
    world
}

/// As `nothing_is_left`, and the server is the same as before.
#[track_caller]
fn the_server_is_used_again(exits: &[Exit], begin: impl Fn(&World, &mut RawClient)) {
    let started = "SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()";
    let first = std::cell::RefCell::new(String::new());
    let world = nothing_is_left(exits, |world, client| {
        let backend = client.value(started);
        if first.borrow().is_empty() {
            first.replace(backend);
        } else {
            assert_eq!(*first.borrow(), backend, "another server");
        }
        begin(world, client);
    });
    assert_eq!(world.client().value(started), *first.borrow(), "another server");
}

#[test]
fn in_a_transaction() {
    the_server_is_used_again(&EXITS, |_, client| {
        client.query("BEGIN; INSERT INTO item VALUES (1); LOCK TABLE item");
    });
}

#[test]
fn in_a_failed_transaction() {
    the_server_is_used_again(&EXITS, |_, client| {
        assert_eq!(client.run(&query("BEGIN; SELECT 1/0")).shape(), "C(BEGIN) E(22012) Z(E)");
    });
}

#[test]
fn while_a_query_runs() {
    the_server_is_used_again(&WITHOUT_GOODBYE, |world, client| {
        client.send(&query("SELECT pg_sleep(600)"));
        world.wait_for_query("pg_sleep(600)");
    });
}

#[test]
fn while_a_query_runs_in_a_transaction() {
    the_server_is_used_again(&WITHOUT_GOODBYE, |world, client| {
        client.query("BEGIN; INSERT INTO item VALUES (1)");
        client.send(&query("SELECT pg_sleep(600)"));
        world.wait_for_query("pg_sleep(600)");
    });
}

#[test]
fn inside_a_pipeline() {
    the_server_is_used_again(&WITHOUT_GOODBYE, |world, client| {
        let mut ahead = query("BEGIN").parse("s", "INSERT INTO item VALUES ($1)");
        for _ in 0..100 {
            ahead = ahead.run("s", &["1"]).sync();
        }
        client.send(&ahead.query("SELECT pg_sleep(600)").query("COMMIT"));
        world.wait_for_query("pg_sleep(600)");
    });
}

#[test]
fn before_the_sync_of_a_batch() {
    the_server_is_used_again(&EXITS, |_, client| {
        let batch = Batch::new().parse("", "INSERT INTO item VALUES (1)").run("", &[]);
        client.send(&batch.flush());
        assert_eq!(client.read_tag('C').shape(), "1 2 C(INSERT 0 1)");
    });
}

#[test]
fn inside_a_copy_in() {
    the_server_is_used_again(&EXITS, |_, client| {
        client.send(&query("COPY item FROM STDIN").copy_data("1\n"));
        assert_eq!(client.read_tag('G').shape(), "G");
    });
}

#[test]
fn inside_a_copy_in_of_the_extended_protocol() {
    the_server_is_used_again(&EXITS, |_, client| {
        let copy = Batch::new().parse("", "COPY item FROM STDIN").run("", &[]).swallowed_sync();
        client.send(&copy.copy_data("1\n"));
        assert_eq!(client.read_tag('G').shape(), "1 2 G");
    });
}

#[test]
fn inside_a_copy_out() {
    the_server_is_used_again(&EXITS, |_, client| {
        client.send(&query("COPY (SELECT generate_series(1, 10000000)) TO STDOUT"));
        assert_eq!(client.read_tag('H').shape(), "H");
    });
}

#[test]
fn inside_a_result() {
    the_server_is_used_again(&EXITS, |_, client| {
        client.send(&query("SELECT generate_series(1, 10000000)"));
        assert_eq!(client.read_tag('T').shape(), "T");
    });
}

#[test]
fn inside_a_message() {
    // Half of it may be on its way already; such a server cannot be used again.
    nothing_is_left(&EXITS, |_, client| {
        client.query("BEGIN");
        let insert = query("INSERT INTO item VALUES (1)").bytes;
        client.send_bytes(&insert[..insert.len() - 3]);
    });
}

#[test]
fn inside_copy_data() {
    // Half of it may be on its way already; such a server cannot be used again.
    nothing_is_left(&EXITS, |_, client| {
        client.send(&query("COPY item FROM STDIN"));
        assert_eq!(client.read_tag('G').shape(), "G");
        // A header that promises a megabyte, and little of it.
        client.send_bytes(&[b'd', 0, 16, 0, 0, b'1', b'\n']);
    });
}

#[test]
fn with_a_session_lock_taken_in_a_transaction() {
    let world = world();
    for exit in EXITS {
        let mut client = world.client();
        client.query("BEGIN; SELECT pg_advisory_lock(42)");
        leave(client, exit);
        let taken = "SELECT pg_try_advisory_lock(42)";
        let mut superuser = world.superuser();
        wait_for(Duration::from_secs(10), "the lock to be free", || {
            match superuser.value(taken).as_str() {
                "t" => Ok(()),
                _ => Err(format!("{exit:?}: it is held")),
            }
        });
    }
}

#[test]
fn last_words_are_executed() {
    let world = world();
    let mut next = world.client();
    let batch = Batch::new().parse("", "INSERT INTO item VALUES (1)").run("", &[]).sync();
    let mut client = world.client();
    client.send(&batch);
    client.shut_down_sending();
    assert_eq!(client.read_to_end().shape(), "1 2 C(INSERT 0 1) Z(I) closed");
    let mut client = world.client();
    client.send(&batch.terminate());
    assert!(client.read_to_end().closed);
    assert_eq!(next.value("SELECT count(*) FROM item"), "2");
}

#[test]
fn a_client_that_has_said_all_still_gets_its_reply() {
    let world = world();
    let mut client = world.client();
    client.send(&query("SELECT pg_sleep(0.2), 'reply'"));
    client.shut_down_sending();
    assert_eq!(client.read_to_end().shape(), "T D(|reply) C(SELECT 1) Z(I) closed");
}

#[test]
fn a_client_that_is_gone_leaves_the_queue() {
    let world = world();
    let (mut holder, mut waiting) = (world.client(), world.client());
    holder.query("BEGIN");
    waiting.send(&query("INSERT INTO item VALUES (1)"));
    world.wait_for_waiting(1);
    waiting.kill();
    world.wait_for_waiting(0);
    let mut next = world.client();
    next.send(&query("SELECT 'next'"));
    world.wait_for_waiting(1);
    holder.query("COMMIT");
    assert_eq!(next.read_readies(1).value(), "next");
    assert_eq!(next.value("SELECT count(*) FROM item"), "0");
}

/// One client's life among many: answers are its own, and at times it leaves in the middle.
fn short_life(world: &World, random: &mut StdRng, name: &str) {
    let mut client = world.client();
    client.run(&Batch::new().parse("s", "SELECT $1, $2").sync());
    for step in 0..random.random_range(1..20) {
        let step = step.to_string();
        let row = format!("D({name}|{step})");
        match random.random_range(0..6) {
            0 => {
                let reply = client.run(&query(&format!("SELECT '{name}', {step}")));
                assert_eq!(reply.shape(), format!("T {row} C(SELECT 1) Z(I)"));
            }
            1 => {
                let two =
                    Batch::new().run("s", &[name, &step]).sync().run("s", &[name, &step]).sync();
                let one = format!("2 {row} C(SELECT 1) Z(I)");
                assert_eq!(client.run(&two).shape(), format!("{one} {one}"));
            }
            2 => {
                client.query("BEGIN; INSERT INTO item VALUES (1)");
                client.query("ROLLBACK");
            }
            3 => {
                client.send(&query("BEGIN; INSERT INTO item VALUES (1); SELECT pg_sleep(0.001)"));
                return leave(client, EXITS[random.random_range(0..EXITS.len())]);
            }
            4 => {
                client.send(&Batch::new().run("s", &[name, &step]));
                return leave(client, EXITS[random.random_range(0..EXITS.len())]);
            }
            _ => {
                let batch = Batch::new().run("nowhere", &[]).run("s", &[name, &step]).sync();
                assert_eq!(client.run(&batch).shape(), "E(26000) Z(I)");
            }
        }
    }
}

#[test]
fn among_clients_that_come_and_go_every_answer_is_ones_own() {
    const THREADS: u64 = 12;
    const LIVES: usize = 60;
    let scenario = Scenario::new().pool_size(3);
    let world = scenario.set("pool.max_prepared_statements", 2).start();
    world.prepare("CREATE TABLE item (n int)");
    std::thread::scope(|scope| {
        for seed in 0..THREADS {
            let world = &world;
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed);
                for life in 0..LIVES {
                    short_life(world, &mut random, &format!("{seed}-{life}"));
                }
            });
        }
    });
    assert_eq!(world.client().value("SELECT count(*) FROM item"), "0");
    assert!(world.backends().len() <= 3);
}

#[test]
fn a_copy_whose_data_has_ended_is_cancelled_when_its_client_dies() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare(
        "CREATE TABLE item (n int);
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql
             AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
         CREATE TRIGGER slow AFTER INSERT ON item EXECUTE FUNCTION slow()",
    );
    let mut client = world.client();
    let backend = client.backend();
    client.send(&query("COPY item FROM STDIN"));
    client.read_tag('G');
    client.send(&Batch::new().copy_data("1\n").copy_done());
    wait_for(Duration::from_secs(10), "the trigger to run", || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
        match world.superuser().value(sql).as_str() {
            "1" => Ok(()),
            count => Err(count.to_owned()),
        }
    });
    client.kill();
    let mut next = world.client();
    next.patience(Duration::from_secs(5));
    assert_eq!(next.backend(), backend, "cancelled and cleaned, not closed after a long while");
    assert_eq!(next.value("SELECT count(*) FROM item"), "0");
}

/// Ends a client that is in this state, and gives what was answered.
#[track_caller]
fn end(world: &World, state: &str) -> Value {
    let admin = world.pooler.admin();
    let found = wait_for(PATIENCE, state, || {
        let clients = admin.clients();
        let client = clients.iter().find(|client| client["state"] == state);
        client.cloned().ok_or_else(|| format!("{clients:?}"))
    });
    let answer = admin.post(&format!("/clients/{}/end", found["id"].as_str().unwrap()), "{}");
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn an_administrator_ends_a_client_whatever_it_does() {
    let world = Scenario::new().pool_size(1).start();
    world.prepare("CREATE TABLE item (id int); GRANT ALL ON item TO app");
    // In the middle of a statement: its transaction is rolled back, its server goes on.
    let mut running = world.client();
    let pid = running.query("SELECT pg_backend_pid()").value();
    running.query("BEGIN");
    running.query("INSERT INTO item VALUES (1)");
    running.send(&query("SELECT pg_sleep(60)"));
    world.wait_for_query("pg_sleep(60)");
    let ended = end(&world, "active");
    assert_eq!(ended["ended"]["user"], "app", "{ended}");
    assert_eq!(running.read_to_end().fault(), "FATAL 57P01");
    let mut next = world.client();
    assert_eq!(next.query("SELECT count(*) FROM item").rows(), [["0"]]);
    assert_eq!(next.query("SELECT pg_backend_pid()").value(), pid, "the same server");
    // In a pause of a transaction.
    next.query("BEGIN; LISTEN news");
    end(&world, "idle_in_transaction");
    assert_eq!(next.read_to_end().fault(), "FATAL 57P01");
    // In the queue.
    let mut holder = world.client();
    holder.query("BEGIN");
    let mut waiting = world.client();
    waiting.send(&query("SELECT 1"));
    end(&world, "waiting");
    assert_eq!(waiting.read_to_end().fault(), "FATAL 57P01");
    holder.query("COMMIT");
    // And outside of everything.
    end(&world, "idle");
    assert_eq!(holder.read_to_end().fault(), "FATAL 57P01");
    let admin = world.pooler.admin();
    for id in ["999999", "x", "-1"] {
        assert_eq!(admin.post(&format!("/clients/{id}/end"), "{}").status, 404, "{id}");
    }
    assert_eq!(admin.get("/clients/1/end", "*/*").status, 405);
    let log = world.pooler.log();
    assert_eq!(log.matches("ended by POST /clients/ID/end").count(), 4, "{log}");
    assert!(log.contains("a change was asked for") && log.contains("/end"), "{log}");
}
