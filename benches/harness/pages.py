#!/usr/bin/env python3
"""How long each page of the HTTP API takes with 5,000 statements and 10,000 clients, and what that costs a query.

It starts nothing: give it a pooler that lets everybody in (auth_type = "trust"). `scripts/bench-pages.sh` starts one.
"""

import argparse
import asyncio
import json
import statistics
import struct
import time
import urllib.error
import urllib.request

# More new statements within ten seconds count as a flood.
AT_ONCE = 900
FLOOD_SECONDS = 10.5
ROUNDS = 20
LIMIT_MS = 50.0


class Client:
    """As much of Postgres' protocol as a simple query needs."""

    async def connect(self, arguments):
        self.reader, self.writer = await asyncio.open_connection(arguments.host, arguments.port)
        pairs = ["user", arguments.user, "database", arguments.database, ""]
        body = struct.pack("!i", 196608) + "\0".join(pairs).encode() + b"\0"
        self.writer.write(struct.pack("!i", len(body) + 4) + body)
        await self.until_ready()
        return self

    async def until_ready(self):
        while True:
            kind, length = struct.unpack("!ci", await self.reader.readexactly(5))
            body = await self.reader.readexactly(length - 4)
            if kind == b"E":
                raise RuntimeError(body)
            if kind == b"Z":
                return

    async def query(self, sql):
        body = sql.encode() + b"\0"
        self.writer.write(b"Q" + struct.pack("!i", len(body) + 4) + body)
        await self.until_ready()


async def connect_all(arguments, count):
    clients = []
    while len(clients) < count:
        some = min(200, count - len(clients))
        clients += await asyncio.gather(*[Client().connect(arguments) for _ in range(some)])
    return clients


async def fill(client, statements):
    for number in range(statements):
        if number and number % AT_ONCE == 0:
            await asyncio.sleep(FLOOD_SECONDS)
        columns = ", ".join(f"{number} AS c{number}_{column}" for column in range(6))
        await client.query(f"SELECT {columns} /*route='%2Fpage%2F{number}'*/")


def get(arguments, path, accept):
    headers = {"Accept": accept, "Host": "localhost"}
    request = urllib.request.Request(arguments.admin + path, headers=headers)
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(request) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        # /readyz may say no.
        error.read()
    return (time.perf_counter() - began) * 1e3


def read(arguments, path):
    with urllib.request.urlopen(arguments.admin + path) as answer:
        return json.load(answer)


async def probe(client, times):
    while True:
        began = time.perf_counter()
        await client.query("SELECT 1")
        times.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(0.001)


def spread(times):
    times = sorted(times)
    return statistics.median(times), times[int(len(times) * 0.99)], times[-1]


async def measure(arguments, client):
    quiet, busy = [], []
    task = asyncio.create_task(probe(client, quiet))
    await asyncio.sleep(5)
    task.cancel()
    queries = await asyncio.to_thread(read, arguments, "/queries?format=json")
    api = await asyncio.to_thread(read, arguments, "/openapi.json")
    some = queries["queries"][0]["fingerprint"]
    paths = [path for path, of in api["paths"].items() if "get" in of]
    known = {"fingerprint": some, "route": "%2Fpage%2F7", "database": arguments.database, "user": arguments.user}
    paths = [path.format(**known) for path in paths]
    paths += ["/queries?limit=500&kind=all", "/queries?sort=p99", "/routes?limit=500", "/clients?limit=1000"]
    # The one before may not be answered.
    client = await Client().connect(arguments)
    task = asyncio.create_task(probe(client, busy))
    slow = []
    print(f"{'page':44} {'form':5} {'p50':>8} {'max':>8}")
    for path in paths:
        for name, accept in [("text", "*/*"), ("json", "application/json"), ("html", "text/html")]:
            times = [await asyncio.to_thread(get, arguments, path, accept) for _ in range(ROUNDS)]
            middle, _, longest = spread(times)
            print(f"{path:44} {name:5} {middle:6.1f}ms {longest:6.1f}ms")
            if middle > LIMIT_MS:
                slow.append(f"{path} as {name}: {middle:.1f} ms")
    task.cancel()
    for name, times in [("quiet", quiet), ("while pages are asked for", busy)]:
        middle, high, longest = spread(times)
        print(f"SELECT 1, {name}: p50 {middle:.2f} ms, p99 {high:.2f} ms, max {longest:.2f} ms, {len(times)} of them")
    return slow


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=6432)
    parser.add_argument("--admin", default="http://127.0.0.1:6433")
    parser.add_argument("--user", default="postgres")
    parser.add_argument("--database", default="postgres")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--statements", type=int, default=5_000)
    arguments = parser.parse_args()
    clients = await connect_all(arguments, arguments.clients)
    await fill(clients[0], arguments.statements)
    slow = await measure(arguments, clients[0])
    if slow:
        raise SystemExit("over 50 ms: " + "; ".join(slow))


if __name__ == "__main__":
    asyncio.run(main())
