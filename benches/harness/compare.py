"""Compares the pooler with Postgres itself, HAProxy and PgBouncer, side by side. Started by scripts/bench.sh.

Every round visits every target, in an order that turns by one each round, so that a machine that slows down
slows all of them; the table holds the medians.
"""

import argparse
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import hold
import load
import table
from process import resident_bytes
from targets import Haproxy, NotStarted, PgBouncer, Pooler, Site, Target
from workloads import HOLDINGS, WORKLOADS, Workload

T = TypeVar("T")

WARM_UP_SECONDS = 1
# What a proxy in front cannot do without as many Postgres connections as clients.
NO_HOLDING = {"direct", "haproxy"}
# Postgres speaks no TLS here, so that what the poolers say to it costs the same in every row; HAProxy passes bytes on.
NO_TLS = {"direct", "haproxy"}


def main() -> int:
    options = arguments()
    # An ordinary exit for the usual signals, so that `finally` stops the proxies.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    site = Site(
        Path(options.folder), options.postgres_port, options.user, os.environ["BENCH_PASSWORD"],
        os.environ["BENCH_SCRAM_SECRET"], options.database, options.drop_to,
    )  # fmt: skip
    targets = [make(name_and_program, site) for name_and_program in options.target]
    names = [target.name for target in targets]
    wanted = re.compile(options.only)
    rows: list[list[str]] = []
    record: dict[str, dict] = {}
    failures: list[str] = []
    try:
        for target in targets:
            target.start()
        for workload in WORKLOADS:
            if wanted.search(workload.name):
                samples = rounds(options, workload, targets, failures)
                rows += table.workload_rows(workload, names, samples)
                record[workload.name] = {name: [asdict(one) for one in many] for name, many in samples.items()}
        if rows:
            resident = {target.name: resident_bytes(target.pids()) for target in targets}
            rows.append(table.memory_row(names, resident))
    finally:
        for target in targets:
            target.stop()
    for holding in HOLDINGS:
        if wanted.search(holding.name):
            progress(holding.title)
            values = {}
            for target in targets:
                if target.name not in NO_HOLDING:
                    value = attempt(failures, holding.name, target, hold.measure, target, holding)
                    if value is not None:
                        values[target.name] = value
            rows.append(table.holding_row(holding, names, values))
            record[holding.name] = values
    print(table.render(names, rows), flush=True)
    Path(options.json).write_text(json.dumps(record, indent=1), encoding="utf-8")
    for failure in failures:
        print(f"\nFAILED {failure}", file=sys.stderr)
    return 1 if failures else 0


def rounds(options: argparse.Namespace, workload: Workload, targets: list[Target], failures: list[str]) -> dict:
    samples: dict[str, list[load.Sample]] = {target.name: [] for target in targets}
    broken: set[str] = set()
    programs = load.Programs(options.pgbench, options.tls_load)

    for number in range(-1, options.rounds):
        warming = number < 0
        progress(f"{workload.title}: " + ("warming up" if warming else f"round {number + 1} of {options.rounds}"))
        seconds = WARM_UP_SECONDS if warming else options.seconds
        turn = number % len(targets)
        for target in targets[turn:] + targets[:turn]:
            if target.name in broken or (workload.tls and target.name in NO_TLS):
                continue
            sample = attempt(failures, workload.name, target, load.run, programs, target, workload, seconds)
            if sample is None:
                broken.add(target.name)
                samples[target.name].clear()
            elif not warming:
                samples[target.name].append(sample)
    return samples


def attempt(failures: list[str], what: str, target: Target, action: Callable[..., T], *arguments) -> T | None:
    """One target that fails must not cost the others their row."""
    try:
        return action(*arguments)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told at the end
        failures.append(f"{what}, {target.name}: {error}")
        return None


def make(name_and_program: str, site: Site) -> Target:
    """`name=program`; the name says what it is, and anything else is another build of the pooler."""
    name, _, program = name_and_program.partition("=")
    kinds = {"direct": Target, "haproxy": Haproxy, "pgbouncer": PgBouncer}
    return kinds.get(name, Pooler)(name, site, program)


def progress(text: str) -> None:
    print(f"    {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="scratch folder")
    parser.add_argument("--postgres-port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--drop-to", default="", help="user for programs that refuse root")
    parser.add_argument("--pgbench", required=True)
    parser.add_argument("--tls-load", required=True, help="the program made of benches/tls_load.rs")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--only", default="", help="regular expression of workload names")
    parser.add_argument("--json", required=True, help="where all samples are written")
    parser.add_argument("--target", action="append", required=True, metavar="NAME=PROGRAM")
    return parser.parse_args()


if __name__ == "__main__":
    # Before any thread or child, as children inherit it.
    hold.raise_file_limit(max(holding.clients for holding in HOLDINGS) + hold.WARM_CLIENTS)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except NotStarted as error:
        sys.exit(f"error: {error}")
