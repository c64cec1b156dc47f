"""psycopg 3 logs in as each line of the file says, and prints what came of it, a line each. See tests/clients/logins.rs."""

import sys

import psycopg

KEYS = ("host", "port", "dbname", "user", "password", "sslmode", "sslrootcert", "sslcert", "sslkey")


def outcome(line: str) -> str:
    settings = dict(zip(KEYS, line.rstrip("\n").split("\t"), strict=True))
    # Without a certificate of its own, and never the developer's.
    settings = {key: value or "/nonexistent" if key.startswith("ssl") else value for key, value in settings.items()}
    if not settings["password"]:
        del settings["password"]
    try:
        with psycopg.connect(connect_timeout=20, gssencmode="disable", **settings) as connection:
            return "let in" if connection.execute("SELECT 1").fetchone() == (1,) else "a wrong answer"
    except psycopg.Error as error:
        return " ".join(str(error).split())


with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        print(outcome(line), flush=True)
