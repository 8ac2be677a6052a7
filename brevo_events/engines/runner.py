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
KEEP_CONNECTION = 2.0  # idle seconds; a connection from a pool isn't kept at all
BRIEF = 0.25  # idle seconds before it checks when the next event is due
GATHER = 0.03  # seconds between two passes: the second covers all nudges in between


class Runner(BackgroundThread):
    """A daemon thread that delivers, then sleeps until it is nudged or an event is due."""

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
        """Give back the events not yet started, and wait for the requests in flight, but not for a hanging thread."""
        self._worker.stop()
        self._wake.set()
        if not self.is_stuck:
            self.join(seconds_to_end())

    def abandon(self) -> None:
        """Send and record nothing more, even if the thread comes back."""
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
            # Events captured in the last moments of the process: send those that a single round can start.
            worker.work()

    def _sleep(self, until: float) -> None:
        """Sleep until nudged, or until an event is due, but at least until ``until``; keep no connection for long."""
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
    """Return the seconds until an event is due, at most the longest nap, with jitter."""
    longest = LONGEST_NAP * random.uniform(0.8, 1.0)  # noqa: S311 - jitter is no secret
    try:
        due, gate = seconds_until_due(), Gate.load()
    except Error:
        return LOOK_AGAIN
    if due is None or worker.lacks_setting:
        return longest
    if gate.is_paused:
        return min(longest, gate.seconds_until_resumed or longest)
    # An event that is due but wasn't sent is leased by another worker, or has just become due.
    return min(max(due or LOOK_AGAIN, gate.seconds_until_probe), longest)
