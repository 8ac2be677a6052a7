from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

TICK = 0.1  # seconds; an attempt may overrun by this much
LINGER = 5.0  # seconds


class Deadline:
    """The end of one attempt, and the socket to shut at that time."""

    def __init__(self, seconds: float) -> None:
        self.began_at = time.monotonic()
        self.ends_at = self.began_at + seconds
        self.is_over = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    @property
    def duration(self) -> float:
        """The seconds that the attempt has taken so far."""
        return time.monotonic() - self.began_at

    def left(self, at_most: float) -> float:
        """Return the seconds that are left, up to a limit; raises ``TimeoutError`` if there are none."""
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError("The deadline of the attempt was over before the connection could be used.")
        return min(left, at_most)

    def guard(self, used: socket.socket) -> None:
        """Shut this socket at the deadline, instead of an earlier one."""
        self._socket = used

    def release(self) -> socket.socket | None:
        """Leave the socket alone from now on, and return it: another attempt may use its connection."""
        with self._lock:
            released, self._socket = self._socket, None
        return released

    def cut(self) -> None:
        """Shut the socket, so that the thread waiting for it gets an error."""
        with self._lock:
            self.is_over = True
            if self._socket is not None:
                # The plain socket's method, because TLS would send a closing message and wait for the answer. urllib3's
                # own class for TLS within TLS isn't a socket, but has one.
                plain = getattr(self._socket, "socket", self._socket)
                with suppress(OSError):
                    socket.socket.shutdown(plain, socket.SHUT_RDWR)


class Deadlines:
    """
    Cuts off attempts at their deadlines.

    A socket's timeout is for one operation, so an answer that trickles in byte
    by byte never reaches it. One thread watches all attempts, and ends when
    there haven't been any for a while.
    """

    def __init__(self) -> None:
        self._running: set[Deadline] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def enforced(self, deadline: Deadline) -> Iterator[None]:
        """Cut off the block if it takes longer than its deadline."""
        with self._lock:
            self._running.add(deadline)
            if self._thread is None:
                self._start()
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(deadline)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="brevo-events-deadlines", daemon=True)
        # At the system's limit and during interpreter shutdown, no thread can be started: then there are only the
        # sockets' timeouts.
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        idle_since = time.monotonic()
        while True:
            time.sleep(TICK)
            now = time.monotonic()
            with self._lock:
                if self._running:
                    idle_since = now
                elif now - idle_since > LINGER:
                    self._thread = None
                    return
                overdue = [deadline for deadline in self._running if deadline.ends_at <= now]
            for deadline in overdue:
                deadline.cut()
