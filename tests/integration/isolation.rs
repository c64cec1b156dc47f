//! Nothing a client does to its session reaches the next client, and nothing it may keep is lost: every kind of
//! state, however its transaction ends, in every form of the protocol, on one server. What is right, Postgres says:
//! the same is done to it directly.

use crate::support::{Batch, Login, RawClient, Scenario, World, query};

/// Session state: how it is made, seen and ended.
struct Kind {
    make: &'static str,
    see: &'static str,
    end: &'static str,
    life: Life,
    who: Who,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// It follows its client.
    Carried,
    /// Its client keeps the server as long as it lasts.
    Pinned,
    /// Its client keeps the server: nothing ends it but its connection's end.
    Lasting,
}

#[derive(Clone, Copy)]
enum Who {
    App,
    Superuser,
}

const KINDS: [Kind; 25] = [
    carried("SET search_path TO tenant, public", "SHOW search_path", "RESET search_path"),
    carried(
        "SET SESSION statement_timeout = '77s'",
        "SHOW statement_timeout",
        "RESET statement_timeout",
    ),
    carried("SET work_mem TO '7MB'", "SHOW work_mem", "SET work_mem TO DEFAULT"),
    carried("SET LOCAL work_mem TO '6MB'", "SHOW work_mem", "RESET ALL"),
    carried("SET TimeZone = 'Asia/Tokyo'", "SHOW TimeZone", "RESET TimeZone"),
    carried("SET TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone", "SET TIME ZONE DEFAULT"),
    carried("SET my.tenant = 'seven'", CUSTOM, "RESET my.tenant"),
    carried("SELECT set_config('my.tenant', 'eight', false)", CUSTOM, "RESET ALL"),
    carried("SELECT set_config('my.tenant', 'nine', true)", CUSTOM, "DISCARD ALL"),
    carried("SET ROLE tenant", "SELECT current_user", "RESET ROLE"),
    carried("SET LOCAL ROLE tenant", "SELECT current_user", "SET ROLE NONE"),
    by_superuser(carried("SET SESSION AUTHORIZATION tenant", WHO, "RESET SESSION AUTHORIZATION")),
    by_superuser(carried("SET LOCAL SESSION AUTHORIZATION tenant", WHO, "DISCARD ALL")),
    by_superuser(carried("SET ROLE app", WHO, "SET SESSION AUTHORIZATION DEFAULT")),
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
        LOCKS,
        "SELECT pg_advisory_unlock(pg_backend_pid())",
    ),
    pinned(
        "SELECT pg_try_advisory_lock_shared(7, pg_backend_pid())",
        LOCKS,
        "SELECT pg_advisory_unlock_all()",
    ),
    pinned("CREATE TEMPORARY TABLE mine (n int)", TABLES, "DROP TABLE mine"),
    pinned("SELECT 1 AS n INTO TEMP mine", TABLES, "DISCARD TEMP"),
    pinned(
        "DECLARE kept CURSOR WITH HOLD FOR SELECT 1",
        "SELECT count(*) FROM pg_cursors WHERE name = 'kept'",
        "CLOSE kept",
    ),
    carried(
        "PREPARE mine AS SELECT 1",
        "SELECT count(*) FROM pg_prepared_statements WHERE name = 'mine'",
        "DEALLOCATE mine",
    ),
    Kind {
        make: "LOAD 'auto_explain'",
        see: "SELECT count(*) FROM pg_settings WHERE name = 'auto_explain.log_format'",
        end: "DISCARD ALL",
        life: Life::Lasting,
        who: Who::Superuser,
    },
];

const LOCKS: &str =
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()";

const TABLES: &str =
    "SELECT count(*) FROM pg_class WHERE relname = 'mine' AND relnamespace = pg_my_temp_schema()";

const WHO: &str = "SELECT session_user || ' as ' || current_user";

const CUSTOM: &str = "SELECT coalesce(nullif(current_setting('my.tenant', true), ''), 'none')";

const fn carried(make: &'static str, see: &'static str, end: &'static str) -> Kind {
    Kind { make, see, end, life: Life::Carried, who: Who::App }
}

const fn pinned(make: &'static str, see: &'static str, end: &'static str) -> Kind {
    Kind { make, see, end, life: Life::Pinned, who: Who::App }
}

const fn by_superuser(kind: Kind) -> Kind {
    Kind { who: Who::Superuser, ..kind }
}

/// How the transaction goes on: what stands before and behind the statement.
type End = (&'static str, &'static [&'static str], &'static [&'static str]);

const ENDS: [End; 5] = [
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
    let scenario = Scenario::new().pool_size(1).set("auth.auth_type", "trust");
    let world = scenario.set("users.chief.password", "chief_secret").start();
    world.prepare("CREATE SCHEMA tenant");
    world
}

impl Kind {
    /// Through the pooler.
    fn client(&self, world: &World) -> RawClient {
        RawClient::login(&self.of(world.login()))
    }

    fn direct(&self, world: &World) -> RawClient {
        RawClient::login(&self.of(world.direct_login()))
    }

    fn of(&self, login: Login) -> Login {
        match self.who {
            Who::App => login,
            Who::Superuser => login.user("chief", "chief_secret"),
        }
    }
}

/// A session of Postgres and two of the pooler.
struct Three {
    real: RawClient,
    one: RawClient,
    two: RawClient,
}

impl Three {
    fn new(world: &World, kind: &Kind) -> Three {
        Three { real: kind.direct(world), one: kind.client(world), two: kind.client(world) }
    }

    /// What Postgres' own session shows is what the client sees, also after another client had the server; and that
    /// one sees a fresh session. Gives whether the state outlived its transaction.
    fn case(&mut self, kind: &Kind, fresh: &str, form: Form, end: End) -> bool {
        let Three { real, one, two } = self;
        let (end, before, behind) = end;
        let case = format!("{} {end}, {form:?}", kind.make);
        let script = [before, &[kind.make], behind].concat();
        run(real, form, &script);
        run(one, form, &script);
        let wanted = real.value(kind.see);
        assert_eq!(one.value(kind.see), wanted, "{case}: its own");
        let lasts = wanted != fresh;
        let waits = lasts && kind.life != Life::Carried;
        if waits {
            // For the server, to be served once that is fresh.
            two.send(&query(kind.see));
        } else {
            assert_eq!(two.value(kind.see), fresh, "{case}: another's");
            assert_eq!(one.value(kind.see), wanted, "{case}: its own, after another's");
        }
        run(real, form, &[kind.end]);
        run(one, form, &[kind.end]);
        if kind.life != Life::Lasting {
            assert_eq!(one.value(kind.see), real.value(kind.see), "{case}: ended");
        } else if lasts {
            one.send(&Batch::new().terminate());
        }
        let seen = if waits { two.read_readies(1).value() } else { two.value(kind.see) };
        assert_eq!(seen, fresh, "{case}: another's, when ended");
        lasts
    }
}

/// Each kind in each form, its transaction ending in each way.
#[test]
fn what_a_client_keeps_is_its_own() {
    let world = world();
    let mut cases = 0;
    for kind in &KINDS {
        let fresh = kind.direct(&world).value(kind.see);
        for end in ENDS {
            let mut three = Three::new(&world, kind);
            for form in FORMS {
                if kind.life == Life::Lasting {
                    three = Three::new(&world, kind);
                }
                let lasts = three.case(kind, &fresh, form, end);
                // Where nothing was kept, nothing was shown.
                let local = kind.make.contains("LOCAL") || kind.make.ends_with("true)");
                let kept = end.2.is_empty() || end.2 == ["COMMIT"];
                assert!(!kept || lasts != local, "{} {}, {form:?}", kind.make, end.0);
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 25 * 5 * 5, "none is left out");
}

/// A client that goes away in the middle, or afterwards, in either way leaves nothing.
#[test]
fn a_client_that_goes_leaves_nothing() {
    let world = world();
    let mut cases = 0;
    for kind in &KINDS {
        let fresh = kind.direct(&world).value(kind.see);
        for form in FORMS {
            for script in [&["BEGIN", kind.make][..], &["BEGIN", kind.make, "COMMIT"], &[kind.make]]
            {
                for leave in [RawClient::kill, RawClient::terminate] {
                    let mut one = kind.client(&world);
                    run(&mut one, form, script);
                    leave(one);
                    assert_eq!(kind.client(&world).value(kind.see), fresh, "{script:?}, {form:?}");
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 25 * 5 * 3 * 2, "none is left out");
    assert_eq!(world.backends().len(), 2, "one of each user");
}

/// What is set and reset in one go, and one of the two undone, is what Postgres says it is, and nobody else's.
#[test]
fn a_reset_that_is_undone_leaves_what_was_set_to_its_client() {
    let world = world();
    let login = |login: Login| RawClient::login(&login.parameter("work_mem", "7MB"));
    for (set, reset, see) in [
        ("SET work_mem = '5MB'", "RESET work_mem", "SHOW work_mem"),
        ("SET enable_sort = off", "SET enable_sort TO DEFAULT", "SHOW enable_sort"),
        ("SET my.tenant = 'seven'", "RESET my.tenant", CUSTOM),
        ("SET search_path = tenant", "RESET search_path", "SHOW search_path"),
        ("SET ROLE tenant", "RESET ROLE", "SELECT current_user"),
    ] {
        let fresh = world.direct().value(see);
        for script in [
            &["BEGIN", set, "SAVEPOINT s", reset, "ROLLBACK TO s", "COMMIT"][..],
            &["BEGIN", reset, "SAVEPOINT s", set, "ROLLBACK TO s", "COMMIT"],
            &[set, "BEGIN", reset, "ROLLBACK"],
            &[reset, "BEGIN", set, "ROLLBACK"],
            &["BEGIN", set, "COMMIT", "BEGIN", reset, "SELECT 1 / 0", "COMMIT"],
            &[set, reset],
            &[reset, set],
        ] {
            for form in FORMS {
                let case = format!("{script:?}, {form:?}");
                let (mut real, mut one) = (login(world.direct_login()), login(world.login()));
                let mut two = world.client();
                run(&mut real, form, script);
                run(&mut one, form, script);
                assert_eq!(two.value(see), fresh, "{case}: another's");
                let wanted = real.value(see);
                assert_eq!(one.value(see), wanted, "{case}: its own");
                assert_eq!(two.value(see), fresh, "{case}: another's, later");
            }
        }
    }
}

/// State made in ways that are easily overlooked reaches nobody either.
#[test]
fn what_is_made_in_a_roundabout_way_reaches_nobody() {
    let world = world();
    let custom = "SELECT coalesce(nullif(current_setting('h.x', true), ''), 'none')";
    for (make, see) in [
        ("UPDATE pg_settings SET setting = '777' WHERE name = 'work_mem'", "SHOW work_mem"),
        ("SELECT 1 AS a INTO LOCAL TEMP roundabout", TEMPORARY),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE roundabout AS SELECT 1", TEMPORARY),
        ("CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", TEMPORARY),
        ("CREATE TYPE pg_temp.e AS ENUM ('a')", TEMPORARY),
        ("RESET ALL; DO $$ BEGIN PERFORM set_config('h.x', 'x', false); END $$", custom),
        ("SELECT set_config('h.x', repeat('x', 200000), false)", custom),
        ("SELECT set_config('h.' || 'x', 'x', false)", custom),
        ("SET U&\"work\\005Fmem\" = '9MB'", "SHOW work_mem"),
        (r"SELECT 'a\'; ', 1; SET work_mem = '9MB'; --'", "SHOW work_mem"),
    ] {
        let fresh = world.direct().value(see);
        let mut one = world.client();
        if make.contains('\\') && make.starts_with("SELECT") {
            one.query("SET standard_conforming_strings = off");
        }
        assert!(!one.run(&query(make)).has_error(), "{make}");
        one.run(&query("SELECT 1"));
        one.terminate();
        assert_eq!(world.client().value(see), fresh, "{make}");
    }
}

const TEMPORARY: &str =
    "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema())
    + (SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema())
    + (SELECT count(*) FROM pg_type WHERE typnamespace = pg_my_temp_schema())";

/// Where the settings of one client cannot be taken back, the next one's request does not run under them.
#[test]
fn settings_that_cannot_be_taken_back_reach_nobody() {
    let world = world();
    world.prepare(
        "CREATE FUNCTION load_plpgsql() RETURNS void LANGUAGE plpgsql AS $$ BEGIN END $$; \
         CREATE TABLE seen (path text, who text); GRANT ALL ON seen TO PUBLIC",
    );
    let mut one = world.client();
    // Loading plpgsql takes the setting away, so that RESET fails.
    one.query("SET plpgsql.foo = 'x'");
    one.query("SET search_path = tenant, public");
    one.query("SET ROLE tenant");
    one.query("SELECT public.load_plpgsql()");
    let mut two = world.client();
    two.query("INSERT INTO public.seen VALUES (current_setting('search_path'), current_user)");
    assert_eq!(two.value("SELECT path || who FROM public.seen"), "\"$user\", publicapp");
}

/// What is set right behind something that cannot be read is not lost.
#[test]
fn a_setting_behind_a_do_block_stays() {
    let world = world();
    let mut one = world.client();
    for zone in ["Asia/Tokyo", "Europe/Rome", "America/Lima"] {
        one.query("DO $$ BEGIN PERFORM 1; END $$");
        one.query(&format!("SET TimeZone = '{zone}'"));
        assert_eq!(one.value("SHOW TimeZone"), zone);
    }
}

/// Values pass unchanged whatever the encodings of clients are.
#[test]
fn values_pass_through_encodings() {
    let world = world();
    let (mut one, mut two) = (world.client(), world.client());
    one.query(r"SET my.name = 'é\'; SET my.other = 'plain'");
    let seen = one.value("SHOW my.name");
    for encoding in ["LATIN1", "SJIS", "UTF8"] {
        two.query(&format!("SET client_encoding = '{encoding}'"));
        assert_eq!(two.value("SELECT 1"), "1");
        assert_eq!(one.value("SHOW my.name"), seen, "after {encoding}");
    }
}

/// A setting whose name is only known at run time is listed nowhere if it is a custom one: its client keeps the server.
#[test]
fn a_setting_with_a_made_up_name_keeps_its_server_until_all_is_discarded() {
    let world = world();
    let mut one = world.client();
    let set =
        Batch::new().parse("", "SELECT set_config($1, $2, false)").run("", &["my.tenant", "7"]);
    one.run(&set.sync());
    let mut two = world.client();
    two.send(&query(CUSTOM));
    world.wait_for_waiting(1);
    assert_eq!(one.value(CUSTOM), "7");
    one.query("DISCARD ALL");
    assert_eq!(two.read_readies(1).value(), "none");
    assert_eq!(one.value(CUSTOM), "none");
}
