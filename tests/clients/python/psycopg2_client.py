"""psycopg2 through the pooler: the simple protocol, named cursors, COPY, cancel.

The connection comes from the PG* environment. Prints `clients=N` at its end; any failure is an exception.
"""

import io
import threading

import psycopg2
from psycopg2 import errors

CLIENTS = 8


def main():
    connections = [psycopg2.connect("") for _ in range(CLIENTS)]
    for round_ in range(20):
        for number, connection in enumerate(connections):
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT %s, %s", (number, round_))
                assert cursor.fetchone() == (number, round_)
    for number, connection in enumerate(connections):
        with connection, connection.cursor("named") as cursor:
            cursor.itersize = 10
            cursor.execute("SELECT generate_series(1, 100) + %s", (number,))
            assert [row[0] for row in cursor] == list(range(number + 1, number + 101))
    with connections[0] as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE psycopg2 (n int)")
        cursor.copy_expert("COPY psycopg2 FROM STDIN", io.StringIO("1\n2\n3\n"))
        cursor.execute("SELECT sum(n) FROM psycopg2")
        assert cursor.fetchone() == (6,)
    connection = connections[1]
    timer = threading.Timer(0.3, connection.cancel)
    timer.start()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(60)")
        raise AssertionError("not cancelled")
    except errors.QueryCanceled:
        timer.join()
    for connection in connections:
        connection.close()
    print(f"clients={CLIENTS}")


main()
