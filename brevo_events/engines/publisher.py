from __future__ import annotations

import threading
import time
from collections.abc import Callable

from django.db import connections

from brevo_events.engines.background import BackgroundThread
from brevo_events.engines.complaints import Complaints

INTERVAL = 0.1  # seconds between two tasks from one process: the second covers all nudges in between
RETRY = 1.0  # seconds before a failed queue is tried again
KEEP_CONNECTION = 2.0  # idle seconds: the queue may be in the database
PATIENCE = 2.0  # seconds for queueing a process's last task


class Publisher(BackgroundThread):
    """
    A daemon thread that queues a task when nudged, and one more for the nudges that follow closely.

    It is a thread because a broker that doesn't answer may block its caller for
    minutes.
    """

    def __init__(self, enqueue: Callable[[], object]) -> None:
        super().__init__("brevo-events-publisher")
        self._enqueue = enqueue
        self._wake = threading.Event()
        self._is_nudged = threading.Event()
        self._is_over = threading.Event()
        self._complaints = Complaints()
        self._ends_by: float | None = None

    def nudge(self) -> None:
        self._is_nudged.set()
        self._wake.set()

    def finish(self) -> None:
        if self._ends_by is None:  # called twice when a process ends
            self._ends_by = time.monotonic() + PATIENCE
        self._is_over.set()
        self._wake.set()
        self.join(max(0.0, self._ends_by - time.monotonic()))

    def run(self) -> None:
        """Queue tasks until finished, the last one for nudges just before the end."""
        while not self._is_over.is_set():
            if not self._wake.wait(KEEP_CONNECTION):
                connections.close_all()
                self._wake.wait()
            self._wake.clear()
            self._is_over.wait(self._serve())
        self._serve()
        connections.close_all()

    def _serve(self) -> float:
        """Queue a task if nudged, and return the seconds until the next one may be queued."""
        if not self._is_nudged.is_set():
            return 0.0
        self._is_nudged.clear()
        try:
            self._enqueue()
        except Exception as error:  # noqa: BLE001 - whatever a queue raises, the next nudge may fare better
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            self._complaints.log(f"No task could be queued. Events are kept, and sent later. {reason}")
            connections.close_all()
            self.nudge()
            return RETRY
        self._complaints.forget()
        return INTERVAL
