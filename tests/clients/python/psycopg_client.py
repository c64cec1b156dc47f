"""psycopg 3 through the pooler: server-side prepared statements, pipelines, cursors, COPY, cancel.

The connection comes from the PG* environment. Prints `clients=N` at its end; any failure is an exception.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import errors
from psycopg_pool import ConnectionPool

CLIENTS = 8


def all_at_once(work):
    """Runs work(number, connection) for CLIENTS connections that are all open at the same time."""
    open_together = threading.Barrier(CLIENTS)

    def one(number):
        with psycopg.connect() as connection:
            open_together.wait(timeout=60)
            work(number, connection)

    with ThreadPoolExecutor(CLIENTS) as threads:
        for future in [threads.submit(one, number) for number in range(CLIENTS)]:
            future.result(timeout=60)


def prepares_after_a_few_executions(number, connection):
    connection.autocommit = True
    for step in range(30):
        row = connection.execute("SELECT %s::int, %s::text", (step, f"client {number}")).fetchone()
        assert row == (step, f"client {number}"), row


def prepares_at_once_and_forgets_beyond_a_limit(number, connection):
    connection.autocommit = True
    connection.prepare_threshold = 0
    connection.prepared_max = 2
    for step in range(30):
        row = connection.execute(f"SELECT {step % 5}, %s::int", (number,)).fetchone()
        assert row == (step % 5, number), row


def transactions(number, connection):
    connection.prepare_threshold = 0
    for step in range(10):
        with connection.transaction():
            connection.execute("INSERT INTO psycopg (client, step) VALUES (%s, %s)", (number, step))
            try:
                with connection.transaction():
                    connection.execute("INSERT INTO psycopg (client, step) VALUES (%s, %s)", (number, None))
                raise AssertionError("NULL was taken")
            except errors.NotNullViolation:
                pass
    rows = connection.execute("SELECT count(*) FROM psycopg WHERE client = %s", (number,)).fetchone()
    assert rows == (10,), rows
    connection.commit()


def pipelines(number, connection):
    connection.autocommit = True
    for _ in range(5):
        with connection.pipeline() as pipeline:
            cursors = [connection.execute("SELECT %s::int", (number * 1000 + step,)) for step in range(50)]
            pipeline.sync()
            for step, cursor in enumerate(cursors):
                assert cursor.fetchone() == (number * 1000 + step,)
        try:
            with connection.pipeline():
                connection.execute("SELECT 1")
                connection.execute("SELECT nothing")
                connection.execute("SELECT 2")
            raise AssertionError("the error was lost")
        except errors.UndefinedColumn:
            pass
        assert connection.execute("SELECT %s::int", (number,)).fetchone() == (number,)


def server_side_cursors(number, connection):
    with connection.cursor(name=f"cursor {number}") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT %s, n FROM generate_series(1, 1000) n", (number,))
        assert [row for row in cursor] == [(number, n) for n in range(1, 1001)]
    connection.commit()


def copies(number, connection):
    rows = [(number, step) for step in range(2000)]
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE copied (client int, step int) ON COMMIT DROP")
        with cursor.copy("COPY copied FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "int4"])
            for row in rows:
                copy.write_row(row)
        with cursor.copy("COPY copied TO STDOUT (FORMAT BINARY)") as copy:
            copy.set_types(["int4", "int4"])
            assert list(copy.rows()) == rows


def a_cancel_hits_its_own_query(number, connection):
    connection.autocommit = True
    if number % 2:
        for step in range(20):
            assert connection.execute("SELECT pg_sleep(0.01), %s::int", (step,)).fetchone()[1] == step
        return
    timer = threading.Timer(0.3, connection.cancel_safe)
    timer.start()
    started = time.monotonic()
    try:
        # Longer than the test may take.
        connection.execute("SELECT pg_sleep(60)")
        raise AssertionError("not cancelled")
    except errors.QueryCanceled:
        assert time.monotonic() - started < 30
    timer.join()
    assert connection.execute("SELECT %s::int", (number,)).fetchone() == (number,)


def its_own_pool_works_on_top():
    with ConnectionPool(min_size=CLIENTS, max_size=CLIENTS) as pool:
        pool.wait(timeout=60)

        def one(number):
            with pool.connection() as connection:
                return connection.execute("SELECT %s::int", (number,)).fetchone()[0]

        with ThreadPoolExecutor(CLIENTS) as threads:
            assert list(threads.map(one, range(100))) == list(range(100))


def main():
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("CREATE TABLE psycopg (client int, step int NOT NULL)")
    all_at_once(prepares_after_a_few_executions)
    all_at_once(prepares_at_once_and_forgets_beyond_a_limit)
    all_at_once(transactions)
    all_at_once(pipelines)
    all_at_once(server_side_cursors)
    all_at_once(copies)
    all_at_once(a_cancel_hits_its_own_query)
    its_own_pool_works_on_top()
    print(f"clients={CLIENTS}")


main()
