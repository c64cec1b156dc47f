"""A Postgres client of a few bytes: logs in by SCRAM-SHA-256, runs simple queries, throws the rows away.

For holding thousands of connections from one process and for reading results too large for pgbench.
"""

import base64
import functools
import hashlib
import hmac
import os
import socket
import ssl
import struct
from collections.abc import Iterator

PROTOCOL_3_0 = 196608
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
AUTH_OK, AUTH_SASL, AUTH_SASL_CONTINUE, AUTH_SASL_FINAL = 0, 10, 11, 12
READ_BYTES = 1 << 18
LOGIN_SECONDS = 60
# ReadyForQuery, outside a transaction: the last bytes of a reply.
READY_IDLE = b"Z\0\0\0\x05I"
# Messages longer than this are counted but not kept.
KEPT_BYTES = 1 << 16


class ServerError(Exception):
    """The other side sent an ErrorResponse, or nothing at all."""


class Connection:
    def __init__(self, port: int, user: str, password: str, database: str, *, tls: bool = False):
        self.port = port
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LOGIN_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self._begin_tls()
        self.buffer = b""
        self.cancel_key = b""
        parameters = f"user\0{user}\0database\0{database}\0\0".encode()
        self.socket.sendall(struct.pack("!ii", 8 + len(parameters), PROTOCOL_3_0) + parameters)
        self._authenticate(password)
        for tag, _, body in self._messages():
            if tag == b"K":
                self.cancel_key = body

    def query(self, sql: str) -> int:
        """Runs one simple query; returns how many bytes the reply had."""
        self.send(sql)
        return self.finish()

    def count(self, sql: str) -> int:
        """Runs one simple query; returns how many rows it gave."""
        self.send(sql)
        return sum(tag == b"D" for tag, _, _ in self._messages())

    def send(self, sql: str) -> None:
        body = sql.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack("!i", 4 + len(body)) + body)

    def finish(self) -> int:
        """Reads up to ReadyForQuery; returns how many bytes that were."""
        return sum(length for _, length, _ in self._messages())

    def cancel(self) -> None:
        """Asks, on a connection of its own, that what runs here be cancelled."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=LOGIN_SECONDS) as side:
            side.sendall(struct.pack("!ii", 8 + len(self.cancel_key), CANCEL_REQUEST) + self.cancel_key)
            side.recv(1)

    def discard(self, sql: str, scratch: memoryview) -> int:
        """As `query`, cheaper: looks for the end only, which no row may therefore hold (a NUL cannot be in text)."""
        self.send(sql)
        seen, tail = 0, b""
        while tail != READY_IDLE:
            size = self.socket.recv_into(scratch)
            if size == 0:
                raise ServerError("connection closed by the other side")
            if seen == 0 and scratch[0] == ord("E"):
                raise ServerError(bytes(scratch[:size]).decode(errors="replace"))
            seen += size
            tail = (tail + bytes(scratch[max(0, size - len(READY_IDLE)) : size]))[-len(READY_IDLE) :]
        return seen

    def close(self) -> None:
        """Without a Terminate message: the other side sees the socket end."""
        self.socket.close()

    def _begin_tls(self) -> None:
        self.socket.sendall(struct.pack("!ii", 8, SSL_REQUEST))
        if self.socket.recv(1) != b"S":
            raise ServerError("the other side does not do TLS")
        self.socket = _believing_anybody().wrap_socket(self.socket)

    def _authenticate(self, password: str) -> None:
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n=,r={nonce}"
        while True:
            tag, _, body = self._message()
            if tag != b"R":
                raise ServerError(f"login: unexpected message {tag!r}")
            kind = struct.unpack_from("!i", body)[0]
            if kind == AUTH_OK:
                return
            if kind == AUTH_SASL:
                initial = b"n,," + first.encode()
                self._password_message(b"SCRAM-SHA-256\0" + struct.pack("!i", len(initial)) + initial)
            elif kind == AUTH_SASL_CONTINUE:
                self._password_message(_proof(password, first, body[4:].decode()))
            elif kind != AUTH_SASL_FINAL:
                raise ServerError(f"login: authentication request {kind} is not SCRAM")

    def _password_message(self, body: bytes) -> None:
        self.socket.sendall(b"p" + struct.pack("!i", 4 + len(body)) + body)

    def _messages(self) -> Iterator[tuple[bytes, int, bytes]]:
        """All messages up to and including ReadyForQuery."""
        while True:
            message = self._message()
            yield message
            if message[0] == b"Z":
                return

    def _message(self) -> tuple[bytes, int, bytes]:
        """Tag, length on the wire, body. The body of a long message is empty: it is read and thrown away."""
        while len(self.buffer) < 5:
            self._read()
        tag = self.buffer[:1]
        length = 1 + struct.unpack_from("!i", self.buffer, 1)[0]
        rest = length
        while len(self.buffer) < rest:
            if length > KEPT_BYTES:
                rest -= len(self.buffer)
                self.buffer = b""
            self._read()
        body = self.buffer[5:rest] if length <= KEPT_BYTES else b""
        self.buffer = self.buffer[rest:]
        if tag == b"E":
            raise ServerError(body.replace(b"\0", b" ").decode(errors="replace"))
        return tag, length, body

    def _read(self) -> None:
        data = self.socket.recv(READ_BYTES)
        if not data:
            raise ServerError("connection closed by the other side")
        self.buffer += data


def _proof(password: str, first: str, server_first: str) -> bytes:
    fields = dict(part.split("=", 1) for part in server_first.split(","))
    client_key = _client_key(password, fields["s"], int(fields["i"]))
    without_proof = f"c=biws,r={fields['r']}"
    message = f"{first},{server_first},{without_proof}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()


@functools.cache
def _believing_anybody() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# The salt is the same for every login, so thousands of them cost one PBKDF2.
@functools.lru_cache(maxsize=16)
def _client_key(password: str, salt: str, iterations: int) -> bytes:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), iterations)
    return hmac.digest(salted, b"Client Key", "sha256")
