"""Which processes deliver, according to their own reports."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import suppress
from datetime import datetime, timedelta

from django.db import Error
from django.db.models import Max
from django.utils import timezone

from brevo_events import __version__
from brevo_events.clock import UtcNow, in_seconds
from brevo_events.journal import MAX_HOST_LENGTH, Heartbeat

logger = logging.getLogger(__name__)

LOOP = "worker"  # the engine that send_brevo_events --loop reports
PERIOD = 10.0  # seconds between two reports, at least
ALIVE = timedelta(seconds=60)  # a thread sleeps for at most 30 seconds
KEPT = 3600.0  # seconds after the last report until another starting process deletes the row
SHOWN = 50  # processes


class Heart:
    """
    Reports that a worker is alive, at most every ten seconds, and only when the worker is awake anyway.

    A failing report does no harm: if the database has a problem, delivery will
    notice it too.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._pk: int | None = None
        self._next_at = 0.0

    def wait(self) -> None:
        """Report nothing until a period has passed, because a short pass is over by then."""
        self._next_at = time.monotonic() + PERIOD

    def beat(self, in_flight: int) -> None:
        """Report, unless the last report is only seconds old."""
        now = time.monotonic()
        if now < self._next_at:
            return
        self._next_at = now + PERIOD
        try:
            self._report(in_flight)
        except Error as error:
            logger.warning("This worker could not write its heartbeat: %s", type(error).__name__)

    def stop(self) -> None:
        """Withdraw the report, at a clean end."""
        if self._pk is not None:
            with suppress(Error):
                Heartbeat.objects.filter(pk=self._pk).delete()
            self._pk = None

    def _report(self, in_flight: int) -> None:
        if self._pk is not None:
            beat = {"seen_at": UtcNow(), "in_flight": in_flight}
            if Heartbeat.objects.filter(pk=self._pk).update(**beat):
                return
        prune()
        row = Heartbeat.objects.create(
            host=socket.gethostname()[:MAX_HOST_LENGTH],
            pid=os.getpid(),
            engine=self._engine,
            version=__version__,
            in_flight=in_flight,
        )
        self._pk = row.pk


def prune() -> None:
    """Delete the rows of processes that died long ago."""
    Heartbeat.objects.filter(seen_at__lt=in_seconds(-KEPT)).delete()


def processes() -> list[Heartbeat]:
    """Return the processes that deliver, and those that died recently; the newest report first."""
    return list(Heartbeat.objects.order_by("-seen_at")[:SHOWN])


def is_alive(process: Heartbeat) -> bool:
    """Return whether a process has reported recently."""
    return timezone.now() - process.seen_at < ALIVE


def is_lost(process: Heartbeat) -> bool:
    """Return whether a long-running worker has stopped reporting within the last hour, without a clean end."""
    return process.engine == LOOP and ALIVE <= timezone.now() - process.seen_at < timedelta(seconds=KEPT)


def last_seen_at() -> datetime | None:
    """Return when any process last reported, or None if all have ended cleanly or none has ever started."""
    seen_at: datetime | None = Heartbeat.objects.aggregate(last=Max("seen_at"))["last"]
    return seen_at
