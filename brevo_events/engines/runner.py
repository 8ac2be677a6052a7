from __future__ import annotations

import random
import threading
import time

from django.db import Error, connections

from brevo_events.connections import owned_connections
from brevo_events.delivery import seconds_until_due
from brevo_events.delivery.observers import Observers
from brevo_events.engines.background import BackgroundThread
from brevo_events.models import Gate
from brevo_events.worker import Worker, seconds_to_end

LONGEST_NAP = 30.0  # seconds
LOOK_AGAIN = 1.0  # seconds
KEEP_CONNECTION = 2.0  # seconds of idleness; one from a pool is not kept at all
BRIEF = 0.25  # seconds of idleness before it looks when the next event is due
GATHER = 0.03  # seconds between two passes: nudges in between are served together by the second


class Runner(BackgroundThread):
    """A daemon thread that delivers, and sleeps until something is due or it is nudged."""

    def __init__(self) -> None:
        super().__init__("brevo-events")
        self._observers = Observers()
        self._worker = Worker(engine="thread", notify=self._observers)
        self._wake = threading.Event()
        self._is_nudged = threading.Event()

    @property
    def is_stuck(self) -> bool:
        return self._worker.is_stuck

    def nudge(self) -> None:
        self._is_nudged.set()
        self._wake.set()

    def finish(self) -> None:
        """Give back what has not begun, and wait for what is in flight; a hanging thread is not waited for."""
        self._worker.stop()
        self._wake.set()
        if not self.is_stuck:
            self.join(seconds_to_end())

    def abandon(self) -> None:
        """Send and record nothing more, should it ever come back."""
        self._worker.abandon()
        self._wake.set()

    def run(self) -> None:
        """Deliver until finished."""
        with owned_connections():
            try:
                self._deliver()
            finally:
                self._worker.finish()
                connections.close_all()
                self._observers.finish()

    def _deliver(self) -> None:
        worker = self._worker
        while not worker.stopping.is_set():
            began = time.monotonic()
            self._wake.clear()
            self._is_nudged.clear()
            worker.drain()
            if not worker.stopping.is_set():
                self._sleep(began + GATHER)
        if self._is_nudged.is_set() and not worker.is_abandoned:
            # Captured in the last moments of the process: what a single round can start is sent.
            worker.work()

    def _sleep(self, until: float) -> None:
        """Sleep until nudged or something is due, and until a moment in any case, keeping no connection for long."""
        with self._worker.asleep():
            is_woken = self._wake.wait(BRIEF)
            self._worker.stopping.wait(max(0.0, until - time.monotonic()))
        if is_woken or self._worker.stopping.is_set():
            return
        seconds = nap(self._worker)
        with self._worker.asleep():
            if not self._wake.wait(min(seconds, KEEP_CONNECTION)):
                connections.close_all()
                self._wake.wait(max(0.0, seconds - KEEP_CONNECTION))


def nap(worker: Worker) -> float:
    """Return the seconds until something is due, at most the longest nap, with jitter."""
    longest = LONGEST_NAP * random.uniform(0.8, 1.0)  # noqa: S311 - jitter is no secret
    try:
        due, gate = seconds_until_due(), Gate.load()
    except Error:
        return LOOK_AGAIN
    if due is None or worker.lacks_setting:
        return longest
    if gate.is_paused:
        return min(longest, gate.seconds_until_resumed or longest)
    # What is due and was not sent is held by another worker, or has fallen due just now.
    return min(max(due or LOOK_AGAIN, gate.seconds_until_probe), longest)
