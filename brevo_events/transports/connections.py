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

IDLE_LIMIT = 30.0  # seconds; servers and proxies drop a connection that has been idle for longer


class Attempt(Deadline):
    """One event on its way, perhaps over two connections."""

    is_reused = False
    is_answered = False  # by one byte at least
    wants_new = False

    def __init__(self, key: Secret, seconds: float) -> None:
        super().__init__(seconds)
        self.key = key

    @property
    def lost_its_connection(self) -> bool:
        """Whether the server may have closed a kept connection just when it was used again."""
        return self.is_reused and not self.is_answered


# Which connection carries an attempt is decided deep in urllib3, in the attempt's own thread.
current = threading.local()


class _Response(client.HTTPResponse):
    """An answer whose head causes no trouble to the connection, to urllib3 or to the key."""

    def begin(self) -> None:
        if self.headers is None and self.fp.peek(1):
            current.attempt.is_answered = True
        super().begin()
        while self.status < 200:
            # http.client skips a 100 only. After another interim answer the final one would be that of the next event.
            self.headers = self.msg = None  # type: ignore[assignment]
            super().begin()
        self._distrust_lengths()
        # urllib3 logs malformed headers with all that follows them, and that may be an echo of the key.
        self.msg.defects.clear()
        self.msg.set_payload("")

    def _distrust_lengths(self) -> None:
        lengths = self.headers.get_all("content-length", ["0"])
        if self.status in (204, 304) and ("transfer-encoding" in self.headers or lengths != ["0"]):
            # There is no body. Whatever comes in spite of that would be taken for the next answer.
            self.chunked, self.will_close = False, True
        if len(lengths) > 1 or not lengths[0].isdecimal():
            # urllib3 would refuse the whole answer.
            del self.headers["content-length"]
            self.will_close = True

    def read(self, amt: int | None = None) -> bytes:
        if amt is None or amt < 0:
            return super().read(amt)
        # read() would take a chunk of size -1 for everything that comes; this never takes more than there is room for.
        content = bytearray(amt)
        return bytes(content[: self.readinto(content)])


class _Connection:
    """A connection that the deadline of its attempt can cut, from connecting on."""

    # Whatever the project sets at http.client's own class: it would print the key with each request.
    debuglevel = 0
    response_class: Any = _Response
    idle_since = 0.0
    host: str
    port: int
    sock: Any
    timeout: Any
    socket_options: Any

    def _new_conn(self) -> socket.socket:
        # urllib3's own would give each address of the host the whole timeout.
        failure = OSError("The host has no address.")
        for family, kind, protocol, _, address in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM):
            bare = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    bare.setsockopt(*option)
                bare.settimeout(current.attempt.left(self.timeout))
                bare.connect(address)
                bare.settimeout(current.attempt.left(self.timeout))
                # TLS takes the bare socket over: during the handshake only a second handle can shut it.
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
            del failure  # its traceback has this frame, which would have it

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        # The key comes in here, so that no request that requests or a tracing tool sees has it.
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
    """A pool that knows which attempt has a connection, and replaces one that has been idle for long."""

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
