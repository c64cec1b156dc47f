"""The things compared: Postgres itself and the proxies before it, each with its configuration. Measures nothing."""

import os
import pwd
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from process import family

# Servers for the two poolers; haproxy and Postgres itself use one a client.
POOL_SIZE = 20
# More than the 15,000 that are held at once, so that no limit is part of the measurement.
MAX_CLIENTS = 20_000
# HAProxy needs two files a client up front, and never sees more than Postgres takes.
HAPROXY_MAX_CLIENTS = 1_000
START_SECONDS = 10.0
STOP_SECONDS = 5.0


class NotStarted(Exception):
    """A proxy ended or did not listen in time; the text ends with its own words."""


@dataclass(frozen=True)
class Site:
    """Where Postgres is, whom to log in as, and where files may be written."""

    folder: Path
    postgres_port: int
    user: str
    password: str
    # What Postgres keeps of the password, as an auth_file copied from pg_authid has it.
    scram_secret: str
    database: str
    # Who runs what refuses to be root; empty when the caller is not root.
    drop_to: str
    # Of the poolers' certificate: ec (P-256), or rsa:BITS.
    key: str = "ec"

    @cached_property
    def papers(self) -> tuple[str, str]:
        """What the poolers show to clients that ask for TLS: a fresh certificate, and its key."""
        cert, key = self.folder / "bench.pem", self.folder / "bench.key"
        curve = ("-pkeyopt", "ec_paramgen_curve:P-256") if self.key == "ec" else ()
        subprocess.run(
            [
                "openssl", "req", "-x509", "-newkey", self.key, *curve, "-nodes", "-days", "2",
                "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", str(cert), "-keyout", str(key),
            ],
            check=True, capture_output=True,
        )  # fmt: skip
        return cert.read_text(encoding="ascii"), key.read_text(encoding="ascii")


class Target:
    """One column of the table. A target without a process is Postgres itself."""

    def __init__(self, name: str, site: Site, program: str = ""):
        self.name = name
        self.site = site
        self.program = program
        self.port = site.postgres_port
        self.child: subprocess.Popen | None = None

    def start(self) -> None:
        if not self.program:
            return
        self.port = free_port()
        self.folder = self.site.folder / self.name
        self.folder.mkdir(exist_ok=True)
        command = self.configure()
        with open(self.folder / "output.log", "ab") as log:
            # Its own group: Ctrl-C reaches this program first, which then stops its children in order.
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        self._wait_until_it_listens()

    def stop(self) -> None:
        child, self.child = self.child, None
        if child is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGTERM)
        # The second one means "now" to PgBouncer.
        time.sleep(0.05)
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def pids(self) -> list[int]:
        return family(self.child.pid) if self.child else []

    def configure(self) -> list[str]:
        """Writes the configuration into `self.folder` and returns the command."""
        raise NotImplementedError

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        if self.site.drop_to:
            owner = pwd.getpwnam(self.site.drop_to)
            os.chown(path, owner.pw_uid, owner.pw_gid)
        return str(path)

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.child.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        log = (self.folder / "output.log").read_text(errors="replace")
        raise NotStarted(f"{self.name} ({self.program}) did not start:\n{log[-2000:]}")


class Haproxy(Target):
    def configure(self) -> list[str]:
        text = f"""global
    maxconn {HAPROXY_MAX_CLIENTS}
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
frontend clients
    bind 127.0.0.1:{self.port}
    default_backend postgres
backend postgres
    server postgres 127.0.0.1:{self.site.postgres_port}
"""
        return [self.program, "-db", "-f", self.write("haproxy.cfg", text)]


class PgBouncer(Target):
    def configure(self) -> list[str]:
        site = self.site
        cert, key = (self.write(name, text) for name, text in zip(("server.pem", "server.key"), site.papers, strict=True))
        users = self.write("users.txt", f'"{site.user}" "{site.scram_secret}"\n')
        text = f"""[databases]
{site.database} = host=127.0.0.1 port={site.postgres_port} user={site.user} password={site.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {POOL_SIZE}
max_client_conn = {MAX_CLIENTS}
max_prepared_statements = 200
client_tls_sslmode = allow
client_tls_cert_file = {cert}
client_tls_key_file = {key}
log_connections = 0
log_disconnections = 0
log_stats = 0
"""
        if site.drop_to:
            text += f"user = {site.drop_to}\n"
        return [self.program, self.write("pgbouncer.ini", text)]


class Pooler(Target):
    def configure(self) -> list[str]:
        site = self.site
        cert, key = (self.write(name, text) for name, text in zip(("server.pem", "server.key"), site.papers, strict=True))
        text = f"""[listen]
listen_addr = "127.0.0.1"
listen_port = {self.port}

[pool]
default_pool_size = {POOL_SIZE}

[limits]
max_client_conn = {MAX_CLIENTS}

[auth]
auth_type = "scram-sha-256"

[tls]
client_tls_sslmode = "allow"
client_tls_cert_file = "{cert}"
client_tls_key_file = "{key}"

[admin]
admin_listen = "127.0.0.1:{free_port()}"

[log]
level = "warn"
log_connections = false
log_disconnections = false

[databases.{site.database}]
host = "127.0.0.1"
port = {site.postgres_port}
user = "{site.user}"
password = "{site.password}"

[users.{site.user}]
password = "{site.scram_secret}"
"""
        return [self.program, "--config", self.write("pooler.toml", text)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
