"""Migrations as Rails' ActiveRecord::Migrator runs them: a session lock whose key is made of the database's name, tried
for and not waited for, around transactions and statements that allow none. Four copies at once.
"""

import os
import time
import zlib
from multiprocessing import Process, Queue

import psycopg

SALT = 2_053_462_845
COPIES = 4
LOCKS = """
SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE locktype = 'advisory' AND datname = current_database()
"""
MIGRATIONS = [
    ("20240101000001", ["CREATE TABLE people (id bigserial PRIMARY KEY, name text)"]),
    ("20240101000002", ["ALTER TABLE people ADD email text", "UPDATE people SET email = name"]),
    ("20240101000003", None),
    ("20240101000004", ["INSERT INTO people (name) VALUES ('first')", "ALTER TABLE people ALTER name SET NOT NULL"]),
]


def connect():
    """With what the adapter sets on each of its connections."""
    connection = psycopg.connect(autocommit=True, prepare_threshold=0)
    for setting in (
        "client_min_messages TO warning",
        "standard_conforming_strings = on",
        "intervalstyle = iso_8601",
        "SESSION timezone TO 'UTC'",
    ):
        connection.execute(f"SET {setting}")
    return connection


def value(connection, sql, *parameters):
    return connection.execute(sql, parameters).fetchone()[0]


def run_migrations(connection):
    connection.execute("CREATE TABLE IF NOT EXISTS schema_migrations (version varchar NOT NULL PRIMARY KEY)")
    done = {row[0] for row in connection.execute("SELECT version FROM schema_migrations")}
    for version, statements in MIGRATIONS:
        if version in done:
            continue
        if statements is None:
            # disable_ddl_transaction!
            connection.execute("CREATE INDEX CONCURRENTLY people_name ON people (name)")
            connection.execute("INSERT INTO schema_migrations VALUES (%s)", (version,))
            continue
        with connection.transaction():
            for statement in statements:
                connection.execute(statement)
            connection.execute("INSERT INTO schema_migrations VALUES (%s)", (version,))
    return len(MIGRATIONS) - len(done)


def copy(results):
    connection = connect()
    key = SALT * zlib.crc32(value(connection, "SELECT current_database()").encode())
    refused = 0
    # A deployment starts again what ended with ConcurrentMigrationError.
    while not value(connection, "SELECT pg_try_advisory_lock(%s)", key):
        refused += 1
        connection.close()
        time.sleep(0.02)
        connection = connect()
    backend = value(connection, "SELECT pg_backend_pid()")
    applied = run_migrations(connection)
    assert value(connection, "SELECT pg_backend_pid()") == backend, "the server of the lock"
    assert value(connection, "SELECT pg_advisory_unlock(%s)", key), "Failed to release advisory lock"
    assert value(connection, "SHOW intervalstyle") == "iso_8601"
    connection.close()
    results.put((applied, refused))


def main():
    results = Queue()
    copies = [Process(target=copy, args=(results,)) for _ in range(COPIES)]
    for process in copies:
        process.start()
    for process in copies:
        process.join(timeout=100)
    assert [process.exitcode for process in copies] == [0] * COPIES
    applied, refused = zip(*(results.get(timeout=1) for _ in copies))
    assert sorted(applied) == [0] * (COPIES - 1) + [len(MIGRATIONS)], applied
    assert sum(refused) > 0, "they were there at once"
    with connect() as connection:
        assert value(connection, "SELECT count(*) FROM schema_migrations") == len(MIGRATIONS)
        assert value(connection, LOCKS) == 0
    print(f"pid={os.getpid()}")


main()
