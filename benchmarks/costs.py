"""
The CPU that a delivery uses in its own process, compared with that of a plain ``Session.post``.

Single: an event every 60 ms, with the engine `thread`, minus the cost of the
capture with the engine `worker`. In a batch: claiming and recording 100 events,
without their requests. On SQLite, the database's work is included.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import requests
from django.conf import settings
from django.test import override_settings

from benchmarks import children, databases, rows
from benchmarks.figures import Figure, interleave
from brevo_events import engines
from brevo_events.answers import Answer
from brevo_events.delivery import claim
from brevo_events.delivery.records import record
from brevo_events.events import Event
from brevo_events.tracking import track

EVERY = 0.06  # seconds
BATCH = 100


def run(quick: bool) -> list[Figure]:
    """Compare both with a post, at the same pace."""
    databases.empty()
    with children.fake_brevo() as url:
        post = _post(url)
        alone = interleave(
            {
                "thread": lambda: _captures("thread", url),
                "worker": lambda: _captures("worker", url),
                "post": lambda: _cpu_of(20, post, EVERY),
            },
            2 if quick else 9,
        )
        batch = interleave(
            {"claim and record": _claim_and_record, "post": lambda: _cpu_of(BATCH, post)}, 5 if quick else 40
        )
    delivery = [thread - worker for thread, worker in zip(alone["thread"], alone["worker"], strict=True)]
    per_event = f"claim and record, one of {BATCH} / Session.post"
    return [
        Figure("one event alone / Session.post", delivery, "ms", alone["post"], at_most=3),
        Figure(per_event, batch["claim and record"], "ms", batch["post"], at_most=0.12),
    ]


def _captures(engine: str, url: str) -> float:
    """Return the CPU of a capture, including its delivery if the engine delivers here."""
    databases.empty()
    with override_settings(BREVO_EVENTS={**settings.BREVO_EVENTS, "ENGINE": engine, "URL": url}):
        numbers = iter(range(1000))
        taken = _cpu_of(20, lambda: track(**rows.arguments(next(numbers))), EVERY)
        engines.finish()
        return taken


def _claim_and_record() -> float:
    databases.empty()
    rows.fill(BATCH)
    began = time.process_time()
    attempts = claim(BATCH).attempts
    for attempt in attempts:
        attempt.answer = Answer(204, "", duration=0.08)
    record(attempts)
    if len(attempts) != BATCH:
        raise RuntimeError(f"{len(attempts)} events were claimed.")
    return (time.process_time() - began) / BATCH * 1000


def _cpu_of(count: int, act: Callable[[], object], every: float = 0.0) -> float:
    """Return the CPU milliseconds that this process uses for a call."""
    before, began = time.process_time(), time.monotonic()
    for number in range(count):
        act()
        time.sleep(max(0.0, began + (number + 1) * every - time.monotonic()))
    return (time.process_time() - before) / count * 1000


def _post(url: str) -> Callable[[], object]:
    session, headers = requests.Session(), {"ma-key": databases.MA_KEY}
    body = json.loads(Event(**rows.arguments(0)).json())
    return lambda: session.post(url, json=body, headers=headers, timeout=10)
