"""
How fast events get through to a Brevo that fails in part.

With 30 % of answers 500: seconds until 95 % of 600 events are sent, compared
with the same without the rule that closes the gate in an outage. Flapping:
seconds until 2,000 events are sent, and 99 % of them, while Brevo fails and
works for five seconds in turn, with the default backoff of 30 seconds. The few
events that failed before the gate closed wait for their own backoff, which
every other time ends while Brevo is failing.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from unittest import mock

from django.conf import settings
from django.db import connections
from django.test import override_settings

from benchmarks import databases, rows
from benchmarks.figures import Figure, interleave
from brevo_events.delivery.breaker import Streak
from brevo_events.models import OutboxEvent, Status
from brevo_events.testing import FakeBrevo, Reply
from brevo_events.worker import Worker

LATENCY = 0.02  # seconds
ERROR = Reply.error(500, "internal_error", delay=LATENCY)
PHASE = 5.0  # seconds
PATIENCE = 120.0  # seconds


def run(quick: bool) -> list[Figure]:
    """Compare delivery to a failing Brevo with the same without an outage rule, and with one minute."""
    some = interleave({"rule": _random, "no rule": _without_rule}, 1 if quick else 3, warm_up=False)
    most, every = zip(
        *(_seconds(2000, [0.99, 1.0], _flaps(), backoff=30) for _ in range(1 if quick else 3)), strict=True
    )
    return [
        Figure("600 events at 30 % of 500s / without the outage rule", some["rule"], "s", some["no rule"], at_most=2),
        Figure("99 % of 2,000 events, ill and well for 5 s by turns", list(most), "s", at_most=60),
        Figure("all of them", list(every), "s", at_most=60),
    ]


def _random() -> float:
    chance = random.Random(1)
    return _seconds(600, [0.95], lambda _body: chance.random() < 0.3, backoff=2)[0]


def _without_rule() -> float:
    with mock.patch.object(Streak, "is_outage", False):
        return _random()


def _flaps() -> Callable[[object], bool]:
    began = time.monotonic()
    return lambda _body: (time.monotonic() - began) // PHASE % 2 == 0


def _seconds(count: int, shares: list[float], is_bad: Callable[[object], bool], *, backoff: float) -> list[float]:
    """Return how long it takes until each of these shares of the events is accepted."""
    databases.empty()
    with FakeBrevo(latency=LATENCY) as brevo:
        brevo.when(is_bad, ERROR, repeat=True)
        changes = {"URL": brevo.url, "RETRY_BACKOFF": backoff}
        with override_settings(BREVO_EVENTS={**settings.BREVO_EVENTS, **changes}):
            rows.fill(count)
            worker = Worker()
            thread = threading.Thread(target=lambda: (worker.run(), connections.close_all()))
            began = time.monotonic()
            thread.start()
            took: list[float] = []
            while len(took) < len(shares):
                sent, seconds = OutboxEvent.objects.filter(status=Status.SENT).count(), time.monotonic() - began
                if sent >= shares[len(took)] * count or seconds > PATIENCE:
                    took.append(seconds)
                time.sleep(0.05)
            worker.stop()
            thread.join(20)
    return took
