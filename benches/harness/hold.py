"""Measures what a proxy keeps in memory: for clients that do nothing, and for one result larger than it should hold."""

import os
import resource
import time

from process import peak_resident_bytes, resident_bytes
from targets import Target
from wire import Connection
from workloads import Holding

# Connected and used before the first reading, so that the server connection and thread stacks are not counted as clients.
WARM_CLIENTS = 10
# Long enough for a proxy that gives buffers back a little later to do so.
SETTLE_SECONDS = 1.0
# One client's socket, and some for everything else that is open.
SPARE_FILES = 200
ROW_BYTES = 1_000_000


def measure(target: Target, holding: Holding) -> float:
    """Bytes a client, or bytes in all for a large result, on a process of its own."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if holding.clients + SPARE_FILES > allowed:
        raise TooFewFiles(f"{holding.clients} clients need more than the {allowed} open files allowed here (ulimit -n)")
    target.start()
    try:
        if holding.result_bytes:
            return _large_result(target, holding.result_bytes)
        return _idle_clients(target, holding)
    finally:
        target.stop()


def raise_file_limit(clients: int) -> None:
    """For this process and those it starts, as far as it may: only root can go past the hard limit."""
    wanted = clients + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        allowed = max(hard, wanted) if os.geteuid() == 0 else hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, allowed), allowed))


class TooFewFiles(Exception):
    """The file limit of this machine is below what the measurement needs."""


def _idle_clients(target: Target, holding: Holding) -> float:
    held = []
    try:
        held.extend(_use(target, holding) for _ in range(WARM_CLIENTS))
        time.sleep(SETTLE_SECONDS)
        before = resident_bytes(target.pids())
        held.extend(_use(target, holding) for _ in range(holding.clients))
        time.sleep(SETTLE_SECONDS)
        after = resident_bytes(target.pids())
        # Idle does not mean dead: each of them still gets an answer.
        for connection in held:
            connection.query("SELECT 1")
        return (after - before) / holding.clients
    finally:
        for connection in held:
            connection.close()


def _use(target: Target, holding: Holding) -> Connection:
    connection = _connect(target, tls=holding.tls)
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


def _connect(target: Target, *, tls: bool = False) -> Connection:
    site = target.site
    return Connection(target.port, site.user, site.password, site.database, tls=tls)
