"""What is measured, and what the project promises for it. Holds no code that runs anything."""

from dataclasses import dataclass, field

# Rows that the two result workloads read; made once by `setup_sql`.
SMALL_ROWS = 1_000
BIG_ROWS = 10_000


@dataclass(frozen=True)
class Goal:
    """The ratio of the pooler to PgBouncer that must hold: at least `least`, or at most `most`."""

    least: float | None = None
    most: float | None = None

    def met(self, ratio: float) -> bool:
        return (self.least is None or ratio >= self.least) and (self.most is None or ratio <= self.most)

    def __str__(self) -> str:
        return f">= {self.least:.2f}" if self.least is not None else f"<= {self.most:.2f}"


@dataclass(frozen=True)
class Workload:
    """One run of a load. `sampling` is the share of transactions whose latency is written down."""

    name: str
    title: str
    clients: int
    script: str
    options: tuple[str, ...] = ()
    sampling: float = 1.0
    # pgbench starts its latency clock after the login, so a workload about logins has no latency to show.
    latency: bool = True
    # Set: not pgbench but our own client, which throws the reply away after checking that it has as many bytes.
    # For large results: libpq keeps them whole, which costs more than any proxy does and hides what they do.
    # For one client: pgbench reads no clock when the reply is there as soon as it looks, and writes a latency of 0.
    discard_bytes: int = 0
    # Set: through TLS, which only the two poolers do here, by benches/tls_load.rs, which is told to do this. pgbench and
    # libpq spend several times what a pooler does, on a login twenty times: they would be what is measured.
    tls: str = ""
    goals: dict[str, Goal] = field(default_factory=dict)


SELECT_1 = "SELECT 1;\n"
ONE_ROW = "\\set id random(1, 1000)\nSELECT payload FROM small WHERE id = :id;\n"
PIPELINE = "\\set id random(1, 1000)\n\\startpipeline\n" + "SELECT payload FROM small WHERE id = :id;\n" * 10 + "\\endpipeline\n"

WORKLOADS = (
    Workload("select1-1", "SELECT 1, simple, 1 client", 1, "SELECT 1", discard_bytes=50, goals={"p50": Goal(most=1.0)}),
    Workload(
        "select1-8", "SELECT 1, simple, 8 clients", 8, SELECT_1, sampling=0.1,
        goals={"tps": Goal(least=1.3), "cpu": Goal(most=1.0)},
    ),
    Workload(
        "select1-64", "SELECT 1, simple, 64 clients", 64, SELECT_1, sampling=0.1,
        goals={"tps": Goal(least=1.3), "cpu": Goal(most=0.8), "p99": Goal(most=1.1)},
    ),
    Workload(
        "prepared-64", "one row, prepared, 64 clients", 64, ONE_ROW, ("-M", "prepared"), sampling=0.1,
        goals={"tps": Goal(least=1.3), "cpu": Goal(most=0.8)},
    ),
    Workload(
        "pipeline-64", "10 prepared selects per Sync, 64 clients", 64, PIPELINE, ("-M", "prepared"),
        goals={"tps": Goal(least=2.0), "cpu": Goal(most=0.5)},
    ),
    Workload(
        "rows-16", "1,000 rows of 100 bytes, 16 clients", 16, "SELECT payload FROM small;\n",
        goals={"tps": Goal(least=1.4), "cpu": Goal(most=0.55)},
    ),
    Workload(
        "10mb-16", "10 MB results, 16 clients", 16, "SELECT payload FROM big", discard_bytes=10_000_000,
        goals={"tps": Goal(least=2.0), "cpu": Goal(most=0.37)},
    ),
    Workload(
        "reconnect-16", "login (SCRAM) and SELECT 1, 16 clients", 16, SELECT_1, ("-C",), latency=False,
        goals={"cpu": Goal(most=0.9)},
    ),
    Workload(
        "tls-select1-64", "SELECT 1, simple, 64 clients, TLS", 64, SELECT_1, tls="queries",
        goals={"tps": Goal(least=1.3)},
    ),
    Workload(
        "tls-reconnect-16", "login (TLS, SCRAM) and SELECT 1, 16 clients", 16, SELECT_1, tls="logins",
        goals={"tps": Goal(least=2.0)},
    ),
)


@dataclass(frozen=True)
class Holding:
    """One run of the holding client (`hold.py`): idle clients, or one large result."""

    name: str
    title: str
    clients: int = 0
    result_bytes: int = 0
    # The pooler's own figure, not a ratio: bytes of resident memory a client, or in all.
    most_bytes: int | None = None
    tls: bool = False


HOLDINGS = (
    Holding("idle-3000", "3,000 idle clients, memory of each", clients=3_000, most_bytes=2_500),
    Holding("idle-15000", "15,000 idle clients, memory of each", clients=15_000),
    Holding("tls-idle-1000", "1,000 idle TLS clients, memory of each", clients=1_000, most_bytes=24 << 10, tls=True),
    Holding("1gb", "1 GB result, extra memory at the peak", result_bytes=1_000_000_000, most_bytes=4 << 20),
)


def setup_sql() -> str:
    """Tables whose rows fit a page, so that reading them costs Postgres as little as it can."""
    return (
        "DROP TABLE IF EXISTS small, big;"
        f"CREATE TABLE small AS SELECT id, rpad(id::text, 100, 'x') AS payload FROM generate_series(1, {SMALL_ROWS}) id;"
        "ALTER TABLE small ADD PRIMARY KEY (id);"
        f"CREATE TABLE big AS SELECT rpad(id::text, 1000, 'x') AS payload FROM generate_series(1, {BIG_ROWS}) id;"
    )
