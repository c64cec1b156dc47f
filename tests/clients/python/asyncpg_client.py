"""asyncpg through the pooler: every query prepared, its cache, its pool's reset, COPY, cursors, cancel.

The connection comes from the PG* environment. Prints `clients=N` at its end; any failure is an exception.
"""

import asyncio

import asyncpg

CLIENTS = 8


async def every_query_is_prepared(number, connection):
    for step in range(30):
        row = await connection.fetchrow("SELECT $1::int AS step, $2::text AS client", step, str(number))
        assert (row["step"], row["client"]) == (step, str(number)), row
    statement = await connection.prepare("SELECT $1::int * 2")
    for step in range(10):
        assert await statement.fetchval(step) == step * 2


async def its_cache_forgets(number, connection):
    for step in range(300):
        assert await connection.fetchval(f"SELECT {step} + $1::int", number) == step + number


async def types_are_looked_up(number, connection):
    rows = await connection.fetch("SELECT ARRAY[ROW(1, 'a')::pair, ROW($1, 'b')::pair] AS pairs", number)
    assert [tuple(pair) for pair in rows[0]["pairs"]] == [(1, "a"), (number, "b")]
    assert await connection.fetchval("SELECT $1::jsonb ->> 'n'", f'{{"n": {number}}}') == str(number)


async def transactions(number, connection):
    for step in range(10):
        async with connection.transaction():
            await connection.execute("INSERT INTO asyncpg VALUES ($1, $2)", number, step)
            try:
                async with connection.transaction():
                    await connection.execute("INSERT INTO asyncpg VALUES ($1, $2)", number, None)
                raise AssertionError("NULL was taken")
            except asyncpg.NotNullViolationError:
                pass
    assert await connection.fetchval("SELECT count(*) FROM asyncpg WHERE client = $1", number) == 10


async def cursors(number, connection):
    async with connection.transaction():
        query = "SELECT $1::int + n FROM generate_series(1, 500) n"
        rows = [row[0] async for row in connection.cursor(query, number, prefetch=50)]
    assert rows == list(range(number + 1, number + 501))


async def many_rows_at_once(number, connection):
    rows = [(100 + number, step) for step in range(500)]
    await connection.executemany("INSERT INTO asyncpg VALUES ($1, $2)", rows)
    await connection.copy_records_to_table("asyncpg", records=rows)
    count = await connection.fetchval("SELECT count(*) FROM asyncpg WHERE client = $1", 100 + number)
    assert count == 1000, count


async def a_timeout_cancels_its_own_query(number, connection):
    if number % 2:
        for step in range(20):
            row = await connection.fetchrow("SELECT pg_sleep(0.01), $1::int", step)
            assert row[1] == step
        return
    try:
        await connection.fetch("SELECT pg_sleep(60)", timeout=0.3)
        raise AssertionError("not cancelled")
    except asyncio.TimeoutError:
        pass
    assert await connection.fetchval("SELECT $1::int", number) == number


async def its_own_pool_works_on_top():
    async with asyncpg.create_pool(min_size=CLIENTS, max_size=CLIENTS) as pool:
        queries = (pool.fetchval("SELECT $1::int", number) for number in range(200))
        assert await asyncio.gather(*queries) == list(range(200))


async def main():
    connections = [await asyncpg.connect() for _ in range(CLIENTS)]
    await connections[0].execute("CREATE TABLE asyncpg (client int, step int NOT NULL)")
    await connections[0].execute("CREATE TYPE pair AS (n int, t text)")
    for work in (
        every_query_is_prepared,
        its_cache_forgets,
        types_are_looked_up,
        transactions,
        cursors,
        many_rows_at_once,
        a_timeout_cancels_its_own_query,
    ):
        await asyncio.gather(*(work(number, one) for number, one in enumerate(connections)))
    for connection in connections:
        await connection.close()
    await its_own_pool_works_on_top()
    print(f"clients={CLIENTS}")


asyncio.run(asyncio.wait_for(main(), 120))
