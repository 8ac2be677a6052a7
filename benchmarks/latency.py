"""The time from the commit to the arrival of the request, on an idle system, for each engine."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.conf import settings
from django.db import transaction
from django.test import override_settings

from benchmarks import children, databases, rows
from benchmarks.figures import Figure
from brevo_events.conf import settings as app_settings
from brevo_events.testing import FakeBrevo
from brevo_events.tracking import track

PAUSE = 0.05  # seconds for an engine to go to sleep


def run(quick: bool) -> list[Figure]:
    """Time single events. Without a baseline: the worker polls every POLL_SECONDS, the others start at once."""
    databases.empty()
    count = 30
    with FakeBrevo() as brevo:
        return [
            Figure("inline", _samples(brevo, "inline", count, lambda _: PAUSE), "ms"),
            Figure("thread", _samples(brevo, "thread", count, lambda _: PAUSE), "ms"),
            Figure("worker", _worker_samples(brevo, 10 if quick else count), "ms"),
        ]


def _worker_samples(brevo: FakeBrevo, count: int) -> list[float]:
    """Capture at times spread evenly between two polls of the worker."""
    with children.workers(1, brevo.url):
        return _samples(brevo, "worker", count, lambda number: (number + 0.5) / count * app_settings.POLL_SECONDS)


def _samples(brevo: FakeBrevo, engine: str, count: int, pause: Callable[[int], float]) -> list[float]:
    with override_settings(BREVO_EVENTS={**settings.BREVO_EVENTS, "ENGINE": engine, "URL": brevo.url}):
        _milliseconds(brevo)
        samples = []
        for number in range(count):
            time.sleep(pause(number))
            samples.append(_milliseconds(brevo))
        # Before the settings change, because the thread engine may still be recording the last answer.
        rows.wait_until_finished(timeout=5)
        return samples


def _milliseconds(brevo: FakeBrevo) -> float:
    brevo.reset()
    committed: list[float] = []
    with transaction.atomic():
        # Before the capture, so that it runs before the engine's.
        transaction.on_commit(lambda: committed.append(time.monotonic()))
        track(**rows.arguments(0))
    brevo.wait_for(1)
    return (brevo.requests[0].received_at - committed[0]) * 1000
