from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.dispatch import Signal

from brevo_events.choices import Status
from brevo_events.clock import UtcNow
from brevo_events.delivery import deliver
from brevo_events.models import OutboxEvent
from brevo_events.signals import event_captured, event_sent


@contextmanager
def capture_events() -> Iterator[list[OutboxEvent]]:
    """
    Give a list to which each event is added as it is captured.

    It works inside ``TestCase`` too, where nothing is ever committed. What is
    rolled back later stays in it. The elements have ``name``, ``email``,
    ``object_id``, ``data`` and ``properties``.
    """
    with _collected(event_captured) as events:
        yield events


def deliver_events() -> list[OutboxEvent]:
    """
    Deliver what is pending as if every delay were over, and return the events that were sent, in order.

    For tests of what ``delay``, ``coalesce`` and ``supersedes`` come to, which
    no frozen clock reaches: times are the database's. It works inside
    ``TestCase`` too.
    """
    OutboxEvent.objects.filter(status=Status.PENDING).update(available_at=UtcNow(), due_at=UtcNow())
    with _collected(event_sent) as events:
        deliver()
    return events


@contextmanager
def _collected(signal: Signal) -> Iterator[list[OutboxEvent]]:
    events: list[OutboxEvent] = []

    def collect(sender: Any, event: OutboxEvent, **kwargs: Any) -> None:
        events.append(event)

    signal.connect(collect, weak=False)
    try:
        yield events
    finally:
        signal.disconnect(collect)
