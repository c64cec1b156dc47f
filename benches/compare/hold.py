"""Measures what a proxy keeps in memory: for clients that do nothing, and for one result larger than it should hold."""

import resource
import time

from process import peak_resident_bytes, resident_bytes
from targets import Target
from wire import Connection
from workloads import Holding

# Connected and used before the first reading, so that pools, caches and thread stacks are not counted as clients.
WARM_CLIENTS = 100
# Long enough for a proxy that gives buffers back a little later to do so.
SETTLE_SECONDS = 1.0
# One client's socket, and some for everything else that is open.
SPARE_FILES = 200
ROW_BYTES = 1_000_000


def measure(target: Target, holding: Holding) -> float:
    """Bytes a client, or bytes in all for a large result, on a process of its own."""
    target.start()
    try:
        if holding.result_bytes:
            return _large_result(target, holding.result_bytes)
        return _idle_clients(target, holding.clients)
    finally:
        target.stop()


def raise_file_limit(files: int) -> None:
    """For this process and those it starts; a proxy that raises its own soft limit finds the hard one as it was."""
    wanted = files + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))


def _idle_clients(target: Target, clients: int) -> float:
    held = []
    try:
        held.extend(_use(target) for _ in range(WARM_CLIENTS))
        time.sleep(SETTLE_SECONDS)
        before = resident_bytes(target.pids())
        held.extend(_use(target) for _ in range(clients))
        time.sleep(SETTLE_SECONDS)
        after = resident_bytes(target.pids())
        # Idle does not mean dead: each of them still gets an answer.
        for connection in held:
            connection.query("SELECT 1")
        return (after - before) / clients
    finally:
        for connection in held:
            connection.close()


def _use(target: Target) -> Connection:
    connection = _connect(target)
    connection.query("SELECT 1")
    return connection


def _large_result(target: Target, size: int) -> float:
    connection = _connect(target)
    try:
        rows = f"SELECT repeat('x', {ROW_BYTES}) FROM generate_series(1, {size // ROW_BYTES})"
        connection.query(rows.replace(str(size // ROW_BYTES), "2"))
        before = resident_bytes(target.pids())
        received = connection.query(rows)
        if received < size:
            raise RuntimeError(f"{target.name}: {received} bytes came of {size}")
        return max(0, peak_resident_bytes(target.pids()) - before)
    finally:
        connection.close()


def _connect(target: Target) -> Connection:
    site = target.site
    return Connection(target.port, site.user, site.password, site.database)
