from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from brevo_events import transports
from brevo_events.conf import settings
from brevo_events.delivery.attempts import Attempt, Senders
from brevo_events.delivery.claims import claim, lease_seconds, outbox
from brevo_events.delivery.records import record
from brevo_events.models import Gate

TICK = 0.2  # seconds between two looks at the deadlines of what is in flight

Delivered = Counter[str]
_busy = threading.local()


def deliver(*, limit: int | None = None, progress: Callable[[Attempt], None] = lambda _attempt: None) -> Delivered:
    """
    Send what is due, at most ``limit`` events, and return how many ended in which status.

    Call it outside any transaction, which would stay open during the requests.
    Raises ``InvalidSetting`` where nothing could be sent; then nothing is
    claimed either. A call from within itself, by an observer, does nothing:
    the outer one goes on until nothing is due.
    """
    if getattr(_busy, "delivering", False):
        return Delivered()
    _busy.delivering = True
    try:
        return _Pass(limit, progress).run()
    finally:
        _busy.delivering = False


class _Pass:
    """Own the database for one delivery: claim, feed the senders, record what has come back."""

    def __init__(self, limit: int | None, progress: Callable[[Attempt], None]) -> None:
        self._left = limit
        self._progress = progress
        self._capacity = 2 * settings.CONCURRENCY
        self._senders = Senders(
            transports.current(), concurrency=settings.CONCURRENCY, deadline=settings.attempt_deadline
        )
        self._unrecorded: list[Attempt] = []
        self._delivered = Delivered()

    def run(self) -> Delivered:
        try:
            while True:
                self._feed()
                if not self._senders and not self._unrecorded:
                    return self._delivered
                self._unrecorded += self._senders.collect(TICK)
                self._record()
        finally:
            self._senders.stop()

    def _feed(self) -> None:
        room = self._capacity - len(self._senders) - len(self._unrecorded)
        if self._left is not None:
            room = min(room, self._left)
        gate = Gate.load()
        if gate.is_closed:
            self._unrecorded += self._senders.recall()
            room = int(room > 0 and not self._senders and self._may_probe(gate))
        began = time.monotonic()
        for event in claim(room):
            self._senders.start(Attempt(event, gate, began + lease_seconds()))
            if self._left is not None:
                self._left -= 1

    def _may_probe(self, gate: Gate) -> bool:
        return gate.is_probe_due and outbox().due().exists() and gate.win_probe()

    def _record(self) -> None:
        if not self._unrecorded:
            return
        locked = record(self._unrecorded)
        for attempt in set(self._unrecorded).difference(locked):
            self._delivered[attempt.event.status] += 1
            self._progress(attempt)
        self._unrecorded = locked
