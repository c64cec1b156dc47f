//! Nothing a client does to its session reaches the next client, and nothing it may keep is lost: every kind of
//! state, however its transaction ends, in every form of the protocol, on one server. What is right, Postgres says:
//! the same is done to it directly.

use crate::support::{Batch, RawClient, Scenario, World, query};

/// Session state: how it is made, seen and ended.
struct Kind {
    make: &'static str,
    see: &'static str,
    end: &'static str,
    life: Life,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// It follows its client.
    Carried,
    /// Its client keeps the server as long as it lasts.
    Pinned,
}

const KINDS: [Kind; 17] = [
    carried("SET search_path TO tenant, public", "SHOW search_path", "RESET search_path"),
    carried(
        "SET SESSION statement_timeout = '77s'",
        "SHOW statement_timeout",
        "RESET statement_timeout",
    ),
    carried("SET work_mem TO '7MB'", "SHOW work_mem", "SET work_mem TO DEFAULT"),
    carried("SET TimeZone = 'Asia/Tokyo'", "SHOW TimeZone", "RESET TimeZone"),
    carried("SET TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone", "SET TIME ZONE DEFAULT"),
    carried("SET my.tenant = 'seven'", CUSTOM, "RESET my.tenant"),
    carried("SELECT set_config('my.tenant', 'eight', false)", CUSTOM, "RESET ALL"),
    carried(
        "SELECT set_config(n, '11MB', false) FROM (VALUES ('work_mem')) v(n)",
        "SHOW work_mem",
        "SELECT set_config(n, '4MB', false) FROM (VALUES ('work_mem')) v(n)",
    ),
    carried("SET ROLE tenant", "SELECT current_user", "RESET ROLE"),
    carried("SET default_transaction_read_only = on", "SHOW transaction_read_only", "RESET ALL"),
    carried(
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SHOW transaction_isolation",
        "DISCARD ALL",
    ),
    carried("DO $$ BEGIN SET work_mem = '9MB'; END $$", "SHOW work_mem", "DISCARD ALL"),
    pinned("LISTEN news", "SELECT count(*) FROM pg_listening_channels()", "UNLISTEN news"),
    pinned(
        "SELECT pg_advisory_lock(pg_backend_pid())",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        "SELECT pg_advisory_unlock(pg_backend_pid())",
    ),
    pinned(
        "CREATE TEMPORARY TABLE mine (n int)",
        "SELECT count(*) FROM pg_class WHERE relname = 'mine' AND relnamespace = pg_my_temp_schema()",
        "DROP TABLE mine",
    ),
    pinned(
        "DECLARE kept CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*) FROM pg_cursors WHERE name = 'kept'",
        "CLOSE kept",
    ),
    pinned(
        "PREPARE mine AS SELECT 1",
        "SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'",
        "DEALLOCATE mine",
    ),
];

const CUSTOM: &str = "SELECT coalesce(nullif(current_setting('my.tenant', true), ''), 'none')";

const fn carried(make: &'static str, see: &'static str, end: &'static str) -> Kind {
    Kind { make, see, end, life: Life::Carried }
}

const fn pinned(make: &'static str, see: &'static str, end: &'static str) -> Kind {
    Kind { make, see, end, life: Life::Pinned }
}

/// How the transaction goes on: what stands before and behind the statement.
const ENDS: [(&str, &[&str], &[&str]); 5] = [
    ("by itself", &[], &[]),
    ("committed", &["BEGIN"], &["COMMIT"]),
    ("rolled back", &["BEGIN"], &["ROLLBACK"]),
    ("rolled back to a savepoint", &["BEGIN", "SAVEPOINT s"], &["ROLLBACK TO s", "COMMIT"]),
    ("failed", &["BEGIN"], &["SELECT 1 / 0", "COMMIT"]),
];

#[derive(Clone, Copy, Debug)]
enum Form {
    Simple,
    OneQuery,
    Extended,
    Prepared,
    Pipelined,
}

const FORMS: [Form; 5] =
    [Form::Simple, Form::OneQuery, Form::Extended, Form::Prepared, Form::Pipelined];

fn run(client: &mut RawClient, form: Form, script: &[&str]) {
    let unnamed = |batch: Batch, sql: &&str| batch.parse("", sql).run("", &[]).sync();
    match form {
        Form::Simple => script.iter().for_each(|sql| drop(client.run(&query(sql)))),
        Form::OneQuery => {
            drop(client.run(&query(&script.join("; "))));
            // An error has left out the end.
            drop(client.run(&query("ROLLBACK")));
        }
        Form::Extended => {
            script.iter().for_each(|sql| drop(client.run(&unnamed(Batch::new(), sql))));
        }
        Form::Pipelined => drop(client.run(&script.iter().fold(Batch::new(), unnamed))),
        Form::Prepared => {
            for (number, sql) in script.iter().enumerate() {
                // Some have been prepared before.
                let name = format!("s{number} {sql}");
                drop(client.run(&Batch::new().parse(&name, sql).sync()));
                drop(client.run(&Batch::new().run(&name, &[]).sync()));
            }
        }
    }
}

fn world() -> World {
    let world = Scenario::new().pool_size(1).set("auth.auth_type", "trust").start();
    world.prepare("CREATE SCHEMA tenant");
    world
}

/// Each kind in each form, its transaction ending in each way: what Postgres' own session shows afterwards is what
/// the client sees, also after another client had the server; and that one sees a fresh session.
#[test]
fn what_a_client_keeps_is_its_own() {
    let world = world();
    for kind in &KINDS {
        let fresh = world.direct().value(kind.see);
        for (end, before, behind) in ENDS {
            let (mut real, mut one, mut two) = (world.direct(), world.client(), world.client());
            for form in FORMS {
                let case = format!("{} {end}, {form:?}", kind.make);
                let script = [before, &[kind.make], behind].concat();
                run(&mut real, form, &script);
                run(&mut one, form, &script);
                let wanted = real.value(kind.see);
                assert_eq!(one.value(kind.see), wanted, "{case}: its own");
                if kind.life == Life::Carried || wanted == fresh {
                    assert_eq!(two.value(kind.see), fresh, "{case}: another's");
                    assert_eq!(one.value(kind.see), wanted, "{case}: its own, after another's");
                }
                run(&mut real, form, &[kind.end]);
                run(&mut one, form, &[kind.end]);
                assert_eq!(one.value(kind.see), real.value(kind.see), "{case}: ended");
                assert_eq!(two.value(kind.see), fresh, "{case}: another's, when ended");
            }
        }
    }
}

/// A client that goes away in the middle, or afterwards, in either way leaves nothing.
#[test]
fn a_client_that_goes_leaves_nothing() {
    let world = world();
    for kind in &KINDS {
        let fresh = world.direct().value(kind.see);
        for form in FORMS {
            for script in [&["BEGIN", kind.make][..], &["BEGIN", kind.make, "COMMIT"], &[kind.make]]
            {
                for leave in [RawClient::kill, RawClient::terminate] {
                    let mut one = world.client();
                    run(&mut one, form, script);
                    leave(one);
                    assert_eq!(world.client().value(kind.see), fresh, "{script:?}, {form:?}");
                }
            }
        }
    }
    assert_eq!(world.backends().len(), 1);
}
