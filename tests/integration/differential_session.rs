//! As `differential`, with what changes the session: settings, roles, what SQL prepares, what only one connection has.

use crate::differential::{Words, compare_many};

/// A custom setting that was never made is NULL; where another client has made one, it is empty.
const CUSTOM: &str = "SELECT nullif(current_setting('my.x', true), '')";
const LOCKS: &str = "SELECT objid, mode FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() ORDER BY 1, 2";
const PREPARED: &str =
    "SELECT name, parameter_types FROM pg_prepared_statements WHERE from_sql ORDER BY 1";
const CURSORS: &str = "SELECT name, is_holdable FROM pg_cursors WHERE name <> '' ORDER BY 1";
const CHANNELS: &str = "SELECT pg_listening_channels() ORDER BY 1";
const TEMPORARY: &str =
    "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema() ORDER BY 1";

const WORDS: Words = Words {
    statements: &[
        "SELECT 1",
        "SELECT $1::text",
        "SELECT count(*) FROM item",
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SET work_mem = '5MB'",
        "SET LOCAL geqo_threshold = 6",
        "SHOW geqo_threshold",
        "RESET work_mem",
        "SHOW work_mem",
        "SELECT set_config('my.x', $1, false)",
        "SELECT set_config('my.x', 'local', true)",
        CUSTOM,
        "SET search_path = tenant, public",
        "SHOW search_path",
        "SET ROLE tenant",
        "RESET ROLE",
        "SELECT current_user",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "PREPARE sa AS SELECT 1",
        "EXECUTE sa",
        "DEALLOCATE sa",
        "DEALLOCATE ALL",
        "DISCARD ALL",
        "LISTEN news",
        "UNLISTEN news",
        CHANNELS,
        "SELECT pg_try_advisory_lock(1)",
        "SELECT pg_advisory_unlock(1)",
        LOCKS,
        "CREATE TEMP TABLE t (n int)",
        "DROP TABLE t",
        "INSERT INTO t VALUES (1)",
        "DECLARE kept CURSOR WITH HOLD FOR SELECT generate_series(1, 5)",
        "FETCH 2 FROM kept",
        "CLOSE kept",
    ],
    simple: &[
        "SELECT 1",
        "SELECT 1 / 0",
        "SELECT count(*) FROM item",
        "INSERT INTO item VALUES (1)",
        "BEGIN",
        "BEGIN READ ONLY",
        "COMMIT",
        "COMMIT AND CHAIN",
        "ROLLBACK",
        "SAVEPOINT s",
        "ROLLBACK TO s",
        "RELEASE s",
        "SET work_mem = '5MB'",
        "SET LOCAL geqo_threshold = 6",
        "SET LOCAL work_mem = '6MB'",
        "SET LOCAL TimeZone = 'UTC'",
        "SET geqo_threshold = 7",
        "SHOW geqo_threshold",
        "SET work_mem = 'wrong'",
        "RESET work_mem",
        "RESET ALL",
        "SHOW work_mem",
        "SET TimeZone = 'Europe/Rome'",
        "SHOW TimeZone",
        "SET application_name = 'b'",
        "SET DateStyle = 'SQL, DMY'",
        "SET standard_conforming_strings = off",
        "SET client_encoding = 'LATIN1'",
        "SET client_min_messages = error",
        "SET default_transaction_read_only = on",
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SHOW transaction_isolation",
        "SELECT set_config('my.x', 'one', false)",
        "SELECT set_config('my.x', 'local', true)",
        "SET my.x = 'two'",
        "RESET my.x",
        CUSTOM,
        "SET search_path = tenant, public",
        "SET LOCAL search_path = tenant",
        "SHOW search_path",
        "SET ROLE tenant",
        "SET LOCAL ROLE tenant",
        "SET ROLE nobody_of_that_name",
        "RESET ROLE",
        "SELECT current_user",
        "DO $$ BEGIN SET work_mem = '9MB'; END $$",
        "DO $$ BEGIN SET work_mem = '9MB'; RAISE EXCEPTION 'no'; END $$",
        "PREPARE sa AS SELECT 1",
        "PREPARE sa AS SELECT * FROM item",
        "PREPARE sb (int) AS SELECT $1 + 1",
        "EXECUTE sa",
        "EXECUTE sb (3)",
        "DEALLOCATE sa",
        "DEALLOCATE ALL",
        PREPARED,
        "DISCARD ALL",
        "DISCARD PLANS",
        "DISCARD TEMP",
        "LISTEN news",
        "UNLISTEN news",
        "UNLISTEN *",
        "NOTIFY news, 'told'",
        CHANNELS,
        "SELECT pg_try_advisory_lock(1)",
        "SELECT pg_try_advisory_lock_shared(2)",
        "SELECT pg_try_advisory_xact_lock(3)",
        "SELECT pg_advisory_unlock(1)",
        "SELECT pg_advisory_unlock_shared(2)",
        "SELECT pg_advisory_unlock_all()",
        LOCKS,
        "CREATE TEMP TABLE t (n int)",
        "CREATE TEMP TABLE t (n int) ON COMMIT DROP",
        "SELECT 1 AS n INTO TEMP t",
        "INSERT INTO t VALUES (1)",
        "DROP TABLE t",
        TEMPORARY,
        "DECLARE kept CURSOR WITH HOLD FOR SELECT generate_series(1, 5)",
        "DECLARE short CURSOR FOR SELECT generate_series(1, 5)",
        "FETCH 2 FROM kept",
        "FETCH 2 FROM short",
        "CLOSE kept",
        "CLOSE ALL",
        CURSORS,
    ],
    let_go: &[
        "ROLLBACK",
        "UNLISTEN *",
        "SELECT pg_advisory_unlock_all()",
        "CLOSE ALL; DISCARD TEMP",
    ],
    see: &[
        "SHOW work_mem",
        "SHOW geqo_threshold",
        "SHOW search_path",
        "SHOW TimeZone",
        "SHOW application_name",
        "SHOW DateStyle",
        "SHOW standard_conforming_strings",
        "SHOW client_encoding",
        "SHOW client_min_messages",
        "SHOW default_transaction_read_only",
        "SHOW default_transaction_isolation",
        "SELECT current_user, session_user",
        "SELECT count(*) FROM item",
        CUSTOM,
        PREPARED,
        CHANNELS,
        LOCKS,
        TEMPORARY,
        CURSORS,
    ],
};

const CASES: u32 = 64;

#[test]
fn one_server() {
    compare_many(1, 200, WORDS, CASES);
}

#[test]
fn two_servers() {
    compare_many(2, 200, WORDS, CASES);
}

#[test]
fn three_servers_that_may_know_two_statements() {
    compare_many(3, 2, WORDS, CASES);
}
