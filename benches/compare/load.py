"""Runs pgbench once against one target and reads what came of it."""

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from process import cpu_seconds, resident_bytes
from targets import Target
from workloads import Workload

# Two threads of pgbench: one is the bottleneck before the poolers are, more take CPU from them.
PGBENCH_THREADS = 2
# Past its time pgbench only waits for running transactions; more than this means something hangs.
GRACE_SECONDS = 60


@dataclass(frozen=True)
class Sample:
    """One run. Latencies in milliseconds, CPU in microseconds a transaction, memory in bytes; None: not measured."""

    tps: float
    p50: float | None
    p99: float | None
    cpu: float | None
    rss: float | None


class LoadFailed(Exception):
    """pgbench did not end well; the text is its own."""


def run(pgbench: str, target: Target, workload: Workload, seconds: int) -> Sample:
    with tempfile.TemporaryDirectory(dir=target.site.folder) as scratch:
        script = Path(scratch, "script.sql")
        script.write_text(workload.script, encoding="utf-8")
        pids = target.pids()
        before = cpu_seconds(pids)
        output = _pgbench(pgbench, target, workload, seconds, script)
        used = cpu_seconds(pids) - before
        latencies = _latencies(Path(scratch))
    transactions = int(_number(r"number of transactions actually processed: (\d+)", output))
    if transactions == 0:
        raise LoadFailed(f"no transaction ended:\n{output}")
    return Sample(
        tps=_number(r"^tps = ([\d.]+)", output),
        p50=_percentile(latencies, 0.50),
        p99=_percentile(latencies, 0.99),
        cpu=used * 1e6 / transactions if pids else None,
        rss=resident_bytes(pids) if pids else None,
    )


def _pgbench(pgbench: str, target: Target, workload: Workload, seconds: int, script: Path) -> str:
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


def _latencies(folder: Path) -> list[float]:
    """Third field of pgbench's transaction log: microseconds."""
    found = []
    for log in folder.glob("latency.*"):
        with open(log, encoding="ascii") as lines:
            found.extend(int(line.split(" ", 3)[2]) / 1000 for line in lines)
    found.sort()
    return found


def _percentile(ordered: list[float], share: float) -> float | None:
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else None


def _number(pattern: str, text: str) -> float:
    match = re.search(pattern, text, re.MULTILINE)
    if not match:
        raise LoadFailed(f"pgbench's output has no {pattern}:\n{text}")
    return float(match.group(1))
