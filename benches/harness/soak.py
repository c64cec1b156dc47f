"""Minutes of mixed load through the pooler while clients and servers die, then a look for what leaked.

Two databases, so two pools: in `calm` pgbench must not see one error; in `rough` clients vanish in the middle of things,
servers are killed and queries cancelled. Meanwhile the pool size changes by reload. Started by scripts/soak.sh.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

from process import resident_bytes
from targets import POOL_SIZE, Pooler, Site, free_port
from wire import Connection, ServerError

# Memory is compared between the end and this part of the run, by when pools and buffers have grown to their size.
WARM_SHARE = 0.25
# What an allocator may keep of bursts; a leak of 100 bytes a connection shows well above it.
MOST_GROWTH_BYTES = 8 << 20
# After the load the pooler must be at rest within this.
REST_SECONDS = 10.0
# More than the pooler's shutdown_timeout.
STOP_SECONDS = 40.0
FAULT_PAUSE_SECONDS = 0.05
RELOAD_PAUSE_SECONDS = 3.0
LOADS = {
    # Transactions of several statements need a mode in which pgbench never blocks in PREPARE; see scripts/demo.sh.
    "transactions": ("-M", "extended", "-c", "60", "BEGIN;\nSELECT 1;\nSELECT pg_backend_pid();\nEND;\n"),
    "prepared": ("-M", "prepared", "-c", "60", "\\set id random(1, 1000)\nSELECT payload FROM small WHERE id = :id;\n"),
    "rows": ("-M", "simple", "-c", "4", "SELECT payload FROM small;\n"),
    "logins": ("-C", "-c", "2", "SELECT 1;\n"),
}


class SoakPooler(Pooler):
    """The pooler of the comparison with a second database and a pool size that changes."""

    def configure(self) -> list[str]:
        command = super().configure()
        self.config = Path(command[-1])
        calm, rough = (f"[databases.{name}]" for name in ("calm", "rough"))
        text = self.config.read_text(encoding="utf-8")
        table = text[text.index(calm) : text.index("[users.")]
        self.admin_port = free_port()
        text = text.replace(table, table + table.replace(calm, rough))
        before, _, after = text.partition('admin_listen = "')
        self.text = f'{before}admin_listen = "127.0.0.1:{self.admin_port}{after[after.index(chr(34)) :]}'
        self.config.write_text(self.text, encoding="utf-8")
        return command

    def reload(self, pool_size: int) -> None:
        line = "default_pool_size = "
        self.config.write_text(self.text.replace(f"{line}{POOL_SIZE}", f"{line}{pool_size}"), encoding="utf-8")
        self.child.send_signal(signal.SIGHUP)

    def get(self, path: str) -> dict:
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin_port}{path}", headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)


def main() -> int:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    site = Site(
        Path(options.folder), options.postgres_port, "bench", os.environ["BENCH_PASSWORD"], os.environ["BENCH_SCRAM_SECRET"],
        "calm", "",
    )  # fmt: skip
    pooler = SoakPooler("pooler", site, options.pooler)
    faults: list[str] = []
    pooler.start()
    try:
        memory = soak(pooler, options, faults)
        faults += leaks(pooler, memory)
        faults += shutdown(pooler)
    finally:
        pooler.stop()
    log = (pooler.folder / "output.log").read_text(errors="replace")
    if "panicked" in log:
        faults.append(f"the log tells of a panic:\n{log[-3000:]}")
    for fault in faults:
        print(f"FAILED {fault}", file=sys.stderr)
    print("soak: " + (f"{len(faults)} faults" if faults else "no fault"))
    return 1 if faults else 0


def soak(pooler: SoakPooler, options: argparse.Namespace, faults: list[str]) -> list[int]:
    """Runs everything at once; returns resident memory, a reading a second."""
    end = threading.Event()
    loads = {name: start_load(pooler, name, options) for name in LOADS}
    vandals = [threading.Thread(target=vandal, args=(pooler, end, options.seed + number)) for number in range(4)]
    vandals.append(threading.Thread(target=reloads, args=(pooler, end)))
    for thread in vandals:
        thread.start()
    memory = []
    try:
        deadline = time.monotonic() + options.seconds
        while time.monotonic() < deadline and pooler.child.poll() is None:
            memory.append(resident_bytes(pooler.pids()))
            end.wait(1)
    finally:
        end.set()
        for thread in vandals:
            thread.join()
        for name, load in loads.items():
            output, _ = load.communicate(timeout=60)
            if load.returncode != 0:
                faults.append(f"pgbench {name} ended with {load.returncode}:\n{output[-1500:]}")
            else:
                print(f"{name}: " + next(line for line in output.splitlines() if "actually processed" in line))
    if pooler.child.poll() is not None:
        faults.append(f"the pooler ended with {pooler.child.returncode} under load")
    return memory


def start_load(pooler: SoakPooler, name: str, options: argparse.Namespace) -> subprocess.Popen:
    *flags, script = LOADS[name]
    path = pooler.site.folder / f"{name}.sql"
    path.write_text(script, encoding="utf-8")
    return subprocess.Popen(
        [options.pgbench, "-n", "-h", "127.0.0.1", "-p", str(pooler.port), "-U", pooler.site.user,
         "-T", str(options.seconds), "-f", str(path), *flags, "calm"],
        env=dict(os.environ, PGPASSWORD=pooler.site.password), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def vandal(pooler: SoakPooler, end: threading.Event, seed: int) -> None:
    """Does one rude thing after the other. Errors that the pooler answers with are its good right."""
    choice = random.Random(seed)
    rude = (vanish_in_transaction, vanish_in_result, vanish_in_login, kill_servers, cancel, vanish_while_queued)
    while not end.wait(FAULT_PAUSE_SECONDS * choice.random()):
        with contextlib.suppress(ServerError, OSError):
            choice.choice(rude)(pooler)


def connect(pooler: SoakPooler) -> Connection:
    site = replace(pooler.site, database="rough")
    return Connection(pooler.port, site.user, site.password, site.database)


def vanish_in_transaction(pooler: SoakPooler) -> None:
    client = connect(pooler)
    client.query("BEGIN; SELECT 1")
    client.close()


def vanish_in_result(pooler: SoakPooler) -> None:
    client = connect(pooler)
    client.send("SELECT payload FROM big")
    client.socket.recv(100)
    client.close()


def vanish_while_queued(pooler: SoakPooler) -> None:
    clients = [connect(pooler) for _ in range(30)]
    for client in clients:
        client.send("SELECT pg_sleep(0.02)")
    for client in clients:
        client.close()


def vanish_in_login(pooler: SoakPooler) -> None:
    with socket.create_connection(("127.0.0.1", pooler.port), timeout=5) as client:
        client.sendall(b"\0\0\0\x20\0\3\0\0user\0be")


def kill_servers(pooler: SoakPooler) -> None:
    client = connect(pooler)
    client.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'rough' AND random() < 0.3")
    client.close()


def cancel(pooler: SoakPooler) -> None:
    client = connect(pooler)
    client.send("SELECT pg_sleep(5)")
    # The cancel may come before the query has a server; both must end well.
    time.sleep(0.01)
    client.cancel()
    with contextlib.suppress(ServerError):
        client.finish()
    client.close()


def reloads(pooler: SoakPooler, end: threading.Event) -> None:
    size = POOL_SIZE
    while not end.wait(RELOAD_PAUSE_SECONDS):
        size = POOL_SIZE // 2 if size == POOL_SIZE else POOL_SIZE
        pooler.reload(size)


def leaks(pooler: SoakPooler, memory: list[int]) -> list[str]:
    """What is still there when every client has gone."""
    deadline = time.monotonic() + REST_SECONDS
    while (held := not_at_rest(pooler)) and time.monotonic() < deadline:
        time.sleep(0.2)
    found = [f"not at rest {REST_SECONDS} s after the last client: {held}"] if held else []
    warm = memory[int(len(memory) * WARM_SHARE) :]
    growth = warm[-1] - warm[0]
    print(f"memory: {warm[0] >> 20} MiB after a quarter of the time, {warm[-1] >> 20} MiB at the end")
    if growth > MOST_GROWTH_BYTES:
        found.append(f"memory grew by {growth} bytes: {[one >> 20 for one in warm]} MiB")
    return found


def not_at_rest(pooler: SoakPooler) -> dict:
    """The counters that should be 0, of the pools that have any, and what Postgres says is open."""
    held = {}
    try:
        pools = pooler.get("/pools")["pools"]
    except (OSError, KeyError) as error:
        return {"admin API": repr(error)}
    for pool in pools:
        for key in ("clients_active", "clients_waiting", "servers_active"):
            if pool[key]:
                held[f"{pool['database']}.{key}"] = pool[key]
    site = pooler.site
    direct = Connection(site.postgres_port, site.user, site.password, "calm")
    try:
        open_sessions = "SELECT 1 FROM pg_stat_activity WHERE datname IN ('calm', 'rough') AND state <> 'idle' AND pid <> pg_backend_pid()"
        rows = direct.count(open_sessions)
    finally:
        direct.close()
    if rows:
        held["sessions of Postgres not idle"] = rows
    return held


def shutdown(pooler: SoakPooler) -> list[str]:
    pooler.child.send_signal(signal.SIGTERM)
    try:
        status = pooler.child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        return [f"still running {STOP_SECONDS} s after SIGTERM, without a client"]
    return [f"ended with {status} after SIGTERM"] if status != 0 else []


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="scratch folder")
    parser.add_argument("--postgres-port", type=int, required=True)
    parser.add_argument("--pgbench", required=True)
    parser.add_argument("--pooler", required=True)
    parser.add_argument("--seconds", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
