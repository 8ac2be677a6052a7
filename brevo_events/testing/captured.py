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
    Yield a list to which each event is added as it is captured.

    This also works inside ``TestCase``, where nothing is ever committed. Events
    that are rolled back later stay in the list. The elements have ``name``,
    ``email``, ``object_id``, ``data`` and ``properties``.
    """
    with _collected(event_captured) as events:
        yield events


def deliver_events() -> list[OutboxEvent]:
    """
    Deliver pending events as if every delay were over, and return the events that were sent, in order.

    For testing the effects of ``delay``, ``coalesce`` and ``supersedes``.
    Freezing the clock doesn't affect them, because all times come from the
    database. Also works inside ``TestCase``.
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
