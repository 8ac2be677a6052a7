"""
The cost of a capture to the caller's transaction.

The work is timed in a transaction that is rolled back, together with what would
run after its commit. The commit itself costs the same on both sides, and is
mostly the disk's work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save
from django.test.utils import CaptureQueriesContext

from benchmarks import rows
from benchmarks.figures import Figure, interleave
from brevo_events.events import Event
from brevo_events.models import OutboxEvent
from brevo_events.registration import track_on
from brevo_events.tracking import track, track_many
from tests.shop.models import Line, Product

BATCH = 100  # rows in a transaction
SAVES = 200
SIGNALS = (pre_save, post_save, pre_delete, post_delete)


def run(quick: bool) -> list[Figure]:
    """Compare captures with the bare INSERT of the same rows, and a save() with one without the app."""
    looks_first = connection.vendor == "mysql"  # a capture with a key
    captures = _captures(20 if quick else 60)
    saves = _saves(20 if quick else 60)
    return [
        Figure("track() / create()", captures["track"], "µs", captures["create"], at_most=1.25),
        Figure("track() coalesced / create()", captures["coalesced"], "µs", captures["create"], at_most=1.25),
        Figure(
            "track() with a key / create()",
            captures["keyed"],
            "µs",
            captures["create"],
            at_most=2.2 if looks_first else 1.40,
        ),
        Figure("track_many of 100, a row / create()", captures["track_many"], "µs", captures["create"], at_most=0.55),
        Figure("save() nobody watches / no receivers", saves["with"], "µs", saves["without"], at_most=1.05),
        Figure("queries that a capture adds", [_queries()], "", at_most=1, at_least=1),
        Figure("the same, coalesced", [_queries(coalesce=True)], "", at_most=1, at_least=1),
        Figure("the same, with a key", [_queries(idempotency_key="1")], "", at_most=1 + looks_first, at_least=1),
        Figure("the same, with supersedes", [_queries(supersedes=("cart_updated",))], "", at_most=2, at_least=2),
    ]


def _captures(rounds: int) -> dict[str, list[float]]:
    calls = [rows.arguments(number) for number in range(BATCH)]
    values = [_values(Event(**call)) for call in calls]
    contestants = {
        "create": lambda: _microseconds(lambda: [OutboxEvent.objects.create(**value) for value in values]),
        "track": lambda: _microseconds(lambda: [track(**call) for call in calls]),
        "coalesced": lambda: _microseconds(lambda: [track(**call, coalesce=True) for call in calls]),
        "keyed": lambda: _microseconds(lambda: [track(**call, idempotency_key=call["email"]) for call in calls]),
        "track_many": lambda: _microseconds(lambda: track_many(Event(**call) for call in calls)),
    }
    return interleave(contestants, rounds)


def _saves(rounds: int) -> dict[str, list[float]]:
    """
    Save an unwatched model, while another one is watched, with and without the signals' receivers.

    Receivers are all that the app adds to a save(). Removing them in the same
    process is less noisy than a second process with different INSTALLED_APPS
    would be.
    """
    track_on([post_save, post_delete], sender=Line)(_nothing)
    product = Product.objects.create(name="Wrist watch", price=50)

    def save() -> float:
        return _microseconds(lambda: [product.save() for _ in range(SAVES)], SAVES)

    def save_without() -> float:
        with _no_receivers():
            return save()

    return interleave({"with": save, "without": save_without}, rounds)


def _microseconds(work: Callable[[], Any], count: int = BATCH) -> float:
    with transaction.atomic():
        began = time.perf_counter()
        work()
        for _, function, _ in connection.run_on_commit:
            function()
        took = time.perf_counter() - began
        transaction.set_rollback(True)
    return took / count * 1e6


def _values(event: Event) -> dict[str, Any]:
    row = OutboxEvent.of(event)
    names = (field.attname for field in OutboxEvent._meta.concrete_fields if not field.primary_key)
    return {name: getattr(row, name) for name in names}


def _queries(**options: Any) -> int:
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        track(**rows.arguments(0), **options)
        transaction.set_rollback(True)
    return len(queries)


def _nothing(sender: Any, instance: Any, **kwargs: Any) -> None:
    return None


@contextmanager
def _no_receivers() -> Iterator[None]:
    kept = {signal: signal.receivers for signal in SIGNALS}
    try:
        _put({signal: [] for signal in SIGNALS})
        yield
    finally:
        _put(kept)


def _put(receivers: dict[Any, list[Any]]) -> None:
    for signal, wanted in receivers.items():
        signal.receivers = wanted
        signal.sender_receivers_cache.clear()
