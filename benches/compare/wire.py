"""A Postgres client of a few bytes: logs in by SCRAM-SHA-256, runs simple queries, throws the rows away.

For holding thousands of connections from one process and for reading results too large for pgbench.
"""

import base64
import functools
import hashlib
import hmac
import os
import socket
import struct

PROTOCOL_3_0 = 196608
AUTH_OK, AUTH_SASL, AUTH_SASL_CONTINUE, AUTH_SASL_FINAL = 0, 10, 11, 12
READ_BYTES = 1 << 18
# ReadyForQuery, outside a transaction: the last bytes of a reply.
READY_IDLE = b"Z\0\0\0\x05I"
LOGIN_SECONDS = 60


class ServerError(Exception):
    """The other side sent an ErrorResponse, or nothing at all."""


class Connection:
    def __init__(self, port: int, user: str, password: str, database: str):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=LOGIN_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        parameters = f"user\0{user}\0database\0{database}\0\0".encode()
        self.socket.sendall(struct.pack("!ii", 8 + len(parameters), PROTOCOL_3_0) + parameters)
        self._authenticate(password)
        self._until_ready()

    def query(self, sql: str) -> int:
        """Runs one simple query; returns how many bytes the reply had."""
        body = sql.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack("!i", 4 + len(body)) + body)
        return self._until_ready()

    def discard(self, sql: str, scratch: memoryview) -> int:
        """As `query`, cheaper: looks for the end only, which no row may therefore hold (a NUL cannot be in text)."""
        body = sql.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack("!i", 4 + len(body)) + body)
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
        self.socket.close()

    def _authenticate(self, password: str) -> None:
        nonce = base64.b64encode(os.urandom(18)).decode()
        first = f"n=,r={nonce}"
        while True:
            tag, body = self._message()
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

    def _message(self) -> tuple[bytes, bytes]:
        while True:
            if len(self.buffer) >= 5:
                length = 1 + struct.unpack_from("!i", self.buffer, 1)[0]
                if len(self.buffer) >= length:
                    tag, body = self.buffer[:1], self.buffer[5:length]
                    self.buffer = self.buffer[length:]
                    if tag == b"E":
                        raise ServerError(body.replace(b"\0", b" ").decode(errors="replace"))
                    return tag, body
            self._read()

    def _until_ready(self) -> int:
        """Skips messages up to ReadyForQuery; long ones are never held whole."""
        seen = 0
        while True:
            while len(self.buffer) < 5:
                self._read()
            tag = self.buffer[:1]
            if tag == b"E":
                self._message()
            length = 1 + struct.unpack_from("!i", self.buffer, 1)[0]
            seen += length
            while len(self.buffer) < length:
                length -= len(self.buffer)
                self.buffer = b""
                self._read()
            self.buffer = self.buffer[length:]
            if tag == b"Z":
                return seen

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


# The salt is the same for every login, so thousands of them cost one PBKDF2.
@functools.lru_cache(maxsize=16)
def _client_key(password: str, salt: str, iterations: int) -> bytes:
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(salt), iterations)
    return hmac.digest(salted, b"Client Key", "sha256")
