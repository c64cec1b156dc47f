"""libpq 18, which psycopg brings along, logs in with each token of the file: it asks the pooler where to get one, and is given
it by a hook, as applications do. Prints what libpq was told and what came of it. See tests/clients/tokens.rs."""

import ctypes
import sys
from pathlib import Path

import psycopg
import psycopg_binary

# PGauthData and PGoauthBearerRequest (libpq-fe.h).
BEARER_TOKEN = 1


class Request(ctypes.Structure):
    _fields_ = [
        ("openid_configuration", ctypes.c_char_p),
        ("scope", ctypes.c_char_p),
        ("poll", ctypes.c_void_p),
        ("cleanup", ctypes.c_void_p),
        ("token", ctypes.c_char_p),
        ("user", ctypes.c_void_p),
    ]


assert psycopg.pq.version() >= 180000, "psycopg brings an older libpq"
folder = Path(psycopg_binary.__file__).parent.with_name("psycopg_binary.libs")
libpq = ctypes.CDLL(str(next(folder.glob("libpq-*"))))
state = {}


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
def give_token(kind: int, _connection: int, data: int) -> int:
    if kind != BEARER_TOKEN:
        return 0
    request = ctypes.cast(data, ctypes.POINTER(Request)).contents
    state["told"] = f"{request.openid_configuration.decode()} {request.scope.decode()}"
    request.token = state["token"]
    return 1


def outcome(token: str) -> str:
    state.update(told="nothing", token=token.encode())
    try:
        with psycopg.connect(
            oauth_issuer=sys.argv[1], oauth_client_id="shop", require_auth="oauth", connect_timeout=20
        ) as connection:
            return connection.execute("SELECT 'let in as ' || current_user").fetchone()[0]
    except psycopg.Error as error:
        return " ".join(str(error).split())


libpq.PQsetAuthDataHook(give_token)
with open(sys.argv[2], encoding="utf-8") as lines:
    for line in lines:
        said = outcome(line.strip())
        print(f"{state['told']}: {said}", flush=True)
