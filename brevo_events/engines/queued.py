"""Delivery by a task queue: an engine that queues passes, and what its tasks do."""

from __future__ import annotations

import time

from brevo_events import engines
from brevo_events.connections import owned_connections
from brevo_events.delivery import seconds_until_due
from brevo_events.engines.background import BackgroundEngine
from brevo_events.engines.complaints import Complaints
from brevo_events.engines.publisher import Publisher
from brevo_events.exceptions import InvalidSetting
from brevo_events.models import Gate
from brevo_events.retention import prune
from brevo_events.states import LOOK_AGAIN
from brevo_events.worker import Worker, seconds_to_end

PASS_SECONDS = 10.0  # after this, no request begins: a worker that is told to end waits for its task
PRUNE_SECONDS = 60.0

_complaints = Complaints()


class QueuedEngine(BackgroundEngine):
    """
    Base class for engines whose passes are tasks of a queue.

    A subclass has one method, ``enqueue()``; its task calls ``run_pass()``.
    Nudges in a process are combined. A lost task only costs time, because the
    queue's scheduler, or cron, makes a pass at least every minute.
    """

    def enqueue(self) -> None:
        """Queue a task that calls ``run_pass()``. Called in a separate thread; exceptions are logged."""
        raise NotImplementedError

    def make_thread(self) -> Publisher:
        return Publisher(self.enqueue)


def run_pass() -> None:
    """
    Deliver due events for some seconds: all that a task does.

    If more events are due after that, the next pass is queued.
    """
    try:
        with owned_connections():
            Worker(engine="task").run_once(max_runtime=PASS_SECONDS, when_over=_queue_the_next)
    except InvalidSetting as error:
        _complaints.log(f"Nothing was sent. {error}")
        return
    _complaints.forget()


def run_prune() -> bool:
    """Delete old finished events, for a minute, and return whether there may be more."""
    began = time.monotonic()
    return any(time.monotonic() - began > PRUNE_SECONDS for _deleted in prune())


def longest_pass() -> float:
    """Return the most seconds that a pass may take: requests in flight at its end have their deadlines."""
    return PASS_SECONDS + seconds_to_end()


def _queue_the_next() -> None:
    gate, seconds = Gate.load(), seconds_until_due()
    can_send = gate.is_open or (gate.is_probe_due and not gate.is_paused)
    if can_send and seconds is not None and seconds <= LOOK_AGAIN:
        engines.nudge()
