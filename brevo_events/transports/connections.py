from __future__ import annotations

import socket
import threading
import time
from http import client
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from brevo_events.secrets import Secret
from brevo_events.transports.deadlines import Deadline

IDLE_LIMIT = 30.0  # seconds; servers and proxies drop connections that are idle for longer


class Attempt(Deadline):
    """One request in progress, perhaps over two connections."""

    is_reused = False
    is_answered = False  # with at least one byte
    wants_new = False

    def __init__(self, key: Secret, seconds: float) -> None:
        super().__init__(seconds)
        self.key = key

    @property
    def lost_its_connection(self) -> bool:
        """Whether the server may have closed a kept connection just when it was used again."""
        return self.is_reused and not self.is_answered


# Deep in urllib3, the attempt's own thread decides which connection to use.
current = threading.local()


class _Response(client.HTTPResponse):
    """An answer whose head can't harm the connection, urllib3 or the key."""

    def begin(self) -> None:
        if self.headers is None and self.fp.peek(1):
            current.attempt.is_answered = True
        super().begin()
        while self.status < 200:
            # http.client only skips a 100. After another interim answer, the final one would be taken for the next
            # event's.
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
        self._distrust_lengths()
        # urllib3 logs malformed headers and everything after them, which may repeat the key.
        self.msg.defects.clear()
        self.msg.set_payload("")

    def _distrust_lengths(self) -> None:
        lengths = self.headers.get_all("content-length", ["0"])
        if self.status in (204, 304) and ("transfer-encoding" in self.headers or lengths != ["0"]):
            # There is no body. Anything sent anyway would be taken for the next answer.
            self.chunked, self.will_close = False, True
        if len(lengths) > 1 or not lengths[0].isdecimal():
            # urllib3 would reject the whole answer.
            del self.headers["content-length"]
            self.will_close = True

    def read(self, amt: int | None = None) -> bytes:
        if amt is None or amt < 0:
            return super().read(amt)
        # read() would take a chunk size of -1 to mean everything; this never reads more than there is room for.
        content = bytearray(amt)
        return bytes(content[: self.readinto(content)])


class _Connection:
    """A connection that its attempt's deadline can cut, from connecting on."""

    # Even if the project sets this on http.client's own class: it would print the key with each request.
    debuglevel = 0
    response_class: Any = _Response
    idle_since = 0.0
    host: str
    port: int
    sock: Any
    timeout: Any
    socket_options: Any

    def _new_conn(self) -> socket.socket:
        # urllib3's own method would allow the whole timeout for each of the host's addresses.
        failure = OSError("The host has no address.")
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            bare = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    bare.setsockopt(*option)
                bare.settimeout(current.attempt.left(self.timeout))
                bare.connect(address)
                bare.settimeout(current.attempt.left(self.timeout))
                # TLS takes over the plain socket: during the handshake, only a second handle can shut it.
                current.attempt.guard(bare.dup())
            except BaseException as error:
                bare.close()
                if not isinstance(error, OSError):
                    raise
                failure = error
            else:
                return bare
        try:
            raise failure
        finally:
            del failure  # its traceback contains this frame, which would refer to it

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        # The key is added here, so that no request seen by requests or a tracing tool contains it.
        if key := current.attempt.key:
            self.putheader(key.header, key.reveal())  # type: ignore[attr-defined]
        super().endheaders(*args, **kwargs)  # type: ignore[misc]

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc]
        finally:
            if handle := current.attempt.release():
                handle.close()
        current.attempt.guard(self.sock)
        current.attempt.left(0)


class _Pool:
    """A pool that knows which attempt uses a connection, and replaces connections that were idle for too long."""

    def _get_conn(self, timeout: float | None = None) -> Any:
        current.attempt.left(0)
        connection = super()._get_conn(timeout)  # type: ignore[misc]
        if connection.sock is None:
            return connection
        if current.attempt.wants_new or time.monotonic() - connection.idle_since > IDLE_LIMIT:
            connection.close()
            return self._new_conn()  # type: ignore[attr-defined]
        current.attempt.is_reused = True
        current.attempt.guard(connection.sock)
        return connection

    def _put_conn(self, connection: Any) -> None:
        current.attempt.release()
        if connection is not None:
            connection.idle_since = time.monotonic()
        super()._put_conn(connection)  # type: ignore[misc]


class _PlainConnection(_Connection, HTTPConnection):
    pass


class _TlsConnection(_Connection, HTTPSConnection):
    pass


class _PlainPool(_Pool, HTTPConnectionPool):
    ConnectionCls: Any = _PlainConnection


class _TlsPool(_Pool, HTTPSConnectionPool):
    ConnectionCls: Any = _TlsConnection


POOLS = {"http": _PlainPool, "https": _TlsPool}
