from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

TICK = 0.1  # seconds; by so much an attempt may overrun


class Cuttable(Protocol):
    """What a watchdog can stop from another thread."""

    expires_at: float

    def cut(self) -> None:
        """Make the thread that waits in it go on, with an error."""


class Watchdog:
    """
    Cut off what is over its deadline.

    The timeouts of sockets are for one operation each: an answer that drips a
    byte now and then never runs into them. One thread looks after all attempts
    in flight, and ends when there have been none for a while.
    """

    LINGER = 5.0  # seconds

    def __init__(self) -> None:
        self._watched: set[Cuttable] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watching(self, channel: Cuttable, deadline: float) -> Iterator[None]:
        """Cut the channel if the block takes longer than so many seconds."""
        channel.expires_at = time.monotonic() + deadline
        with self._lock:
            self._watched.add(channel)
            if self._thread is None:
                self._start()
        try:
            yield
        finally:
            with self._lock:
                self._watched.discard(channel)

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="brevo-events-watchdog", daemon=True)
        # Without one, at the system's limit or the interpreter's end, the timeouts of the socket remain.
        with suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        idle_since = time.monotonic()
        while True:
            time.sleep(TICK)
            now = time.monotonic()
            with self._lock:
                if self._watched:
                    idle_since = now
                elif now - idle_since > self.LINGER:
                    self._thread = None
                    return
                # Under the lock: a channel that has come back by now may be carrying another request already.
                for channel in self._watched:
                    if channel.expires_at <= now:
                        channel.cut()
