"""Strangers in numbers, and what they cost a client that is logged in: its 99th percentile, and the pooler's memory.

Every flood runs against a second pooler first and then against the one that is measured, so that both times the machine has
the same to do: what differs is what the pooler lets strangers do to its clients. Started by scripts/bench-floods.sh.
"""

import argparse
import multiprocessing
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from process import resident_bytes
from targets import NotStarted, Pooler, Site
from wire import PROTOCOL_3_0, Connection, ServerError

MOST_RATIO = 1.5
# What an allocator keeps of a burst; see also soak.py.
MOST_GROWTH_BYTES = 8 << 20
WRONG_PASSWORDS = 10_000
TLS_LOGINS_A_SECOND = 200
STRANGERS = 4
# Of each stranger.
HALF_OPEN = 100
SLOW = 50
PAUSE_SECONDS = 0.001
PATIENCE_SECONDS = 120.0
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Flood:
    """`stranger` runs in processes of its own until `stop` is set, and counts what it did. `least` is done in all."""

    title: str
    stranger: Callable
    least: int = 0


def come_and_go(target, stop, done) -> None:
    while not stop.is_set():
        with suppress(OSError), socket.create_connection(("127.0.0.1", target.port)):
            count(done)


def stay_silent(target, stop, done) -> None:
    """Sockets that say nothing, or half a startup packet; those that are closed are opened again."""
    held = []
    while not stop.is_set():
        if len(held) < HALF_OPEN:
            with suppress(OSError):
                held.append(socket.create_connection(("127.0.0.1", target.port)))
                if len(held) % 2:
                    held[-1].sendall(struct.pack("!ii", 100, PROTOCOL_3_0)[: len(held) % 8])
                count(done)
        else:
            stop.wait(1)
            held = [one for one in held if is_open(one)]


def log_in_slowly(target, stop, done) -> None:
    """A byte a second on each of many sockets."""
    parameters = f"user\0{target.site.user}\0database\0{target.site.database}\0\0".encode()
    packet = struct.pack("!ii", 8 + len(parameters), PROTOCOL_3_0) + parameters
    held: list[tuple[socket.socket, int]] = []
    while not stop.is_set():
        while len(held) < SLOW and not stop.is_set():
            with suppress(OSError):
                held.append((socket.create_connection(("127.0.0.1", target.port)), 0))
        sent = []
        for one, at in held:
            with suppress(OSError):
                one.sendall(packet[at : at + 1])
                count(done)
                sent.append((one, at + 1))
        held = sent
        stop.wait(1)


def guess_passwords(target, stop, done) -> None:
    site = target.site
    while not stop.is_set():
        with suppress(ServerError, OSError):
            Connection(target.port, site.user, "wrong", site.database).close()
        count(done)


def log_in_by_tls(target, stop, done) -> None:
    site, every = target.site, STRANGERS / TLS_LOGINS_A_SECOND
    due = time.monotonic()
    while not stop.is_set():
        with suppress(ServerError, OSError):
            Connection(target.port, site.user, site.password, site.database, tls=True).close()
            count(done)
        due = max(due + every, time.monotonic() - 1)
        stop.wait(max(0, due - time.monotonic()))


def everything(target, stop, done) -> None:
    """All of the above, from one process each."""
    kinds = [flood.stranger for flood in FLOODS if flood.stranger is not everything]
    nothing = FORK.Value("q", 0)
    children = [FORK.Process(target=kind, args=(target, stop, done if kind is guess_passwords else nothing)) for kind in kinds]
    for child in children:
        child.start()
    for child in children:
        child.join()


FLOODS = (
    Flood("connections that come and go", come_and_go),
    Flood(f"{STRANGERS * HALF_OPEN} half-open sockets", stay_silent),
    Flood(f"{STRANGERS * SLOW} logins of a byte a second", log_in_slowly),
    Flood(f"{WRONG_PASSWORDS:,} wrong passwords", guess_passwords, WRONG_PASSWORDS),
    Flood(f"{TLS_LOGINS_A_SECOND} TLS logins a second", log_in_by_tls),
    Flood(f"all at once, {WRONG_PASSWORDS:,} wrong passwords among them", everything, WRONG_PASSWORDS),
)


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    site = Site(
        Path(options.folder), options.postgres_port, options.user, os.environ["BENCH_PASSWORD"],
        os.environ["BENCH_SCRAM_SECRET"], options.database, options.drop_to, options.key,
    )  # fmt: skip
    faults = 0
    print("| flood | p99 ms quiet | flood elsewhere | flood here | ratio | memory MiB | done |\n|---|--:|--:|--:|--:|--:|--:|")
    for flood in FLOODS:
        if options.only not in flood.title:
            continue
        here, there = (Pooler(name, site, options.pooler) for name in ("measured", "other"))
        try:
            here.start()
            there.start()
            faults += report(flood, *measure(flood, here, there, options))
        finally:
            here.stop()
            there.stop()
    return 1 if faults else 0


def measure(flood: Flood, here: Pooler, there: Pooler, options: argparse.Namespace) -> tuple:
    client = Connection(here.port, here.site.user, here.site.password, here.site.database)
    p99(client, options.seconds)
    quiet = p99(client, options.seconds)
    elsewhere, during, resident, done = [], [], [], 0
    for _ in range(options.rounds):
        least = flood.least // options.rounds
        elsewhere.append(under(flood, there, client, (options.seconds, 0))[0])
        time_of_it, count_of_it = under(flood, here, client, (options.seconds, least))
        during.append(time_of_it)
        resident.append(resident_bytes(here.pids()))
        done += count_of_it
    # The first flood starts threads, and fills what an allocator keeps; the same again must find room there.
    return quiet, median(elsewhere), median(during), resident[-1] - resident[0], done


def under(flood: Flood, target: Pooler, client: Connection, until: tuple[float, int]) -> tuple[float, int]:
    """The client's p99 while strangers are at the target: for so many seconds, and until so much is done."""
    seconds, least = until
    stop, done = FORK.Event(), FORK.Value("q", 0)
    crowd = 1 if flood.stranger is everything else STRANGERS
    strangers = [FORK.Process(target=flood.stranger, args=(target, stop, done)) for _ in range(crowd)]
    for stranger in strangers:
        stranger.start()
    try:
        begun, times = time.monotonic(), []
        while time.monotonic() - begun < seconds or done.value < least:
            times += answers(client, 0.5)
            if time.monotonic() - begun > PATIENCE_SECONDS:
                raise SystemExit(f"{flood.title}: {done.value} done after {PATIENCE_SECONDS} s")
        if not done.value:
            raise SystemExit(f"{flood.title}: the strangers did nothing")
        return percentile(times), done.value
    finally:
        stop.set()
        for stranger in strangers:
            stranger.join()


def p99(client: Connection, seconds: float) -> float:
    return percentile(answers(client, seconds))


def answers(client: Connection, seconds: float) -> list[float]:
    """How long each answer took, in milliseconds."""
    times, end = [], time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        client.query("SELECT 1")
        times.append((time.monotonic() - begun) * 1000)
        time.sleep(PAUSE_SECONDS)
    return times


def percentile(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


def report(flood: Flood, quiet: float, elsewhere: float, here: float, grown: int, done: int) -> int:
    ratio = here / elsewhere
    print(
        f"| {flood.title} | {quiet:.2f} | {elsewhere:.2f} | {here:.2f} | {verdict(f'{ratio:.2f}', ratio <= MOST_RATIO)} | "
        f"{verdict(f'{grown / (1 << 20):+.1f}', grown <= MOST_GROWTH_BYTES)} | {done:,} |",
        flush=True,
    )
    return (ratio > MOST_RATIO) + (grown > MOST_GROWTH_BYTES)


def verdict(text: str, holds: bool) -> str:  # noqa: FBT001 - two words for two cases
    return f"{text} ok" if holds else f"{text} MISSED"


def count(done) -> None:
    with done.get_lock():
        done.value += 1


def is_open(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        return one.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="scratch folder")
    parser.add_argument("--postgres-port", type=int, required=True)
    parser.add_argument("--pgbench", help="not used")
    parser.add_argument("--user", required=True)
    parser.add_argument("--database", required=True)
    parser.add_argument("--drop-to", default="", help="user for programs that refuse root")
    parser.add_argument("--pooler", required=True)
    parser.add_argument("--key", required=True, help="of the certificate: ec, or rsa:BITS")
    parser.add_argument("--rounds", type=int, required=True, help="two at least: memory is compared between the first and the last")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--only", default="", help="part of a flood's title")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except NotStarted as error:
        sys.exit(f"error: {error}")
