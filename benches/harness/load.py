"""Runs one load against one target, by pgbench or by clients that discard, and reads what came of it."""

import multiprocessing
import os
import re
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from process import cpu_seconds
from targets import Target
from wire import READ_BYTES, Connection
from workloads import Workload

# Two threads of pgbench: one is the bottleneck before the poolers are, more take CPU from them.
PGBENCH_THREADS = 2
# Past its time pgbench only waits for running transactions; more than this means something hangs.
GRACE_SECONDS = 60


@dataclass(frozen=True)
class Sample:
    """One run. Latencies in milliseconds, CPU in microseconds a transaction; None: not measured."""

    tps: float
    p50: float | None
    p99: float | None
    cpu: float | None


class LoadFailed(Exception):
    """The load did not end well; the text is its own."""


@dataclass(frozen=True)
class Programs:
    """What loads are made with."""

    pgbench: str
    tls_load: str


def run(programs: Programs, target: Target, workload: Workload, seconds: int) -> Sample:
    if workload.tls:
        return _by_tls(programs.tls_load, target, workload, seconds)
    pids = target.pids()
    before = cpu_seconds(pids)
    if workload.discard_bytes:
        tps, transactions, latencies = _discard(target, workload, seconds)
    else:
        tps, transactions, latencies = _pgbench(programs.pgbench, target, workload, seconds)
    used = cpu_seconds(pids) - before
    if transactions == 0:
        raise LoadFailed("no transaction ended")
    latencies.sort()
    cpu = used * 1e6 / transactions if pids else None
    return Sample(tps, _percentile(latencies, 0.50), _percentile(latencies, 0.99), cpu)


def _pgbench(pgbench: str, target: Target, workload: Workload, seconds: int) -> tuple[float, int, list[float]]:
    with tempfile.TemporaryDirectory(dir=target.site.folder) as scratch:
        script = Path(scratch, "script.sql")
        script.write_text(workload.script, encoding="utf-8")
        output = _run_pgbench(pgbench, target, workload, seconds, script)
        latencies = _logged_latencies(Path(scratch))
    transactions = int(_number(r"number of transactions actually processed: (\d+)", output))
    return _number(r"^tps = ([\d.]+)", output), transactions, latencies


def _run_pgbench(pgbench: str, target: Target, workload: Workload, seconds: int, script: Path) -> str:
    site = target.site
    command = [
        pgbench, "-n", "-h", "127.0.0.1", "-p", str(target.port), "-U", site.user,
        "-c", str(workload.clients), "-j", str(min(PGBENCH_THREADS, workload.clients)), "-T", str(seconds),
        "-f", str(script), *workload.options,
    ]  # fmt: skip
    if workload.latency:
        command += ["--log", f"--log-prefix={script.parent / 'latency'}", f"--sampling-rate={workload.sampling}"]
    environment = dict(os.environ, PGPASSWORD=site.password, PGSSLMODE="disable", PGGSSENCMODE="disable")
    try:
        done = subprocess.run(
            [*command, site.database], env=environment, cwd=script.parent, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=seconds + GRACE_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as hung:
        raise LoadFailed(f"pgbench still ran {GRACE_SECONDS} s after its time") from hung
    if done.returncode != 0:
        raise LoadFailed(f"pgbench ended with {done.returncode}:\n{done.stderr[-1500:]}")
    return done.stdout


def _by_tls(program: str, target: Target, workload: Workload, seconds: int) -> Sample:
    """The program prints transactions, seconds, and two percentiles of its latencies."""
    site, pids = target.site, target.pids()
    command = [program, str(target.port), str(workload.clients), str(seconds), workload.tls]
    environment = dict(os.environ, PGUSER=site.user, PGPASSWORD=site.password, PGDATABASE=site.database)
    before = cpu_seconds(pids)
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=seconds + GRACE_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as hung:
        raise LoadFailed(f"tls_load still ran {GRACE_SECONDS} s after its time") from hung
    used = cpu_seconds(pids) - before
    if done.returncode != 0:
        raise LoadFailed(f"tls_load ended with {done.returncode}:\n{done.stderr[-1500:]}")
    transactions, took, p50, p99 = (float(field) for field in done.stdout.split())
    return Sample(transactions / took, p50, p99, used * 1e6 / transactions)


def _logged_latencies(folder: Path) -> list[float]:
    """Third field of pgbench's transaction log: microseconds."""
    found = []
    for log in folder.glob("latency.*"):
        with open(log, encoding="ascii") as lines:
            found.extend(int(line.split(" ", 3)[2]) / 1000 for line in lines)
    return found


def _discard(target: Target, workload: Workload, seconds: int) -> tuple[float, int, list[float]]:
    """A process a client: they share nothing, and with large replies Python has little to do."""
    fork = multiprocessing.get_context("fork")
    start, results = fork.Barrier(workload.clients), fork.SimpleQueue()
    clients = [
        fork.Process(target=_discard_client, args=(target, workload, seconds, start, results), daemon=True)
        for _ in range(workload.clients)
    ]
    for client in clients:
        client.start()
    answers = [results.get() for _ in clients]
    for client in clients:
        client.join()
    faults = [answer for answer in answers if isinstance(answer, str)]
    if faults:
        raise LoadFailed(f"{len(faults)} clients failed, the first: {faults[0]}")
    latencies = [one for answer in answers for one in answer]
    # Each client ends a little after its time; its rate is over what it took.
    return sum(len(answer) / sum(answer) for answer in answers) * 1000, len(latencies), latencies


def _discard_client(target: Target, workload: Workload, seconds: int, start, results) -> None:
    try:
        site, scratch = target.site, memoryview(bytearray(READ_BYTES))
        connection = Connection(target.port, site.user, site.password, site.database)
        start.wait(GRACE_SECONDS)
        latencies, end = [], time.monotonic() + seconds
        while (begun := time.monotonic()) < end:
            size = connection.discard(workload.script, scratch)
            if size < workload.discard_bytes:
                raise LoadFailed(f"a reply of {size} bytes instead of {workload.discard_bytes}")
            latencies.append((time.monotonic() - begun) * 1000)
        results.put(latencies)
    except Exception as error:  # noqa: BLE001 - the parent tells it
        start.abort()
        results.put(f"{type(error).__name__}: {error}")


def _percentile(ordered: list[float], share: float) -> float | None:
    """None for 0 too: that is a clock pgbench did not read; see `discard_bytes`."""
    return (ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else None) or None


def _number(pattern: str, text: str) -> float:
    match = re.search(pattern, text, re.MULTILINE)
    if not match:
        raise LoadFailed(f"pgbench's output has no {pattern}:\n{text}")
    return float(match.group(1))
